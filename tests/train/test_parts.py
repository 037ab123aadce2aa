"""What of a model is trained, on models of several families."""

import pytest
import torch
from peft import PeftModel

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint import Checkpoint, ScoringSpec, load_checkpoint, restore_weights, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.parts import choose_trained, count_trained, find_parts, lora_targets, optimizer_groups
from artquant_plugin.train.sections import TrainedSection
from tests.backbones.families import FAMILIES, family
from tests.tiny import pictures

# One of each kind: projector beside, projectors inside the tower, everything in one, direct weights, an embedder.
SEVERAL = ("llava", "qwen3_5", "mplug_owl2", "llava_next", "idefics3", "gemma4")
PROJECTORS = {
    "llava": "model.multi_modal_projector.linear_1.weight",
    "llava_next": "model.image_newline",
    "qwen2_5_vl": "model.visual.merger.mlp.0.weight",
    "qwen3_vl": "model.visual.deepstack_merger_list.0.linear_fc1.weight",
    "qwen3_5": "model.visual.merger.linear_fc1.weight",
    "mplug_owl2": "model.visual_abstractor.vit_eos",
    "idefics3": "model.connector.modality_projection.proj.weight",
    "gemma4": "model.embed_vision.embedding_projection.weight",
    "mllama": "model.multi_modal_projector.weight",
}
PAPER = {"language": "lora", "vision": "full", "projector": "full"}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def built(name: str):
    if name == "smolvlm":
        pytest.importorskip("num2words")
    return FAMILIES[name]()


def section(**content) -> TrainedSection:
    return TrainedSection.model_validate(content)


def trained_names(model) -> set[str]:
    return {name for name, parameter in core(model).named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_the_three_parts(name):
    if name == "smolvlm":
        pytest.importorskip("num2words")
    model = family(name)[0]
    parts = find_parts(model)
    found = {parts.of(key) for key, _ in model.named_parameters()}
    assert found == {"language", "vision", "projector"}
    assert parts.of("lm_head.weight") == "language"
    embedding = next(key for key, value in model.named_parameters() if value is model.get_input_embeddings().weight)
    assert parts.of(embedding) == "language"
    assert all(parts.of(key) != "language" for key, _ in model.named_parameters() if "vision" in key)
    if name in PROJECTORS:
        assert PROJECTORS[name] in dict(model.named_parameters())
        assert parts.of(PROJECTORS[name]) == "projector"


@pytest.mark.parametrize("name", SEVERAL)
def test_each_part_is_full_or_frozen_as_chosen(name):
    model = choose_trained(built(name)[0], section(language="frozen", vision="full", projector="frozen"))
    parts = find_parts(model)
    expected = {key for key, _ in model.named_parameters() if parts.of(key) == "vision"}
    assert trained_names(model) == expected


@pytest.mark.parametrize("name", SEVERAL)
def test_lora_stays_in_its_part_and_the_others_are_whole(name):
    model = choose_trained(built(name)[0], section(**PAPER, lora={"rank": 2, "alpha": 4}))
    parts = find_parts(model)
    assert isinstance(model, PeftModel)
    for key, parameter in core(model).named_parameters():
        part = parts.of(key)
        if ".lora_" in key:
            assert part == "language" and parameter.requires_grad
        else:
            assert parameter.requires_grad == (part != "language"), key


def test_the_papers_choice_is_q_proj_and_the_image_tokens_v_proj():
    model = choose_trained(built("mplug_owl2")[0], section(**PAPER, lora={"targets": "original"}))
    adapted = {key.partition(".lora_")[0] for key, _ in core(model).named_parameters() if ".lora_" in key}
    assert adapted == {
        f"model.layers.{layer}.self_attn.{end}" for layer in (0, 1) for end in ("q_proj", "v_proj.multiway.1")
    }
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (128, 256, 0.05)


def test_the_papers_choice_elsewhere_is_q_proj_and_v_proj():
    model = choose_trained(built("llava")[0], section(**PAPER, lora={"targets": "original"}))
    ends = {
        key.partition(".lora_")[0].rpartition(".")[2] for key, _ in core(model).named_parameters() if ".lora_" in key
    }
    assert ends == {"q_proj", "v_proj"}


def test_lora_may_be_in_the_tower_and_the_projector_as_well():
    chosen = section(language="lora", vision="lora", projector="lora", lora={"rank": 2})
    model = choose_trained(built("llava")[0], chosen)
    counts = count_trained(model)
    assert all(0 < trained < total for trained, total in counts.values())
    assert all(".lora_" in key for key in trained_names(model))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (dict.fromkeys(("language", "vision", "projector"), "frozen"), "every part of the model is frozen"),
        ({"language": "lora", "lora": {"targets": ["q_prj"]}}, "ends in 'q_prj'; did you mean 'q_proj'"),
    ],
)
def test_a_choice_that_cannot_be_is_one_line(chosen, message):
    with pytest.raises(ArtQuantError, match=message) as raised:
        choose_trained(built("llava")[0], section(**chosen))
    assert "\n" not in str(raised.value)


