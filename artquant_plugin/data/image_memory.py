"""How much memory a picture takes while it is decoded, known from its header, and the bound on it."""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from PIL import Image

from artquant_plugin.common.errors import ArtQuantError

MEMORY_VARIABLE = "ARTQUANT_IMAGE_MEMORY"
MEMORY = 1.0  # GiB that one picture may take where the variable names no other number
# A larger picture is averaged over squares of 2 x 2, 3 x 3, ... pixels until it is not larger. At least a quarter of
# this is left, which is more than processors keep: Qwen2-VL's, the largest of those tried, keep 12.8 million pixels.
LARGEST_KEPT = 64_000_000  # pixels
# Pixels of the opened pictures from which on they are made into inputs before the next one is opened. A processor
# holds them once more as arrays, so that this is half a gigabyte.
PIXELS_AT_ONCE = LARGEST_KEPT
_GIB = 2**30

_TILE_WIDTH, _TILE_HEIGHT, _ROWS_PER_STRIP = 322, 323, 278  # TIFF tags
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _PLANAR = 258, 277, 284
# Bytes per pixel that a decoder needs beside Pillow's pixels, as measured with Pillow 13: its canvases (WebP), its
# planes (AVIF, HEIC), 32-bit samples (JPEG 2000), its whole output (JPEG XL). TIFF and JPEG are computed.
_DECODER = {"WEBP": 12.5, "AVIF": 8.0, "HEIF": 4.0, "JPEG2000": 21.0, "JXL": 4.0}
Item = TypeVar("Item")

_NARROW = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # bytes per pixel in Pillow; 4 in other modes


def memory_limit() -> int:
    """The bytes that one picture may take while it is decoded: `ARTQUANT_IMAGE_MEMORY` in GiB, or `MEMORY`.

    Raises:
        ArtQuantError: the variable is set to something else than a positive number.
    """
    text = os.environ.get(MEMORY_VARIABLE) or str(MEMORY)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArtQuantError(f"{MEMORY_VARIABLE}={text!r} is no number of GiB above 0; set it to 2, or unset it")
    return int(value * _GIB)


def reduction(width: int, height: int) -> int:
    """The side of the squares of pixels over which a picture is averaged: 1 up to `LARGEST_KEPT` pixels.

    Example:
        >>> reduction(8000, 8000), reduction(14000, 14000)
        (1, 2)
    """
    side = 1
    while math.ceil(width / side) * math.ceil(height / side) > LARGEST_KEPT:
        side += 1
    return side


def is_full(pixels: int) -> bool:
    """Whether opened pictures of so many pixels together are all that memory holds at one time.

    Args:
        pixels: the sum over the pictures, at least 0.
    """
    return pixels >= PIXELS_AT_ONCE


def held_together(items: Iterable[Item], pixels: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Cut a stream of opened pictures into groups that memory holds at one time, each as long as possible.

    Args:
        items: a stream that opens each picture when it is asked for; it is not asked for more than one group ahead.
        pixels: the number of pixels of an item that memory holds; 0 for one without a picture.

    Yields:
        The next items, of which all but the last have fewer than `PIXELS_AT_ONCE` pixels together. The list is emptied
        when the next one is asked for, so that no picture of it is held any longer.

    Example:
        >>> [list(group) for group in held_together([60_000_000, 10_000_000, 5, 64_000_000, 1], int)]
        [[60000000, 10000000], [5, 64000000], [1]]
    """
    group: list[Item] = []
    held = 0
    for item in items:
        held += pixels(item)
        group.append(item)
        del item
        if is_full(held):
            yield group
            group.clear()
            held = 0
    if group:
        yield group


def decoding_bytes(image: Image.Image, head: bytes, stored_pixels: int) -> int:
    """An estimate of the largest memory that decoding a picture and converting it to RGB takes, in bytes.

    Args:
        image: opened, and not yet decoded; its size is that at which it will be decoded.
        head: the file's first bytes, in which JPEG 2000 tells the size of its tiles; empty for a picture in memory.
        stored_pixels: the number of pixels in the file, which is larger where a JPEG is decoded at a fraction.
    """
    pixels = image.width * image.height
    kept = pixels / reduction(image.width, image.height) ** 2
    return int(pixels * _NARROW.get(image.mode, 4) + _decoder_bytes(image, head, stored_pixels) + 4 * kept)


def _decoder_bytes(image: Any, head: bytes, pixels: int) -> float:
    kind = image.format
    if kind == "TIFF":
        tags = image.tag_v2
        bits = tags.get(_BITS_PER_SAMPLE, (1,))
        depth = max(bits) if isinstance(bits, tuple) else bits
        wide = tags.get(_TILE_WIDTH, image.width)
        tall = tags.get(_TILE_HEIGHT) or min(tags.get(_ROWS_PER_STRIP, image.height), image.height)
        samples = 1 if tags.get(_PLANAR) == 2 else tags.get(_SAMPLES_PER_PIXEL, 1)
        return wide * tall * depth * samples / 8
    if kind in ("JPEG", "MPO") and image.info.get("progressive"):
        # All coefficients are held, 16 bits each, of which a colour that is stored at half the size has a quarter.
        parts = [horizontal * vertical for _, horizontal, vertical, _ in image.layer]
        return 2 * sum(parts) / max(parts) * pixels
    if kind == "JPEG2000":
        return _DECODER[kind] * min(_tile_of_jpeg_2000(head) or pixels, pixels)
    return _DECODER.get(kind, 0.0) * pixels


def _tile_of_jpeg_2000(head: bytes) -> int | None:
    """Pixels of a tile (ISO/IEC 15444-1, A.5.1: XTsiz and YTsiz of the marker SIZ); None where it is not in sight."""
    at = head.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 32 > len(head):
        return None
    return int.from_bytes(head[at + 24 : at + 28], "big") * int.from_bytes(head[at + 28 : at + 32], "big")
