import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.images import ImageError, open_image, resolve_inside


def saved(folder: Path, image: Image.Image, name: str, **options) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def test_an_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (4, 2), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° clockwise to show: the top left pixel goes to the top right
    shown = open_image(saved(tmp_path, image, "a.png", exif=exif))
    assert shown.size == (2, 4)
    assert shown.getpixel((1, 0)) == (255, 255, 255)


def test_transparency_stands_on_white(tmp_path):
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 255, 255))
    shown = open_image(saved(tmp_path, image, "a.png"))
    assert [shown.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 255)]


def test_a_palette_with_a_transparent_entry_stands_on_white(tmp_path):
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((1, 0), 1)
    shown = open_image(saved(tmp_path, image, "a.png", transparency=0))
    assert [shown.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (200, 0, 0)]


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "lime", "blue")]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert open_image(path).getpixel((1, 1)) == (255, 0, 0)


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    values = np.array([[0, 32768, 65535]], dtype=np.uint16)
    shown = open_image(saved(tmp_path, Image.fromarray(values), "a.png"))
    # 32768 / 65535 · 255 = 127.502, rounded to 128.
    assert np.asarray(shown)[0].tolist() == [[0, 0, 0], [128, 128, 128], [255, 255, 255]]


def test_cmyk_becomes_rgb(tmp_path):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # magenta and yellow in full: red
    red, green, blue = open_image(saved(tmp_path, image, "a.jpg", quality=95)).getpixel((4, 4))
    assert red > 240 and green < 20 and blue < 20


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
def test_every_mode_of_pillow_is_shown_as_rgb(mode, tmp_path):
    path = saved(tmp_path, Image.new(mode, (5, 3)), "a.tiff") if mode != "HSV" else None
    if path is None:
        path = saved(tmp_path, Image.new("HSV", (5, 3)).convert("RGB"), "a.png")
    shown = open_image(path)
    assert (shown.mode, shown.size) == ("RGB", (5, 3))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_does_not_turn_a_picture_black(value, tmp_path):
    values = np.full((5, 3), 0.5, dtype=np.float32)
    assert open_image(saved(tmp_path, Image.fromarray(values), "a.tiff")).getpixel((1, 1)) == (128, 128, 128)
    values[0, 0] = value
    path = saved(tmp_path, Image.fromarray(values), "b.tiff")
    assert failure(path) == "broken"
    with pytest.raises(ImageError, match="it holds NaN or infinite values"):
        open_image(path)


@pytest.mark.parametrize("tolerant", [False, True])
def test_a_truncated_jpeg_is_broken_whatever_others_told_pillow(tolerant, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), "a.jpg")
    path.write_bytes(path.read_bytes()[:1500])
    assert failure(path) == "broken"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is tolerant


def test_what_is_no_image_is_told_apart_from_what_is_missing(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    (tmp_path / "empty.jpg").touch()
    assert failure(tmp_path / "a.jpg") == "not_an_image"
    assert failure(tmp_path / "empty.jpg") == "not_an_image"
    assert failure(tmp_path) == "not_an_image"
    assert failure(tmp_path / "b.jpg") == "missing"


def png_header(path: Path, width: int, height: int) -> Path:
    """A grey PNG of that size without pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    return path


def test_an_enormous_image_is_refused_from_its_header_with_its_size(tmp_path):
    path = png_header(tmp_path / "a.png", 50_000, 50_000)
    assert failure(path) == "too_large"
    with pytest.raises(ImageError, match="has 2,500,000,000 pixels, more than 200,000,000; scale it down first"):
        open_image(path)


@pytest.mark.parametrize(("width", "reason"), [(19_999, "broken"), (20_001, "too_large"), (39_999, "too_large")])
def test_the_limit_is_ours_and_not_pillows(width, reason, tmp_path):
    path = png_header(tmp_path / "a.png", width, 10_000)
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if reason == "too_large" else "error")
        assert failure(path) == reason
    assert Image.MAX_IMAGE_PIXELS == before


def test_the_limit_of_pixels_is_inclusive(tmp_path):
    path = saved(tmp_path, Image.new("RGB", (10, 10)), "a.png")
    assert open_image(path, max_pixels=100).size == (10, 10)
    with pytest.raises(ImageError, match="10 x 10 pixels, more than 99; scale it down"):
        open_image(path, max_pixels=99)


def failure(path: Path) -> str:
    with pytest.raises(ImageError) as raised:
        open_image(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    return raised.value.reason


@pytest.mark.parametrize("name", ["../a.jpg", "a/../../b.jpg", "/etc/passwd", "", "C:\\a.jpg", "..\\a.jpg", "a\0.jpg"])
def test_a_name_that_leaves_the_folder_is_refused(name, tmp_path):
    with pytest.raises(ImageError, match="leaves the image folder") as raised:
        resolve_inside(tmp_path, name)
    assert raised.value.reason == "outside_folder"


def test_names_inside_the_folder_are_joined(tmp_path):
    assert resolve_inside(tmp_path, "a/b c.jpg") == tmp_path / "a" / "b c.jpg"


def test_the_hash_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
