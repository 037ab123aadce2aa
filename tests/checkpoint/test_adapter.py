import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from artquant_plugin.checkpoint import Checkpoint, ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.tiny import build_tiny_model
from tests.tiny import SIZES, pictures, tiny_llava, tiny_texts

SPEC = ScoringSpec(LevelScale(values=(5.0, 4.0, 3.0, 2.0, 1.0)))
LORA = {"r": 4, "target_modules": r".*language_model.*\.(q|v)_proj", "init_lora_weights": False}


def scores(checkpoint: Checkpoint) -> list[float]:
    return [result.score for result in ArtQuantScorer(checkpoint).score(pictures(3))]


def adapted(base: Path, seed: int = 0, **lora: Any) -> Checkpoint:
    """A base with a random adapter and a projector that was trained whole."""
    loaded = load_checkpoint(str(base))
    torch.manual_seed(seed)
    model = get_peft_model(loaded.model, LoraConfig(**{**LORA, **lora}))
    for name, parameter in model.named_parameters():
        if "multi_modal_projector" in name:
            parameter.requires_grad_(True)
            torch.nn.init.normal_(parameter, std=0.1)
    return Checkpoint(model.eval(), loaded.processor, SPEC, "adapted")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_checkpoint(folder, *tiny_llava(), ScoringSpec())
    return folder


@pytest.fixture(scope="module")
def trained(base) -> Checkpoint:
    return adapted(base)


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    save_checkpoint(folder, trained.model, trained.processor, SPEC)
    return folder


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


def change(path: Path, **content: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **content}))


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ArtQuantError, match=message) as raised:
        load_checkpoint(str(folder))
    assert "\n" not in str(raised.value)


def test_adapter_and_projector_score_alike_after_loading(base, trained, saved):
    loaded = load_checkpoint(str(saved))
    assert loaded.spec == SPEC
    assert scores(loaded) == scores(trained)
    plain = load_checkpoint(str(base))
    assert scores(Checkpoint(plain.model, plain.processor, SPEC, "plain")) != pytest.approx(scores(trained), abs=1e-3)


def test_the_folder_holds_what_was_trained_alone(saved):
    names = {path.name for path in saved.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "extra_weights.safetensors", "artquant.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl")) or name == "model.safetensors"]
    assert "README.md" not in names
    assert sorted(load_file(saved / "extra_weights.safetensors")) == [
        f"model.multi_modal_projector.linear_{index}.{kind}" for index in (1, 2) for kind in ("bias", "weight")
    ]


def test_what_is_loaded_and_saved_again_is_the_same_to_the_bit(saved, tmp_path):
    loaded = load_checkpoint(str(saved))
    save_checkpoint(tmp_path, loaded.model, loaded.processor, loaded.spec)
    for path in saved.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_was_trained_is_trainable_after_loading(trained, saved):
    def trainable(checkpoint):
        return {name for name, parameter in checkpoint.model.named_parameters() if parameter.requires_grad}

    assert trainable(load_checkpoint(str(saved))) == trainable(trained)


def test_peft_itself_reads_the_adapter(base, trained, saved):
    own = PeftModel.from_pretrained(load_checkpoint(str(base)).model, saved)
    expected = {name: value for name, value in trained.model.state_dict().items() if "lora_" in name}
    found = {name: value for name, value in own.state_dict().items() if "lora_" in name}
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "lora",
    [
        {"modules_to_save": ["lm_head"]},
        {"bias": "all"},
        {"use_dora": True},
        {"target_modules": r".*(lm_head|linear_1|q_proj)"},
    ],
    ids=["modules_to_save", "bias", "dora", "lora on head, projector and vision"],
)
def test_other_adapters_score_alike_after_loading(lora, base, tmp_path):
    before = adapted(base, **lora)
    save_checkpoint(tmp_path, before.model, before.processor, SPEC)
    assert scores(load_checkpoint(str(tmp_path))) == scores(before)


def test_an_adapter_without_extra_weights(base, tmp_path):
    loaded = load_checkpoint(str(base))
    model = get_peft_model(loaded.model, LoraConfig(**LORA))
    before = Checkpoint(model.eval(), loaded.processor, SPEC, "before")
    save_checkpoint(tmp_path, model, loaded.processor, SPEC)
    assert not (tmp_path / "extra_weights.safetensors").exists()
    assert scores(load_checkpoint(str(tmp_path))) == scores(before)


