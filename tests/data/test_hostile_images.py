"""Images that were made to harm, and machines that fail while an image is opened."""

import io
import os
import pickle
import stat
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data import image_memory
from artquant_plugin.data.image_memory import MEMORY_VARIABLE, decoding_bytes
from artquant_plugin.data.images import ImageError, header_size, open_image
from artquant_plugin.data.picture_files import read_picture_file

# Reading this file's first bytes, which no process has in its memory, fails with EIO, as a disk does that breaks.
BROKEN_DISK = Path("/proc/self/mem")


def encoded(image: Image.Image, format_name: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def reason(source: bytes | Path | Image.Image) -> str:
    with pytest.raises(ImageError) as raised:
        open_image(source)
    assert "\n" not in str(raised.value)
    return f"{raised.value.reason}: {raised.value}"


@pytest.fixture
def ghostscript(tmp_path, monkeypatch) -> Path:
    """A file that is there once Pillow has run Ghostscript."""
    folder, mark = tmp_path / "bin", tmp_path / "ran"
    folder.mkdir()
    program = folder / "gs"
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return mark


def test_no_picture_runs_a_program(ghostscript, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("RGB", (8, 8)), "EPS"))
    assert "is a PostScript (EPS) picture; save it as PNG or JPEG" in reason(path)
    assert "PostScript" in reason(path.read_bytes())
    assert header_size(path) == (0, 0)
    with Image.open(path) as opened:
        assert "format EPS is not decoded" in reason(opened)
        assert not ghostscript.exists()
        with pytest.raises(OSError):
            opened.load()  # what stands in its place, and would have been run
    assert ghostscript.exists()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
FORMS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "MPO"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
def test_whatever_a_decoder_raises_is_the_reason_of_that_image(form):
    whole = encoded(NOISE, form, **({"save_all": True, "append_images": [NOISE]} if form == "MPO" else {}))
    rng = np.random.default_rng(1)
    failed = 0
    for _ in range(150):
        content = bytearray(whole)
        for at in rng.integers(0, min(len(content), 400), 4):
            content[at] = rng.integers(256)
        try:
            open_image(bytes(content))
        except ImageError as error:
            assert "\n" not in str(error)
            failed += 1
    assert failed


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_file_that_ends_early_is_called_that(form):
    whole = encoded(NOISE, form)
    assert f"is cut short: the file ends after {len(whole) - 100:,} bytes" in reason(whole[:-100])


def test_a_file_that_is_whole_and_wrong_is_not_called_cut_short():
    content = bytearray(encoded(NOISE, "PNG"))
    content[60] ^= 255  # within the compressed pixels, whose checksum is then wrong
    assert "is broken (" in reason(bytes(content)) and "cut short" not in reason(bytes(content))
    assert "its first bytes are those of a PNG picture" in reason(b"\x89PNG\r\n\x1a\nIEND")


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    assert "is a HEIC picture; it needs a package that is not installed: pip install pillow-heif" in reason(head)


def test_heic_and_jpeg_xl_are_opened_where_their_packages_are_installed():
    pillow_heif, _ = pytest.importorskip("pillow_heif"), pytest.importorskip("pillow_jxl")
    pillow_heif.register_heif_opener()
    for form in ("HEIF", "JXL"):
        red, green, blue = open_image(encoded(Image.new("RGB", (32, 32), (200, 30, 30)), form)).getpixel((16, 16))
        assert red > 180 and green < 60 and blue < 60


# Memory.

LARGE = (2500, 2400)
MEASURE = """
import sys
from artquant_plugin.data.images import open_image

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

open_image(sys.argv[2])  # so that the decoder's library is loaded
before = peak()
open_image(sys.argv[1])
print((peak() - before) * 1024)
"""


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "1", {}),
        ("PNG", "I;16", {}),
        ("WEBP", "RGBA", {}),
        ("GIF", "P", {}),
        ("TIFF", "F", {"compression": "tiff_deflate", "tiffinfo": {278: 10_000}}),
        ("AVIF", "RGBA", {"speed": 10}),
        ("JPEG2000", "RGBA", {}),
        ("JPEG2000", "RGB", {"tile_size": (500, 500)}),
    ],
)
def test_a_picture_takes_no_more_memory_than_is_estimated(form, mode, options, tmp_path):
    path, small = tmp_path / "a", tmp_path / "small"
    image = Image.new(mode, LARGE) if mode != "I;16" else Image.fromarray(np.zeros(LARGE[::-1], np.uint16))
    path.write_bytes(encoded(image, form, **options))
    small.write_bytes(encoded(image.crop((0, 0, 32, 32)), form, **({} if "tile_size" in options else options)))
    with Image.open(path) as opened:
        estimate = decoding_bytes(opened, path.read_bytes()[:4096], LARGE[0] * LARGE[1])
    command = [sys.executable, "-c", MEASURE, path, small]
    measured = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert measured < estimate + 40 * 2**20  # of which strips of a million pixels take 30
    assert estimate < 2.5 * measured + 40 * 2**20  # nothing is refused that would have fitted by far


