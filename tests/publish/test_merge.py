"""A merged model gives what adapter and base gave."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.publish.merge import merge_checkpoint
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.parts import choose_trained
from artquant_plugin.train.sections import TrainedSection
from tests.backbones.families import family
from tests.backbones.mplug_owl2.original_folders import write_base
from tests.tiny import pictures

TRAINED = {
    "language": {"method": "lora"},
    "vision": {"method": "full"},
    "projector": {"method": "full"},
    "lora": {"targets": "original", "rank": 4, "alpha": 8},
}


def adapted(base, folder, trained):
    """Write a checkpoint whose trained weights all differ from the base's, and return the names of those weights."""
    loaded = load_checkpoint(str(base))
    torch.manual_seed(0)
    model = choose_trained(loaded.model.float(), TrainedSection.model_validate(trained))
    changed = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            changed.append(name)
            parameter.data += 0.1 * torch.randn_like(parameter)
    save_checkpoint(folder, model.eval(), loaded.processor, ScoringSpec())
    return changed


def outputs(folder):
    """The logits of the level words and the scores that a checkpoint gives three pictures."""
    scorer = ArtQuantScorer(load_checkpoint(str(folder), dtype="float32"))
    inputs = scorer._score_inputs(pictures(3))
    return scorer._level_logits(inputs), [result.score for result in scorer.score(pictures(3))]


def test_an_adapter_of_the_papers_own_base_is_merged(tmp_path):
    """The base as its authors publish it, which `transformers` cannot read."""
    write_base(tmp_path / "base")
    adapted(tmp_path / "base", tmp_path / "adapter", TRAINED)
    merge_checkpoint(tmp_path / "adapter", tmp_path / "merged")
    assert outputs(tmp_path / "merged")[1] == pytest.approx(outputs(tmp_path / "adapter")[1], abs=1e-4)


@pytest.mark.parametrize("name", ["llava", "mplug_owl2", "qwen3_5"])
@pytest.mark.parametrize("vision", ["full", "lora"])
def test_every_trained_part_is_in_the_merged_model(name, vision, tmp_path):
    save_checkpoint(tmp_path / "base", *family(name), ScoringSpec())
    changed = adapted(tmp_path / "base", tmp_path / "adapter", TRAINED | {"vision": {"method": vision}})
    assert any("lora_" in weight for weight in changed) and any("lora_" not in weight for weight in changed)
    merge_checkpoint(tmp_path / "adapter", tmp_path / "merged")
    logits, scores = outputs(tmp_path / "adapter")
    merged_logits, merged_scores = outputs(tmp_path / "merged")
    torch.testing.assert_close(merged_logits, logits, rtol=1e-4, atol=1e-4)
    assert merged_scores == pytest.approx(scores, abs=1e-4)
    assert outputs(tmp_path / "base")[1] != pytest.approx(scores, abs=1e-2)
    assert not list((tmp_path / "merged").glob("adapter*"))


def test_nothing_is_rounded_and_what_was_not_trained_keeps_its_type(tmp_path):
    model, processor = family("llava")
    bfloat = type(model)(model.config).bfloat16()
    bfloat.load_state_dict(model.state_dict())
    save_checkpoint(tmp_path / "base", bfloat, processor, ScoringSpec())
    adapted(tmp_path / "base", tmp_path / "adapter", TRAINED)
    merge_checkpoint(tmp_path / "adapter", tmp_path / "merged")
    base, merged = load_file(tmp_path / "base" / "model.safetensors"), load_file(tmp_path / "merged/model.safetensors")
    kept = [name for name in base if "mlp" in name and "language_model" in name]
    assert kept and all(torch.equal(merged[name], base[name]) for name in kept)
    summed = [name for name in base if "q_proj" in name and "language_model" in name]
    assert {merged[name].dtype for name in summed} == {torch.float32}
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "bfloat16"
    assert outputs(tmp_path / "merged")[1] == pytest.approx(outputs(tmp_path / "adapter")[1], abs=1e-4)


def test_a_whole_model_is_refused(tmp_path):
    save_checkpoint(tmp_path / "base", *family("llava"), ScoringSpec())
    with pytest.raises(ArtQuantError, match="is a whole model, with no adapter to merge; leave --merge out"):
        merge_checkpoint(tmp_path / "base", tmp_path / "merged")


def test_the_same_adapter_is_merged_into_the_same_bytes(tmp_path):
    """A second publication knows by the bytes that there is nothing to do."""
    save_checkpoint(tmp_path / "base", *family("llava"), ScoringSpec())
    loaded = load_checkpoint(str(tmp_path / "base"))
    model = get_peft_model(loaded.model, LoraConfig(r=2, target_modules=r".*q_proj", init_lora_weights=False))
    save_checkpoint(tmp_path / "adapter", model, loaded.processor, ScoringSpec())
    for name in ("one", "two"):
        merge_checkpoint(tmp_path / "adapter", tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)