def test_extra_weights_beside_a_full_model(base, trained, saved, tmp_path):
    shutil.copytree(base, tmp_path / "full")
    shutil.copy(saved / "extra_weights.safetensors", tmp_path / "full")
    found = load_checkpoint(str(tmp_path / "full")).model.model.multi_modal_projector.state_dict()
    expected = trained.model.get_base_model().model.multi_modal_projector.state_dict()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_base_beside_the_adapter_may_be_named_relative_to_it(base, saved, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    shutil.copytree(saved, tmp_path / "adapter")
    change(tmp_path / "adapter" / "adapter_config.json", base_model_name_or_path="../base")
    assert scores(load_checkpoint(str(tmp_path / "adapter"))) == scores(load_checkpoint(str(saved)))


def test_an_adapter_without_processor_takes_its_bases(copy, saved):
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    assert scores(load_checkpoint(str(copy))) == scores(load_checkpoint(str(saved)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "names no base; set base_model_name_or_path in "),
        ("", "names no base; set base_model_name_or_path in "),
        ("/gone/base", "base '/gone/base' of adapter .* is no folder and no Hub id; mend base_model_name_or_path"),
        (".", "base .* of adapter .* is an adapter itself; merge it into its base"),
    ],
)
def test_an_adapter_without_its_base_is_one_line(name, message, copy):
    change(copy / "adapter_config.json", base_model_name_or_path=name)
    refused(copy, message)


def test_a_base_that_is_no_checkpoint_is_one_line(copy, tmp_path):
    (tmp_path / "empty").mkdir()
    change(copy / "adapter_config.json", base_model_name_or_path=str(tmp_path / "empty"))
    refused(copy, "the base of adapter .* is not there: .* holds no config.json")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"hidden": 48, "heads": 4},
            r"q_proj.lora_A.weight has shape \[4, 32\], there \[4, 48\]; name the base that it was",
        ),
        ({"text_layers": 2}, r"lacks .*layers\.1\.self_attn\.q_proj.* and 2 more; save it again, or name the base"),
    ],
    ids=["wider base", "deeper base"],
)
def test_an_adapter_of_another_base_is_one_line(sizes, message, copy, tmp_path):
    other = build_tiny_model(SIZES.model_copy(update=sizes), tiny_texts(), seed=0)
    save_checkpoint(tmp_path / "other", *other, ScoringSpec())
    (copy / "extra_weights.safetensors").unlink()
    change(copy / "adapter_config.json", base_model_name_or_path=str(tmp_path / "other"))
    refused(copy, message)


def test_adapter_weights_that_match_nothing_are_one_line(copy):
    weights = load_file(copy / "adapter_model.safetensors")
    stray = {name.replace("layers.0", "layers.7"): value.clone() for name, value in weights.items()}
    save_file({**weights, **stray}, copy / "adapter_model.safetensors")
    refused(copy, r"does not fit its base .*layers\.7.* and 2 more match nothing in it; name the base that it was")


def test_an_adapter_for_modules_that_the_base_lacks_is_one_line(copy):
    change(copy / "adapter_config.json", target_modules=["c_attn"])
    refused(copy, r"does not fit its base .*c_attn.* not found")


def test_an_adapter_that_moves_positions_is_one_line(base, tmp_path):
    PromptTuningConfig(
        num_virtual_tokens=2, task_type="CAUSAL_LM", base_model_name_or_path=str(base), num_layers=1, token_dim=32
    ).save_pretrained(tmp_path)
    save_file({"prompt_embeddings": torch.zeros(2, 32)}, tmp_path / "adapter_model.safetensors")
    refused(tmp_path, "is of type PROMPT_TUNING, which moves the positions of tokens; use LoRA")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"model.nothing.weight": (1,)},
            "model.nothing.weight match nothing in LlavaForConditionalGeneration; use the",
        ),
        (
            {"model.multi_modal_projector.linear_1.bias": (7,)},
            r"linear_1.bias has shape \[7\], LlavaForConditionalGeneration has \[32\]; use the base model",
        ),
    ],
)
def test_extra_weights_that_do_not_fit_are_one_line(weights, message, copy):
    content = {name: torch.zeros(shape) for name, shape in weights.items()}
    save_file(content, copy / "extra_weights.safetensors", metadata={"format": "pt"})
    refused(copy, message)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "extra_weights.safetensors"])
def test_weights_that_are_cut_short_are_one_line(name, copy):
    (copy / name).write_bytes((copy / name).read_bytes()[:100])
    refused(copy, f"{name} is cut off: 100 bytes are there")


def test_a_pickled_adapter_is_not_read(copy):
    (copy / "adapter_model.safetensors").unlink()
    torch.save({}, copy / "adapter_model.bin")
    refused(copy, "holds no adapter_model.safetensors; save it as safetensors")


@pytest.mark.parametrize("content", ["{", "[]", '{"base_model_name_or_path": 3}', '{"peft_type": "NONE"}'])
def test_a_broken_adapter_configuration_is_one_line(content, copy, base):
    (copy / "adapter_config.json").write_text(content)
    if "NONE" in content:
        change(copy / "adapter_config.json", base_model_name_or_path=str(base))
    refused(copy, "adapter")
