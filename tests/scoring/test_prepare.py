import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.data import image_memory
from artquant_plugin.data.images import ImageError
from artquant_plugin.scoring.batching import Batch, BatchSize, batches
from artquant_plugin.scoring.prepare import Preparer, dead_workers_are_errors, default_workers, prepare_ahead
from tests.tiny import pictures


def means(images):
    """As model inputs, the mean of each picture."""
    return {
        "means": torch.tensor([list(image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))) for image in images])
    }


def refuse_wide(images):
    if any(image.width > 100 for image in images):
        raise ValueError("aspect ratio\n too large")
    return means(images)


def die(images):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def files(tmp_path):
    paths = []
    for index, image in enumerate(pictures(7)):
        paths.append(tmp_path / f"{index}.png")
        image.save(paths[-1])
    return paths


def cut(sources, size=2):
    return batches(sources, BatchSize(size, device="cpu"), by_size=False)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_come_in_the_order_given_with_the_same_inputs_for_any_number_of_workers(workers, files):
    sources = [*files, *pictures(7), *[path.read_bytes() for path in files]]
    expected = means(pictures(7) * 3)["means"]
    done = list(prepare_ahead(cut(sources), Preparer(means), workers=workers))
    assert [place for batch, _ in done for place in batch.positions] == list(range(21))
    assert torch.equal(torch.cat([ready.inputs["means"] for _, ready in done]), expected)
    assert all(ready.seconds > 0 for _, ready in done)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_fails_leaves_its_error_in_its_place(workers, files):
    (files[2].parent / "bad.jpg").write_text("<html>")
    sources = [files[0], files[2].parent / "bad.jpg", files[1], files[2].parent / "gone.jpg", b"no image", *files]
    done = list(prepare_ahead(cut(sources, 4), Preparer(means), workers=workers))
    (_, first), (_, second), (_, third) = done
    assert third.errors == [None] * 4
    assert [type(error) for error in first.errors] == [type(None), ImageError, type(None), ImageError]
    assert [error.reason for error in first.errors if error] == ["not_an_image", "missing"]
    assert torch.equal(first.inputs["means"], means(pictures(2))["means"])
    assert "'<8 bytes>' is no image" in str(second.errors[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fault_of_the_machine_ends_the_stream_with_one_line(workers, files):
    # The kernel answers a read of this file's first bytes with EIO, as a disk does that breaks.
    sources = [*files, Path("/proc/self/mem"), *files]
    with pytest.raises(MachineError, match="'/proc/self/mem' cannot be read: Input/output error") as raised:
        list(prepare_ahead(cut(sources), Preparer(means), workers=workers))
    assert "\n" not in str(raised.value)
    assert not multiprocessing.active_children()


def no_memory(images):
    raise MemoryError


def no_memory_says_torch(images):
    torch.empty(2**62, dtype=torch.uint8)


@pytest.mark.parametrize("starved", [no_memory, no_memory_says_torch])
def test_too_little_memory_for_a_batch_is_no_images_fault(starved):
    with pytest.raises(MachineError, match="a batch of images cannot be prepared: Cannot allocate memory; use fewer"):
        Preparer(starved)(pictures(2))


def test_an_image_that_the_processor_refuses_spoils_no_other():
    images = [*pictures(2), Image.new("RGB", (200, 2))]
    ready = Preparer(refuse_wide)(images)
    assert ready.errors[:2] == [None, None]
    assert str(ready.errors[2]) == (
        "the checkpoint's processor does not take a picture of 200 x 2 (aspect ratio too large); crop or scale it"
    )
    assert torch.equal(ready.inputs["means"], means(images[:2])["means"])


def test_an_error_that_no_image_alone_causes_is_no_image_error():
    def together(images):
        if len(images) > 1:
            raise ValueError("cannot stack")
        return means(images)

    with pytest.raises(ValueError, match="cannot stack"):
        Preparer(together)(pictures(2))


def peak_of(action) -> int:
    """The most memory, in bytes, that a forked process takes for an action beyond what it had before."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            before = memory_peak()
            action()
            os.write(writer, str(memory_peak() - before).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return int(found)


def memory_peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_a_batch_of_twelve_large_pictures_takes_less_memory_than_four_of_them(tmp_path, monkeypatch):
    size = 2500, 2000
    Image.new("RGB", size, (9, 8, 7)).save(tmp_path / "a.png")
    monkeypatch.setattr(image_memory, "PIXELS_AT_ONCE", size[0] * size[1])
    prepared = Preparer(means)
    picture = 4 * size[0] * size[1]  # Pillow holds four bytes per pixel; a part of them may be memory that was free
    assert picture / 2 < peak_of(lambda: prepared([tmp_path / "a.png"] * 12)) < 4 * picture
    assert torch.equal(prepared([tmp_path / "a.png"] * 3).inputs["means"], torch.tensor([[9, 8, 7]] * 3))


def test_parts_whose_inputs_have_other_shapes_stay_apart(monkeypatch):
    def pixels(images):
        return {"pixels": torch.zeros(len(images), max(image.width for image in images))}

    monkeypatch.setattr(image_memory, "PIXELS_AT_ONCE", 200)
    wide, narrow = Image.new("RGB", (20, 10)), Image.new("RGB", (10, 20))
    ready = Preparer(pixels)([wide, b"no image", wide, narrow])
    assert [(count, tuple(inputs["pixels"].shape)) for count, inputs in ready.parts] == [
        (1, (1, 20)),
        (1, (1, 20)),
        (1, (1, 10)),
    ]
    assert [error is None for error in ready.errors] == [True, False, True, True]
    assert Preparer(pixels)([wide, wide]).inputs["pixels"].shape == (2, 20)


def test_pictures_of_other_modes_become_rgb_as_files_do(tmp_path):
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    picture.save(tmp_path / "a.png")
    for handling, expected in (("as_shown", [255, 255, 255]), ("as_stored", [255, 0, 0])):
        found = Preparer(means, handling)([picture, tmp_path / "a.png"]).inputs["means"]
        assert found.tolist() == [expected, expected]


def test_a_picture_in_memory_that_is_cut_short_is_an_error(tmp_path):
    pictures(1)[0].save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    with Image.open(tmp_path / "a.png") as lazy:
        ready = Preparer(means)([lazy])
    assert ready.inputs is None
    assert str(ready.errors[0]).startswith("a picture is broken (")


def test_a_worker_that_dies_is_one_clear_error_and_no_hang(files):
    started = time.monotonic()
    with pytest.raises(ArtQuantError, match=r"died \(DataLoader worker .*\); .*workers=0") as raised:
        with dead_workers_are_errors():
            list(prepare_ahead(cut(files), Preparer(die), workers=1))
    assert "\n" not in str(raised.value)
    assert time.monotonic() - started < 30


def test_other_errors_of_the_model_are_not_taken_for_dead_workers():
    with pytest.raises(RuntimeError, match="shapes"):
        with dead_workers_are_errors():
            raise RuntimeError("shapes do not match")


def test_a_consumer_that_stops_early_leaves_no_process_behind(files):
    before = set(multiprocessing.active_children())
    results = prepare_ahead(cut(files * 10), Preparer(means), workers=2)
    next(results)
    assert len(set(multiprocessing.active_children()) - before) == 2
    results.close()
    assert not set(multiprocessing.active_children()) - before


def test_a_few_images_start_no_process(files):
    results = prepare_ahead([Batch([0], [files[0]]), Batch([1], [files[1]])], Preparer(means), workers=2)
    before = set(multiprocessing.active_children())
    next(results)
    assert set(multiprocessing.active_children()) == before


def test_an_error_of_the_stream_itself_reaches_the_caller(files):
    def stream():
        yield files[0]
        raise LookupError("the table ends")

    for workers in (0, 1):
        with pytest.raises(LookupError, match="the table ends"):
            list(prepare_ahead(cut(stream(), 1), Preparer(means), workers=workers))


def test_workers_are_none_on_a_cpu_and_share_the_cores_of_a_machine_with_gpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert default_workers("cpu") == 0
    assert default_workers("cuda:0") == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert default_workers("cuda:3") == 7


def test_the_environment_is_left_as_it_was(files, monkeypatch):
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    list(prepare_ahead(cut(files), Preparer(means), workers=1))
    assert "TOKENIZERS_PARALLELISM" not in os.environ