def test_a_picture_that_would_take_too_much_memory_is_refused_from_its_header(monkeypatch):
    content = encoded(Image.new("RGB", (1000, 1000)), "WEBP")
    monkeypatch.setenv(MEMORY_VARIABLE, "0.01")  # 10.7 MB; WebP takes 16.5 bytes per pixel, and the result 4
    line = reason(content)
    assert line.startswith("too_large: ")
    assert "of 1000 x 1000 pixels takes 0.02 GiB to decode as WEBP, more than 0.01;" in line
    assert line.endswith(f"scale it down, or set {MEMORY_VARIABLE} to more GiB")
    monkeypatch.setenv(MEMORY_VARIABLE, "0.1")
    assert open_image(content).size == (1000, 1000)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_a_wrong_bound_is_an_error_of_the_run_and_of_no_image(value, monkeypatch):
    monkeypatch.setenv(MEMORY_VARIABLE, value)
    with pytest.raises(ArtQuantError, match=f"{MEMORY_VARIABLE}='{value}' is no number of GiB above 0") as raised:
        open_image(encoded(NOISE, "PNG"))
    assert not isinstance(raised.value, ImageError)


@pytest.mark.parametrize("handling", ["as_shown", "as_stored"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "F"])
def test_a_larger_picture_than_is_kept_is_averaged_over_squares(mode, handling, monkeypatch):
    monkeypatch.setattr(image_memory, "LARGEST_KEPT", 5 * 4)
    values = np.arange(10 * 8, dtype=np.uint8).reshape(8, 10)
    image = Image.fromarray(values)
    image = Image.fromarray(values.astype(np.float32)) if mode == "F" else image.convert(mode)
    # Whole numbers of the mean of each square of 2 x 2, as the squares' rows differ by 10 and their columns by 1:
    # v, v + 1, v + 10, v + 11 have the mean v + 5.5, which is rounded up.
    expected = values[::2, ::2] + 6
    shown = open_image(encoded(image, "TIFF"), handling=handling)
    assert np.asarray(shown)[:, :, 0].tolist() == expected.tolist()


def test_strips_give_what_the_whole_picture_gives(monkeypatch):
    sixteen = Image.fromarray(np.random.default_rng(0).integers(0, 65535, (40, 30), dtype=np.uint16))
    layer = NOISE.resize((30, 40))
    layer.putalpha(Image.effect_mandelbrot((30, 40), (-2, -1, 1, 1), 50))
    for image in (sixteen, layer):
        whole = open_image(encoded(image, "PNG"))
        monkeypatch.setattr("artquant_plugin.data.images._STRIP", 70)  # two rows, and one that is not whole
        assert np.array_equal(open_image(encoded(image, "PNG")), whole)
        monkeypatch.undo()


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(monkeypatch):
    monkeypatch.setattr(image_memory, "LARGEST_KEPT", 400)
    content = encoded(Image.new("RGB", (60, 60), (200, 100, 50)), "JPEG", quality=95)
    assert open_image(content).size == (15, 15)  # a third would be enough; a quarter is what JPEG offers


def test_a_small_picture_can_be_asked_for():
    content = encoded(Image.new("RGB", (800, 400)), "JPEG")
    assert open_image(content, longest_side=200).size == (200, 100)
    assert open_image(content, longest_side=201).size == (400, 200)
    assert open_image(content, longest_side=2000).size == (800, 400)


# Faults of the machine.


def test_a_disk_that_fails_is_the_machines_fault():
    for read in (open_image, header_size, sha256_file, read_picture_file):
        with pytest.raises(MachineError, match=r"'/proc/self/mem' cannot be read: Input/output error; look for"):
            read(BROKEN_DISK)


@pytest.fixture
def without_rights(tmp_path):
    """A file that this process has no right to read, whoever runs it."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(NOISE, "PNG"))
    path.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield path
        os.seteuid(0)
    else:
        yield path


def test_a_missing_right_is_the_machines_fault(without_rights):
    with pytest.raises(MachineError, match="cannot be read: Permission denied; give this user the right to it"):
        open_image(without_rights)


STARVED = """
import resource, sys
from artquant_plugin.common.errors import MachineError
from artquant_plugin.data.images import open_image

open_image(sys.argv[2])
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    open_image(sys.argv[1])
except MachineError as error:
    print(error)
"""


def test_too_little_memory_is_the_machines_fault(tmp_path):
    large, small = tmp_path / "a.png", tmp_path / "b.png"
    large.write_bytes(encoded(Image.new("RGB", (6000, 5000)), "PNG"))  # 120 MB of pixels
    small.write_bytes(encoded(NOISE, "PNG"))
    command = [sys.executable, "-c", STARVED, large, small, str(60 * 2**20)]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, MEMORY_VARIABLE: "1"}
    )
    assert said.stdout.strip() == (
        f"image '{large}' cannot be read: Cannot allocate memory; use fewer workers or smaller batches, or end other "
        "programs, then run again"
    )


def test_a_fault_of_the_machine_travels_between_processes():
    error = pickle.loads(pickle.dumps(MachineError("one line")))
    assert type(error) is MachineError and str(error) == "one line"
    with ProcessPoolExecutor(1) as pool, pytest.raises(MachineError, match="Input/output error"):
        pool.submit(open_image, BROKEN_DISK).result()


def test_a_broken_jpeg_xl_picture_is_named_without_advice_for_builders_of_its_decoder():
    pytest.importorskip("pillow_jxl")
    with pytest.raises(ImageError, match="is broken \\(its decoder finds no picture in it\\); fetch it again"):
        open_image(b"\xff\x0a" + b"JUNK" * 4)
