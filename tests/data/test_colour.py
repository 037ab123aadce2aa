import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from artquant_plugin.data.colour import display_profile, to_srgb
from artquant_plugin.data.images import open_image, shown_as_stored

SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
ADOBE_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ADOBE_GAMMA = 256 / 563  # Adobe RGB (1998), 4.3.4.2: 2.19921875 is the exponent to intensity
# Both are for the white D65, so that none has to be adapted (IEC 61966-2-1, F.4; Adobe RGB (1998), 4.3.5.3).
SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
XYZ_TO_ADOBE = np.array([[2.04159, -0.56501, -0.34473], [-0.96924, 1.87597, 0.04156], [0.01344, -0.11836, 1.01517]])
COLOUR = (200, 110, 60)


def in_adobe_rgb(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """The values of Adobe RGB that look as these of sRGB do."""
    values = np.array(colour) / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    red, green, blue = np.rint(255 * (XYZ_TO_ADOBE @ SRGB_TO_XYZ @ light) ** ADOBE_GAMMA).astype(int).tolist()
    return red, green, blue


def reopened(image: Image.Image, format_name: str, **options) -> Image.Image:
    return open_image(encoded(image, format_name, **options))


def encoded(image: Image.Image, format_name: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def near(pixel: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Equal but for the rounding to 8 bits before and after the conversion."""
    return max(abs(value - other) for value, other in zip(pixel, expected, strict=True)) <= 2


ADOBE = display_profile(ADOBE_GAMMA, ADOBE_PRIMARIES)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_a_profile_is_applied_in_every_form_that_carries_one(format_name):
    options = (
        {"quality": 100} if format_name in ("JPEG", "AVIF") else {"lossless": True} if format_name == "WEBP" else {}
    )
    stored = in_adobe_rgb(COLOUR)
    assert not near(stored, COLOUR)
    shown = reopened(Image.new("RGB", (16, 16), stored), format_name, icc_profile=ADOBE, **options)
    assert near(shown.getpixel((8, 8)), COLOUR)


def test_a_profile_is_applied_to_a_palette_and_under_transparency():
    stored = in_adobe_rgb(COLOUR)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([*stored, 0, 0, 0])
    assert near(reopened(palette, "PNG", icc_profile=ADOBE).getpixel((1, 1)), COLOUR)
    layer = Image.new("RGBA", (2, 1), (*stored, 255))
    layer.putpixel((1, 0), (*stored, 0))
    shown = reopened(layer, "PNG", icc_profile=ADOBE)
    assert near(shown.getpixel((0, 0)), COLOUR) and shown.getpixel((1, 0)) == (255, 255, 255)


# Of a profile whose values are the light's intensity, 55 of 255 is an intensity of 0.2157, which sRGB writes as
# 1.055 · 0.2157 ** (1 / 2.4) - 0.055 = 0.502, 128 of 255.
LINEAR_GREY = display_profile(1.0, SRGB_PRIMARIES, grey=True)


def test_a_profile_for_grey_is_applied_to_grey_of_8_and_16_bits_and_under_transparency():
    assert reopened(Image.new("L", (4, 4), 55), "PNG", icc_profile=LINEAR_GREY).getpixel((1, 1)) == (128,) * 3
    assert reopened(Image.new("LA", (4, 4), (55, 255)), "PNG", icc_profile=LINEAR_GREY).getpixel((1, 1)) == (128,) * 3
    sixteen = Image.fromarray(np.full((4, 4), 55 * 257, dtype=np.uint16))
    assert reopened(sixteen, "PNG", icc_profile=LINEAR_GREY).getpixel((1, 1)) == (128,) * 3
    assert reopened(sixteen, "TIFF", icc_profile=LINEAR_GREY).getpixel((1, 1)) == (128,) * 3


def press_profile() -> bytes:
    """A profile of a press that prints grey whatever the ink: L* = 100 without ink, 0 with all four, 50 in between."""
    lightness = {0: 255, 4: 0}
    nodes = b"".join(bytes([lightness.get(bin(inks).count("1"), 128), 128, 128]) for inks in range(16))
    identity = struct.pack(">9i", *(65536 if at % 4 == 0 else 0 for at in range(9)))
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + 4 * ramp + nodes + 3 * ramp
    white = b"XYZ " + struct.pack(">Iiii", 0, 63190, 65536, 54061)
    index, at = struct.pack(">I", 2), 128 + 4 + 24
    for name, content in ((b"A2B0", table), (b"wtpt", white)):
        index += struct.pack(">4sII", name, at, len(content))
        at += len(content) + -len(content) % 4
    body = table + bytes(-len(table) % 4) + white
    header = struct.pack(">II4s4s4s4s", at, 0, b"\2\x40\0\0", b"prtr", b"CMYK", b"Lab ") + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + index + body


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk_is_shown_as_the_press_of_its_profile_prints_it(format_name):
    options = {"quality": 100} if format_name == "JPEG" else {}
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    shown = reopened(cyan, format_name, icc_profile=press_profile(), **options).getpixel((8, 8))
    # 128 of 255 is L* = 50.2, the grey 120 of sRGB; Pillow's own conversion gives (0, 255, 255).
    assert near(shown, (120, 120, 120))
    paper = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    shown = reopened(paper, format_name, icc_profile=press_profile(), **options).getpixel((8, 8))
    assert near(shown, (255, 255, 255))


def test_cielab_becomes_srgb():
    # L* = 128 / 255 · 100 = 50.2 is the grey 120; Pillow holds a* = 0 and b* = 0 as 128.
    assert near(reopened(Image.new("LAB", (4, 4), (128, 128, 128)), "TIFF").getpixel((1, 1)), (120, 120, 120))


def test_srgb_in_its_own_profile_is_left_as_it_is_and_costs_no_conversion():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    content = encoded(noise, "PNG", icc_profile=srgb)
    with Image.open(io.BytesIO(content)) as image:
        assert to_srgb(image) is None
    assert np.array_equal(open_image(content), noise)
    assert shown_as_stored(content) and not shown_as_stored(encoded(noise, "PNG", icc_profile=ADOBE))


@pytest.mark.parametrize(
    "profile", [b"no profile", ADOBE[:200], ADOBE.replace(b"acsp", b"xxxx"), LINEAR_GREY, press_profile()]
)
def test_a_profile_that_is_broken_or_of_other_pixels_is_ignored(profile):
    image = Image.new("RGB", (4, 4), COLOUR)
    assert reopened(image, "PNG", icc_profile=profile).getpixel((1, 1)) == COLOUR


def test_a_profile_of_colours_is_ignored_for_grey():
    assert reopened(Image.new("L", (4, 4), 55), "PNG", icc_profile=ADOBE).getpixel((1, 1)) == (55, 55, 55)


def test_as_stored_knows_no_profile():
    stored = in_adobe_rgb(COLOUR)
    content = encoded(Image.new("RGB", (4, 4), stored), "PNG", icc_profile=ADOBE)
    assert open_image(content, handling="as_stored").getpixel((1, 1)) == stored


def test_rotation_and_profile_are_applied_together_and_the_profile_is_gone_from_the_result():
    image = Image.new("RGB", (4, 2), in_adobe_rgb(COLOUR))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top left pixel goes to the top right
    shown = reopened(image, "PNG", icc_profile=ADOBE, exif=exif)
    assert shown.size == (2, 4) and shown.getpixel((1, 0)) == (255, 255, 255) and near(shown.getpixel((0, 0)), COLOUR)
    assert open_image(encoded(shown, "PNG")).getpixel((0, 0)) == shown.getpixel((0, 0))


def png(colour: int | tuple[int, ...], mode: str, **chunks: bytes) -> Image.Image:
    info = PngImagePlugin.PngInfo()
    for name, content in chunks.items():
        info.add(name.encode(), content)
    return reopened(Image.new(mode, (4, 4), colour), "PNG", pnginfo=info)


GAMMA_1 = struct.pack(">I", 100_000)
GAMMA_22 = struct.pack(">I", 45_455)
ADOBE_CHRM = struct.pack(">8I", *(round(value * 100_000) for value in ADOBE_PRIMARIES))


def test_gamma_and_primaries_of_a_png_are_applied():
    assert png(55, "L", gAMA=GAMMA_1).getpixel((1, 1)) == (128, 128, 128)
    assert near(png((55, 55, 55), "RGB", gAMA=GAMMA_1).getpixel((1, 1)), (128, 128, 128))
    adobe = struct.pack(">I", round(ADOBE_GAMMA * 100_000))
    assert near(png(in_adobe_rgb(COLOUR), "RGB", gAMA=adobe, cHRM=ADOBE_CHRM).getpixel((1, 1)), COLOUR)


def test_the_usual_gamma_stands_for_srgb_and_an_srgb_chunk_overrides():
    assert png(COLOUR, "RGB", gAMA=GAMMA_22).getpixel((1, 1)) == COLOUR
    assert png(COLOUR, "RGB", sRGB=b"\0", gAMA=GAMMA_1, cHRM=ADOBE_CHRM).getpixel((1, 1)) == COLOUR


@pytest.mark.parametrize("gamma", [0, 1, 2**31 - 1])
@pytest.mark.parametrize("primaries", [bytes(32), 8 * struct.pack(">I", 30_000), b"\x7f" * 32])
def test_chunks_that_belong_to_no_display_are_ignored(gamma, primaries):
    assert len(png(COLOUR, "RGB", gAMA=struct.pack(">I", gamma), cHRM=primaries).getpixel((1, 1))) == 3


def test_the_profile_of_a_display_says_what_littlecms_says_of_srgb():
    ours = ImageCms.ImageCmsProfile(io.BytesIO(display_profile(1 / 2.2, SRGB_PRIMARIES))).profile
    theirs = ImageCms.createProfile("sRGB")
    for name in ("red_colorant", "green_colorant", "blue_colorant"):
        assert getattr(ours, name)[0] == pytest.approx(getattr(theirs, name)[0], abs=1e-4)
