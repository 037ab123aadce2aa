"""A GPU's memory runs out and the batch is halved; inputs wait in memory from which a GPU copies by itself."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.scoring.batching import BatchSize, batches
from artquant_plugin.scoring.prepare import Preparer, prepare_ahead
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.sections import TinyModel
from artquant_plugin.train.tiny import build_tiny_model
from tests.tiny import pictures, tiny_texts

pytestmark = pytest.mark.gpu

# 256 patches, on a GPU of 1024 numbers each: an image takes megabytes, which the allocator's blocks do not blur.
SMALL = TinyModel(image_size=32, patch_size=2, hidden=32, vision_layers=1, text_layers=1, heads=2, vocabulary=512)
LARGE = SMALL.model_copy(update={"image_size": 224, "patch_size": 14, "hidden": 1024, "heads": 16})
MANY = 64


@pytest.fixture(scope="module")
def checkpoint(device, on_gpu) -> Checkpoint:
    model, processor = build_tiny_model(LARGE if on_gpu else SMALL, tiny_texts(), seed=0)
    return Checkpoint(model.to(device).eval(), processor, ScoringSpec(), "large")


def memory_of(scorer: ArtQuantScorer, images: list) -> int:
    """The largest memory, in bytes, while images are scored; on a CPU, which does not tell, the number of images."""
    if scorer.checkpoint.model.device.type == "cpu":
        return len(images)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    list(scorer.score_each(images))
    return torch.cuda.max_memory_allocated()


@contextmanager
def at_most(limit: int, model) -> Iterator[None]:
    """Let torch allocate no more bytes than a limit; on a CPU, refuse batches of more images than a limit."""
    if model.device.type == "cpu":

        def refuse(module, args, kwargs):
            if len(kwargs["pixel_values"]) > limit:
                raise torch.OutOfMemoryError("the test's limit")

        hook = model.model.register_forward_pre_hook(refuse, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()
        return
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.mark.parametrize("size", [MANY, "auto"])
def test_a_batch_that_does_not_fit_is_halved_and_scores_stay_as_they_are(size, checkpoint, on_gpu):
    images = pictures(2 * MANY)
    alone = ArtQuantScorer(checkpoint, batch_size=4, workers=0)
    expected = [result.score for result in alone.score(images)]
    eight, many = (
        memory_of(ArtQuantScorer(checkpoint, batch_size=count, workers=0), images[:count]) for count in (8, MANY)
    )
    assert many > 1.5 * eight
    scorer = ArtQuantScorer(checkpoint, batch_size=size, workers=0)
    with at_most((eight + many) // 2, checkpoint.model):
        found = [result.score for result in scorer.score(images)]
    assert found == pytest.approx(expected, rel=1e-3)
    assert 1 <= scorer.batch_size < MANY
    if size == "auto" and on_gpu:
        assert scorer.batch_size >= 8


def test_an_image_that_does_not_fit_alone_is_an_error_of_its_own(checkpoint, on_gpu):
    scorer = ArtQuantScorer(checkpoint, batch_size=4, workers=0)
    weights = 0
    if on_gpu:
        torch.cuda.empty_cache()
        weights = torch.cuda.memory_allocated()
    with at_most(weights, checkpoint.model):
        failed = list(scorer.score_each(pictures(3)))
    assert [type(error) for error in failed] == [ArtQuantError] * 3
    assert "does not fit into the memory of the GPU, even alone" in str(failed[0])
    assert scorer.score(pictures(3))  # the memory is free again


def test_inputs_wait_in_pinned_memory_before_a_gpu(checkpoint, on_gpu):
    scorer = ArtQuantScorer(checkpoint, batch_size=2)
    stream = batches(pictures(6), BatchSize(2, device=str(checkpoint.model.device)), by_size=False)
    prepare = Preparer(scorer._score_inputs)
    seen = 0
    for _, ready in prepare_ahead(stream, prepare, workers=2, pin_memory=on_gpu):
        assert ready.inputs["pixel_values"].is_pinned() is on_gpu
        seen += 1
    assert seen == 3


def test_worker_processes_give_the_scores_of_threads(checkpoint):
    images = pictures(9)
    found = [
        [result.score for result in ArtQuantScorer(checkpoint, batch_size=4, workers=workers).score(images)]
        for workers in (0, 2)
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-6)