def test_each_part_has_its_learning_rate_and_biases_do_not_decay():
    model = choose_trained(built("llava")[0], section(**PAPER, lora={"rank": 2}))
    decayed = [key for key, value in model.named_parameters() if value.dim() > 1]
    groups = optimizer_groups(model, decayed, weight_decay=0.1, rates={"vision": 1e-6, "projector": 1e-4})
    of = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(of) == len(trained_names(model))
    parts = find_parts(model)
    for key, parameter in core(model).named_parameters():
        if parameter.requires_grad:
            group = of[id(parameter)]
            assert group.get("lr") == {"vision": 1e-6, "projector": 1e-4, "language": None}[parts.of(key)]
            assert group["weight_decay"] == (0.1 if parameter.dim() > 1 else 0.0)


def stepped(model) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def scores(checkpoint: Checkpoint) -> list[float]:
    return [result.score for result in ArtQuantScorer(checkpoint, batch_size=2).score(pictures(3))]


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("chosen", [PAPER, {"language": "full", "vision": "lora", "projector": "frozen"}, {}])
def test_what_was_trained_scores_alike_after_loading_and_is_put_back(name, chosen, tmp_path):
    save_checkpoint(tmp_path / "base", *built(name), ScoringSpec())
    base = load_checkpoint(str(tmp_path / "base"))
    model = choose_trained(base.model, section(**chosen, lora={"rank": 2, "alpha": 4}))
    stepped(model)
    model.eval()
    trained = scores(Checkpoint(model, base.processor, ScoringSpec(), "trained"))
    assert trained != scores(load_checkpoint(str(tmp_path / "base")))
    save_checkpoint(tmp_path / "saved", model, base.processor, ScoringSpec())
    assert scores(load_checkpoint(str(tmp_path / "saved"))) == trained
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stepped(model)
    restore_weights(model, tmp_path / "saved")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_narrow_weights_beside_trained_ones_are_put_back_without_rounding(tmp_path):
    save_checkpoint(tmp_path / "base", *built("llava"), ScoringSpec())
    base = load_checkpoint(str(tmp_path / "base"), dtype="bfloat16")
    model = choose_trained(base.model, section(**PAPER, lora={"rank": 2}))
    kinds = {parameter.requires_grad: parameter.dtype for parameter in model.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    stepped(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    save_checkpoint(tmp_path / "saved", model, base.processor, ScoringSpec())
    stepped(model)
    restore_weights(model, tmp_path / "saved")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_an_adapter_is_trained_on_as_it_is_or_not_at_all(tmp_path):
    save_checkpoint(tmp_path / "base", *built("llava"), ScoringSpec())
    chosen = section(**PAPER, lora={"rank": 2, "alpha": 4})
    base = load_checkpoint(str(tmp_path / "base"))
    model = choose_trained(base.model, chosen)
    stepped(model)
    save_checkpoint(tmp_path / "adapter", model, base.processor, ScoringSpec())
    again = choose_trained(load_checkpoint(str(tmp_path / "adapter")).model, chosen)
    assert trained_names(again) == trained_names(model)
    assert lora_targets(again, find_parts(again), chosen) == lora_targets(model, find_parts(model), chosen)
    other = section(**PAPER, lora={"rank": 3, "alpha": 4})
    with pytest.raises(ArtQuantError, match="the checkpoint's adapter has rank 2 .* trained.lora asks for 3"):
        choose_trained(load_checkpoint(str(tmp_path / "adapter")).model, other)


def test_an_adapter_on_a_base_in_the_papers_layout_scores_alike(tmp_path):
    from tests.backbones.mplug_owl2.original_folders import write_base

    base = load_checkpoint(str(write_base(tmp_path / "base")), dtype="float32")
    model = choose_trained(base.model, section(**PAPER, lora={"targets": "original", "rank": 2}))
    stepped(model)
    trained = scores(Checkpoint(model.eval(), base.processor, ScoringSpec(), "trained"))
    save_checkpoint(tmp_path / "saved", model, base.processor, ScoringSpec())
    assert scores(load_checkpoint(str(tmp_path / "saved"), dtype="float32")) == trained
