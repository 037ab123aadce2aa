"""The shared beginning of prompts: the same hidden states with it, or it is not used."""

import pytest
import torch

from artquant_plugin.backbones.interface import last_hidden_states
from artquant_plugin.backbones.prefix import SharedPrefix, shared_prefix
from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.tiny import build_tiny_model
from tests.dynamic import dynamic_checkpoint
from tests.tiny import SIZES, pictures, tiny_llava, tiny_texts

IMAGE_LAST = PromptSpec(image_first=False)


@pytest.fixture(scope="module")
def model():
    return tiny_llava()[0].eval()


@pytest.fixture(scope="module")
def inputs():
    prompter = Prompter(tiny_llava()[1], IMAGE_LAST, LevelScale())
    short, long = prompter.score_request.text, prompter.score_answer(1).text + " warm reds" * 3
    return prompter.inputs([short, long, short], pictures(3))


@pytest.fixture(scope="module")
def ids(inputs):
    image = tiny_llava()[1].image_token_id
    return inputs["input_ids"][0, : int((inputs["input_ids"][0] == image).nonzero()[0])]


def test_hidden_states_behind_the_prefix_are_those_of_the_whole(model, inputs, ids):
    prefix = SharedPrefix(model, ids)
    with torch.inference_mode():
        whole = last_hidden_states(model, dict(inputs))[:, len(ids) :]
        rest = prefix.last_hidden_states(model, dict(inputs))
    real = inputs["attention_mask"][:, len(ids) :].bool()
    assert not real.all()  # padding on the right is part of what is compared
    torch.testing.assert_close(rest[real], whole[real], atol=1e-6, rtol=0)


def test_the_prefix_is_not_used_up(model, inputs, ids):
    prefix = SharedPrefix(model, ids)
    with torch.inference_mode():
        first = prefix.last_hidden_states(model, dict(inputs))
        second = prefix.last_hidden_states(model, dict(inputs))
    assert torch.equal(first, second)


def test_only_rows_that_begin_with_it_are_its_own(model, inputs, ids):
    prefix = SharedPrefix(model, ids)
    assert prefix.begins(inputs["input_ids"])
    changed = inputs["input_ids"].clone()
    changed[1, 3] += 1
    assert not prefix.begins(changed)
    assert not prefix.begins(inputs["input_ids"][:, : len(ids)])


def test_it_is_taken_where_it_agrees_and_is_long_enough(model, inputs, ids):
    assert shared_prefix(model, inputs, ids, tolerance=1e-5) is not None
    assert shared_prefix(model, inputs, ids[:3], tolerance=1e-5) is None
    assert shared_prefix(model, inputs, ids.flip(0), tolerance=1e-5) is None


def test_a_model_that_attends_in_both_directions_is_scored_without(inputs, ids, monkeypatch):
    # From its second layer on, the prefix has seen the image.
    model, _ = build_tiny_model(SIZES.model_copy(update={"text_layers": 2}), tiny_texts(), seed=0)
    text = model.model.language_model
    forward = text.forward

    def both_directions(attention_mask=None, **options):
        count, length = options["inputs_embeds"].shape[:2]
        past = 0 if options.get("cache") is None else options["cache"].get_seq_length()
        return forward(attention_mask=torch.ones(count, 1, length, length + past, dtype=torch.bool), **options)

    assert shared_prefix(model.eval(), inputs, ids, tolerance=1e-5) is not None
    monkeypatch.setattr(text, "forward", both_directions)
    assert shared_prefix(model, inputs, ids, tolerance=1e-5) is None


def test_scores_with_the_image_last_are_the_same_with_and_without(model):
    checkpoint = Checkpoint(model, tiny_llava()[1], ScoringSpec(prompt=IMAGE_LAST), "image-last")
    with_prefix = ArtQuantScorer(checkpoint, batch_size=2)
    assert with_prefix._prefix is not None
    without = ArtQuantScorer(checkpoint, batch_size=2)
    without._prefix = None
    found = [score.score for score in with_prefix.score(pictures(5))]
    assert found == pytest.approx([score.score for score in without.score(pictures(5))], abs=1e-6)


def test_models_with_the_image_first_have_none():
    assert ArtQuantScorer(Checkpoint(*tiny_llava(), ScoringSpec(), "image-first"))._prefix is None


def test_positions_of_three_axes_are_scored_as_they_are():
    # Qwen2-VL counts positions in height, width and time, from all ids: a part of the prompt does not do.
    assert ArtQuantScorer(dynamic_checkpoint())._prefix is None
