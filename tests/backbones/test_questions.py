"""Further questions about an image: the scores of separate passes, for every family, however much is shared."""

import pytest
import torch

from artquant_plugin.backbones.interface import last_hidden_states, token_logits
from artquant_plugin.backbones.prefix import with_tail
from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.prompting.attributes import attribute_spec
from artquant_plugin.prompting.levels import LEVEL_VALUES
from artquant_plugin.prompting.prompter import PromptSpec
from artquant_plugin.scoring.scorer import ArtQuantScorer, score_inputs
from tests.backbones.families import FAMILIES, family
from tests.tiny import pictures

SIZES = [(40, 48), (30, 64), (64, 30), (50, 50), (33, 77)]  # height, width
IMAGES = [pictures(1, seed=index, size=size)[0] for index, size in enumerate(SIZES)]
EVEN = pictures(3, seed=9)
SPECS = tuple(
    attribute_spec(name, values)
    for name, values in (("Color", LEVEL_VALUES), ("Theme and logic", (9, 7, 5, 3, 1)), ("Mood", LEVEL_VALUES))
)
# Qwen-VL's positions follow from the padding of the whole batch; the others share nothing that depends on a question:
# PaliGemma's image attends to the question, Llama 3.2's language model looks at the image in layers of its own, and
# Qwen3.5's linear attention keeps no keys.
SHARED = dict.fromkeys(FAMILIES, "always") | dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), "even")
SHARED |= dict.fromkeys(("paligemma", "mllama", "qwen3_5"), "never")


def scorer(name: str, *, image_first: bool = True) -> ArtQuantScorer:
    if name == "smolvlm":
        pytest.importorskip("num2words", reason="SmolVLM's processor needs num2words")
    spec = ScoringSpec(prompt=PromptSpec(image_first=image_first), attributes=SPECS)
    return ArtQuantScorer(Checkpoint(*family(name), spec, name), batch_size=5)


def alone(scorer: ArtQuantScorer, image, attribute: str) -> float:
    """The score of an attribute by a pass of its own: one image, one question, nothing shared."""
    model, inputs = scorer.checkpoint.model, score_inputs(scorer.prompter, [image], attribute)
    position = inputs.pop("positions")[0]
    with torch.inference_mode():
        hidden = last_hidden_states(model, inputs)[0, position]
        logits = token_logits(model, hidden, torch.tensor(scorer.prompter.level_ids))
    values = next(each.values for each in SPECS if each.name == attribute)
    return float(logits.double().softmax(dim=-1) @ torch.tensor(values, dtype=torch.float64))


@pytest.mark.parametrize("name", FAMILIES)
def test_attributes_beside_the_score_are_those_of_separate_passes(name):
    asked = scorer(name)
    assert asked.shared_keys() == SHARED[name]
    for images in (IMAGES, EVEN):
        found = asked.score(images, attributes=True)
        assert [each.score for each in found] == pytest.approx([each.score for each in asked.score(images)], abs=1e-5)
        for image, score in zip(images, found, strict=True):
            expected = {each.name: alone(asked, image, each.name) for each in SPECS}
            assert score.attributes == pytest.approx(expected, abs=1e-5)
            assert len(set(expected.values())) == 3  # the question is read


def test_behind_a_prefix_that_all_images_share_they_are_the_same():
    asked = scorer("mplug_owl2", image_first=False)
    assert asked.shared_tokens and asked.shared_keys() == "always"
    (found,) = asked.score(IMAGES[:1], attributes=["Mood"])
    assert found.attributes == pytest.approx({"Mood": alone(asked, IMAGES[0], "Mood")}, abs=1e-5)
    assert asked.score(IMAGES[0]).attributes is None


def test_a_tail_stands_behind_each_row_s_own_length():
    inputs = {
        "input_ids": torch.tensor([[5, 6, 7, 8], [5, 7, 8, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
        "cross_attention_mask": torch.arange(8).reshape(2, 4, 1),
        "pixel_values": torch.ones(2, 4),
    }
    tail = {"input_ids": torch.tensor([1, 2]), "attention_mask": torch.ones(2, dtype=torch.long)}
    made = with_tail(inputs, torch.tensor([3, 2]), tail)
    assert made["input_ids"].tolist() == [[5, 6, 7, 1, 2], [5, 7, 1, 2, 2]]
    assert made["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert made["cross_attention_mask"][..., 0].tolist() == [[0, 1, 2, 3, 3], [4, 5, 6, 6, 6]]
    assert made["pixel_values"] is inputs["pixel_values"]
