import pytest
import torch
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.scoring.batching import BatchSize, batches, halving
from tests.tiny import pictures


def test_a_number_is_the_size_and_stays_it():
    size = BatchSize(4, device="cuda")
    size.fitted(4)
    assert size.current == 4
    assert BatchSize("4", device="cpu").current == 4


def test_auto_doubles_what_fits_until_the_memory_says_no():
    size = BatchSize("auto", device="cuda", ceiling=64)
    seen = []
    for _ in range(6):
        seen.append(size.current)
        if size.current > 32:
            size.refused(size.current)
        else:
            size.fitted(size.current)
    assert seen == [8, 16, 32, 64, 32, 32]


def test_auto_stops_at_its_ceiling_and_a_last_batch_that_is_short_tells_nothing():
    size = BatchSize("auto", device="cuda", ceiling=20)
    size.fitted(5)
    assert size.current == 8
    for _ in range(3):
        size.fitted(size.current)
    assert size.current == 20


def test_auto_with_a_number_looks_again_after_a_calm_while():
    size = BatchSize("auto:2", device="cuda", ceiling=64)
    size.refused(8)
    assert size.current == 4
    for _ in range(32):
        assert size.current == 4
        size.fitted(4)
    assert size.current == 8
    size.refused(8)
    for _ in range(200):
        size.fitted(4)
    assert size.current == 4


def test_a_batch_made_before_a_refusal_counts_once():
    size = BatchSize("auto:2", device="cuda")
    size.refused(8)
    size.refused(8)
    for _ in range(32):
        size.fitted(4)
    assert size.current == 8


def test_auto_does_not_grow_on_a_cpu_where_too_much_kills_the_process():
    size = BatchSize("auto", device="cpu")
    size.fitted(8)
    assert size.current == 8


@pytest.mark.parametrize("text", ["0", "-3", "auto:", "auto:0", "auto:x", "many", "1.5"])
def test_what_is_no_size_is_refused(text):
    if text == "auto:":  # an empty number is none given
        assert BatchSize(text, device="cpu").current == 8
        return
    with pytest.raises(ArtQuantError, match="is neither a number from 1 nor auto nor auto:N; use one of these"):
        BatchSize(text, device="cpu")


def test_batches_are_cut_in_the_order_given():
    images = pictures(5)
    cut = list(batches(images, BatchSize(2, device="cpu"), by_size=False))
    assert [batch.positions for batch in cut] == [[0, 1], [2, 3], [4]]
    assert [image for batch in cut for image in batch.sources] == images


def test_like_sizes_stand_together_within_a_window_and_no_place_is_lost(tmp_path):
    sizes = [(10, 10), (90, 90), (10, 12), (90, 88), (50, 50)] * 8
    paths = []
    for index, size in enumerate(sizes):
        paths.append(tmp_path / f"{index}.png")
        Image.new("RGB", size).save(paths[-1])
    paths[7] = tmp_path / "missing.png"
    cut = list(batches(paths, BatchSize(4, device="cpu"), by_size=True))
    assert sorted(place for batch in cut for place in batch.positions) == list(range(40))
    assert all(place < 32 for batch in cut[:8] for place in batch.positions)  # the first window
    areas = [
        [sizes[place][0] * sizes[place][1] for place in batch.positions]
        for batch in cut[:8]
        if 7 not in batch.positions
    ]
    spread = sum(max(area) - min(area) for area in areas)
    assert areas[0] == [8100] * 4
    assert spread < 0.2 * sum(max(sizes[i][0] * sizes[i][1] for i in range(k, k + 4)) for k in range(0, 32, 4))
    assert [paths[place] for batch in cut for place in batch.positions] == [s for batch in cut for s in batch.sources]


def test_the_stream_is_taken_one_window_at_a_time():
    taken = []

    def stream():
        for index, image in enumerate(pictures(100)):
            taken.append(index)
            yield image

    cut = batches(stream(), BatchSize(2, device="cpu"), by_size=True)
    next(cut)
    assert len(taken) == 16


def refusing(limit):
    tried = []

    def run(items):
        tried.append(len(items))
        if len(items) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [item * 10 for item in items]

    return run, tried


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_halves_run_where_the_whole_does_not_fit_and_nothing_is_lost(count):
    run, _ = refusing(2)
    size = BatchSize(8, device="cpu")
    parts = halving(range(count), run, size)
    assert [item for items, _ in parts for item in items] == list(range(count))
    assert [value for _, values in parts for value in values] == [10 * item for item in range(count)]


def test_a_size_that_was_refused_is_not_tried_again():
    run, tried = refusing(2)
    size = BatchSize(8, device="cpu")
    halving(range(8), run, size)
    assert tried == [8, 4, 2, 2, 2, 2]
    halving(range(8), run, size)
    assert tried[6:] == [2, 2, 2, 2]


def test_what_does_not_even_fit_alone_is_told():
    run, _ = refusing(0)
    assert halving(range(2), run, BatchSize(2, device="cpu")) == [(range(0, 1), None), (range(1, 2), None)]


def test_other_errors_are_not_caught():
    def run(items):
        raise RuntimeError("shapes")

    with pytest.raises(RuntimeError, match="shapes"):
        halving([1, 2], run, BatchSize(2, device="cpu"))
