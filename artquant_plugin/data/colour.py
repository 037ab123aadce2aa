"""Colour management: pixels in the colour space that a file names become sRGB, as a viewer shows them."""

import io
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageCms

ColourMode = Literal["L", "RGB", "CMYK", "LAB"]

_MODES: dict[str, ColourMode] = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}  # by a profile's name of its colour space
_GREY = ("1", "L", "LA", "La", "I", "F")  # and all that begin with I;16
_PROFILES_KEPT = 16  # transforms of a run's last profiles; pictures of one source share theirs
_INVISIBLE = 1  # of 255: a profile that moves no colour of the grid by more is sRGB
_GRID = 9  # colours per channel
# What libpng takes for no difference between a file's gamma and a screen's. Files without a colour space of their own
# often name 1/2.2, which stands for sRGB.
_SAME_GAMMA = 0.05
_SAME_CHROMATICITY = 0.01
_SRGB_CHROMATICITY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # x and y of white, red, green, blue
_SRGB_GAMMA = 1 / 2.2
_D50 = (0.9642, 1.0, 0.8249)  # the white of ICC's connection space, XYZ
# Bradford's matrix from XYZ to the responses of cones (ICC.1:2022, annex E).
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


class ToSRGB:
    """A conversion of pixels to sRGB.

    Args:
        mode: the mode of the pixels that it takes.
        transform: LittleCMS's transform from that mode to RGB.
    """

    def __init__(self, mode: ColourMode, transform: Any) -> None:
        self.mode = mode
        self._transform = transform

    def __call__(self, image: Image.Image) -> Image.Image:
        """Convert an image of the mode `mode` to sRGB, mode RGB; its size stays."""
        converted = ImageCms.applyTransform(image, self._transform)
        assert converted is not None, "only a transform in place returns nothing"
        return converted


def to_srgb(image: Image.Image) -> ToSRGB | None:
    """The conversion that an opened image's own words about its colours ask for.

    These are an embedded ICC profile or, in a PNG file without one, the chunks gAMA and cHRM, which an sRGB chunk
    overrides. A profile that is broken, or is for another kind of pixels than the image has, is ignored, as viewers
    do. Pixels of a CIELAB file are always converted.

    Args:
        image: an image as Pillow opened it, with what the file says in its `info`.

    Returns:
        The conversion; None where the pixels count as sRGB, or nothing is known of them.
    """
    mode = _colour_mode(image)
    if mode == "LAB":
        return _from_lab()
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        return _from_profile(profile, mode)
    gamma, chromaticity = image.info.get("gamma"), image.info.get("chromaticity")
    if image.format != "PNG" or "srgb" in image.info or mode == "CMYK" or not (gamma or chromaticity):
        return None
    return _from_png_chunks(gamma, chromaticity, mode)


def _colour_mode(image: Image.Image) -> ColourMode:
    if image.mode in _GREY or image.mode.startswith("I;16"):
        return "L"
    if image.mode == "CMYK":
        return "CMYK"
    return "LAB" if image.mode == "LAB" else "RGB"


@lru_cache(maxsize=_PROFILES_KEPT)
def _from_profile(content: bytes, mode: ColourMode) -> ToSRGB | None:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        if _MODES.get(profile.profile.xcolor_space) != mode:
            return None
        # The perceptual intent, as viewers and browsers use it; a profile that has one intent only falls back to that.
        transform = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.PERCEPTUAL
        )
        conversion = ToSRGB(mode, transform)
        return None if _changes_nothing(conversion) else conversion
    except Exception:  # whatever a broken profile makes the library say
        return None


@lru_cache(maxsize=1)
def _from_lab() -> ToSRGB:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ToSRGB("LAB", ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))


def _changes_nothing(conversion: ToSRGB) -> bool:
    """Whether colours all over the cube stay what they are."""
    steps = np.rint(np.linspace(0, 255, _GRID)).astype(np.uint8)
    if conversion.mode == "L":
        greys = np.arange(256, dtype=np.uint8)[None]
        before, image = np.stack([greys] * 3, axis=-1), Image.fromarray(greys)
    elif conversion.mode == "RGB":
        before = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
        image = Image.fromarray(before)
    else:
        return False
    moved = np.asarray(conversion(image)).astype(int) - before
    return bool(np.abs(moved).max() <= _INVISIBLE)


def _from_png_chunks(gamma: Any, chromaticity: Any, mode: ColourMode) -> ToSRGB | None:
    """The conversion for a PNG file's gAMA and cHRM, each of which may be missing."""
    gamma = gamma or _SRGB_GAMMA
    chromaticity = tuple(chromaticity or _SRGB_CHROMATICITY)
    same_gamma = abs(gamma / _SRGB_GAMMA - 1) <= _SAME_GAMMA
    same_primaries = mode == "L" or np.allclose(chromaticity, _SRGB_CHROMATICITY, rtol=0, atol=_SAME_CHROMATICITY)
    if same_gamma and same_primaries:
        return None
    try:
        return _from_profile(display_profile(gamma, chromaticity, grey=mode == "L"), mode)
    except (ArithmeticError, ValueError, struct.error, np.linalg.LinAlgError):  # values that belong to no display
        return None


def display_profile(gamma: float, chromaticity: Sequence[float], *, grey: bool = False) -> bytes:
    """An ICC profile of a display whose values are a power of the light's intensity.

    Args:
        gamma: the exponent from intensity to value, as a PNG file's gAMA chunk holds it: 1/2.2 is usual.
        chromaticity: x and y of white, red, green and blue, as the cHRM chunk holds them.
        grey: whether the profile is for grey pixels, for which white and the exponent count alone.

    Raises:
        ArithmeticError: an exponent of 0.
        ValueError: numbers that belong to no display.
        struct.error: numbers that are too large for a profile.
        numpy.linalg.LinAlgError: primaries on one line.
    """
    curve = b"para" + struct.pack(">IHHi", 0, 0, 0, round(65536 / gamma))
    tags = {b"wtpt": _xyz(_D50)}
    if grey:
        tags[b"kTRC"] = curve
    else:
        for letter, column in zip(b"rgb", _primaries(chromaticity).T, strict=True):
            tags[bytes([letter]) + b"XYZ"] = _xyz(column)
            tags[bytes([letter]) + b"TRC"] = curve
    index, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        index += struct.pack(">4sII", name, 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content
    # Header of ICC.1:2022, 7.2: size, version, class, pixels, connection space, signature, white of that space.
    header = struct.pack(
        ">II4s4s4s4s12s4s28siii48s",
        *(128 + len(index) + len(body), 0, b"\4\x20\0\0", b"mntr", b"GRAY" if grey else b"RGB ", b"XYZ ", bytes(12)),
        *(b"acsp", bytes(28), *(round(65536 * value) for value in _D50), bytes(48)),
    )
    return header + index + body


def _xyz(values: Sequence[float] | np.ndarray) -> bytes:
    return b"XYZ " + struct.pack(">Iiii", 0, *(round(65536 * float(value)) for value in values))


def _primaries(chromaticity: Sequence[float]) -> np.ndarray:
    """XYZ of red, green and blue at full value, one per column, adapted to ICC's white."""
    x, y = np.array(chromaticity, dtype=float).reshape(4, 2).T
    if not (y > 0).all():
        raise ValueError(f"chromaticity {tuple(chromaticity)} has a y that is not positive")
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    white, primaries = xyz[:, 0], xyz[:, 1:]
    scaled = primaries * np.linalg.solve(primaries, white)
    gains = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    return np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD @ scaled
