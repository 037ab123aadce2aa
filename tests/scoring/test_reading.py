"""Levels from descriptions alone, for every family whose processor takes a request without an image."""

import math

import numpy as np
import pytest
import torch

from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.entropy import level_cross_entropy
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec
from artquant_plugin.scoring.reading import description_nats, read_levels
from artquant_plugin.train.collate import AnswerCollator
from artquant_plugin.train.data import Sample
from artquant_plugin.train.losses import per_token
from tests.backbones.families import FAMILIES, family
from tests.tiny import pictures, tiny_checkpoint

TEXTS = ["Warm reds and a calm harbour.", "Coarse blotches; it leaves one cold.", ""]


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "paligemma"])
def test_every_family_reads_descriptions_without_an_image(name):
    if name == "smolvlm":
        pytest.importorskip("num2words", reason="SmolVLM's processor needs num2words")
    model, processor = family(name)
    rows = read_levels(Checkpoint(model, processor, ScoringSpec(), name), TEXTS)
    assert rows.shape == (3, 5)
    assert rows.sum(axis=1) == pytest.approx(1)
    assert np.abs(rows[0] - rows[1]).max() > 1e-6  # the text is read


def test_the_level_is_read_behind_the_beginning_of_the_answer():
    """By the model's own logits for the text that stands there, put together by hand."""
    checkpoint = tiny_checkpoint()
    spec = ScoringSpec()
    text = f"<user>{TEXTS[0]}\n{spec.prompt.question}<assistant>{spec.prompt.answer_prefix}"
    tokenizer = checkpoint.processor.tokenizer
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    words = [tokenizer(f" {name}")["input_ids"][0] for name in spec.scale.names]
    with torch.inference_mode():
        logits = checkpoint.model(input_ids=ids).logits[0, -1, words]
    assert read_levels(checkpoint, TEXTS[:1])[0] == pytest.approx(logits.double().softmax(-1).numpy(), abs=1e-6)


def test_a_model_that_learnt_nothing_is_as_undecided_as_its_levels_are_many():
    rows = read_levels(tiny_checkpoint(), TEXTS)
    assert level_cross_entropy(rows, [0, 4, 2]).nats == pytest.approx(math.log(5), abs=0.5)


def test_no_descriptions_are_no_rows():
    assert read_levels(tiny_checkpoint(), []).shape == (0, 5)


def test_a_processor_without_a_request_without_an_image_is_refused():
    model, processor = family("paligemma")
    with pytest.raises(ArtQuantError, match="PaliGemmaProcessor of 'p' has no chat template"):
        read_levels(Checkpoint(model, processor, ScoringSpec(), "p"), TEXTS)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_descriptions_likelihood_is_that_which_is_trained(name):
    """The trainer's own loss of the same painting, summed over its tokens."""
    if name == "smolvlm":
        pytest.importorskip("num2words", reason="SmolVLM's processor needs num2words")
    model, processor = family(name)
    image, text = pictures(1, size=(40, 56))[0], TEXTS[0]
    ((nats, tokens),) = description_nats(Checkpoint(model, processor, ScoringSpec(), name), [(image, text)])
    collator = AnswerCollator(Prompter(processor, PromptSpec(), LevelScale()))
    part = collator.part([{"sample": Sample("describe", "a", None, description=text), "image": image}])
    with torch.inference_mode():
        logits = model(**part["inputs"], use_cache=False).logits[part["supervised"]]
    losses = per_token(logits, part["next_ids"])
    assert tokens == len(losses)
    assert nats == pytest.approx(losses.double().sum().item(), rel=1e-5)
