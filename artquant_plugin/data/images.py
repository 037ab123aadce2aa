"""Opening images as a viewer shows them, with every failure named."""

import hashlib
import io
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from artquant_plugin.common.text import one_line
from artquant_plugin.data.picture_files import ImageError

MAX_PIXELS = 200_000_000  # a decoded RGB image of 0.6 GB; the largest scans of museums stay below

Handling = Literal["as_shown", "as_stored"]


def open_image(
    source: Path | str | bytes | Image.Image, *, handling: Handling = "as_shown", max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode an image as a viewer shows it, or as it is stored.

    As shown: EXIF rotation is applied, transparency stands on white, of an animation the first frame is taken, 16-bit
    and floating-point grey values are scaled to 8 bits by their format's range, every colour space becomes RGB.
    As stored: Pillow's plain conversion to RGB, which drops transparency and knows no EXIF rotation; checkpoints of
    the paper's code need it.

    JPEG files are decoded at full size. Decoding at half or a quarter of it ("draft") would save 1-5 ms for 1024
    pixels, but moves pixels by up to 8 of 255 after scaling to 448, and no tolerance of scores covers that.

    Args:
        source: a file, a file's content, or a picture that was opened already, and perhaps not yet decoded.
        handling: ``as_shown`` or ``as_stored``, which differ as the two paragraphs above say.
        max_pixels: width × height beyond which the image is refused from its header, before decoding.

    Returns:
        An RGB image, decoded in full.

    Raises:
        ImageError: missing, no image, broken or cut short, or too large.
    """
    name = source_name(source)
    try:
        with _our_rules(), _readable(source) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise _too_large(name, f"{width} x {height}", max_pixels)
            image.load()
            return _as_rgb(image, handling)
    except FileNotFoundError as error:
        raise ImageError(f"image {name} does not exist; mend the path or the image folder", "missing") from error
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))  # Pillow names their number and no sides
        raise _too_large(name, f"{int(pixels[0]):,}" if pixels else "too many", max_pixels) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is no image that Pillow knows; replace it with a JPEG, PNG or WebP", "not_an_image"
        ) from error
    except IsADirectoryError as error:
        raise ImageError(f"{name} is a folder, not an image; name a file", "not_an_image") from error
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        detail = one_line(error)
        what = name if isinstance(source, Image.Image) else f"image {name}"
        raise ImageError(f"{what} is broken ({detail}); fetch it again", "broken") from error


def source_name(source: Path | str | bytes | Image.Image) -> str:
    """What messages call an image: its path in quotes, or what is known of one that has none."""
    if isinstance(source, Image.Image):
        return "a picture"
    return f"'<{len(source):,} bytes>'" if isinstance(source, bytes) else f"'{source}'"


def header_size(source: Path | str | bytes | Image.Image) -> tuple[int, int]:
    """Width and height as stored, from the header alone; (0, 0) where it cannot be read.

    Whoever decodes the image says what is wrong with it.
    """
    try:
        with _our_rules(), _readable(source) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return 0, 0


def _readable(source: Path | str | bytes | Image.Image) -> AbstractContextManager[Image.Image]:
    if isinstance(source, Image.Image):
        return nullcontext(source)  # whoever opened it closes it
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else Path(source))


_rules_lock = threading.Lock()
_decoding = 0
_rules_before: tuple[bool, int | None] = (False, None)


@contextmanager
def _our_rules() -> Iterator[None]:
    """Have Pillow refuse images that end early, and no image for its size that is within our limit.

    Other libraries have it fill cut images with grey (lmms-eval 0.7.3: lmms_eval/api/task.py), and its own limit is
    lower than ours. The switches are the process's own: they are put back when the last of the threads that decode is
    through.
    """
    global _decoding, _rules_before
    with _rules_lock:
        if not _decoding:
            _rules_before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, MAX_PIXELS
        _decoding += 1
    try:
        yield
    finally:
        with _rules_lock:
            _decoding -= 1
            if not _decoding:
                ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = _rules_before


def after_fork() -> None:
    """Make the lock anew in a process that was forked while another thread decoded."""
    global _rules_lock, _decoding
    _rules_lock, _decoding = threading.Lock(), 0


def _too_large(name: str, size: str, max_pixels: int) -> ImageError:
    return ImageError(f"image {name} has {size} pixels, more than {max_pixels:,}; scale it down first", "too_large")


def _as_rgb(image: Image.Image, handling: Handling) -> Image.Image:
    if handling == "as_stored":
        return image.convert("RGB")
    rotated = ImageOps.exif_transpose(image)
    if rotated.mode in ("I", "F") or rotated.mode.startswith("I;16"):
        return _eight_bits(rotated)
    if rotated.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in rotated.info:
        layer = rotated.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return rotated.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of 16 or 32 bits or floats, scaled by the range that their values imply."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode == "F":
        top = 1.0 if values.max(initial=0.0) <= 1.0 else 255.0 if values.max(initial=0.0) <= 255.0 else 65535.0
    else:
        top = 65535.0 if values.max(initial=0.0) <= 65535.0 else float(2**31 - 1)
    grey = np.rint(values.clip(0, top) / top * 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve_inside(root: Path, name: str) -> Path:
    """The path of a file that annotations name relative to an image folder.

    Symbolic links inside the folder are the owner's own and are followed; a name that climbs out is not.

    Args:
        root: the folder that the image has to be in.
        name: relative path with forward slashes.

    Raises:
        ImageError: the name is absolute, empty or leaves the folder.
    """
    parts = PurePosixPath(name)
    climbs = not name or parts.is_absolute() or ".." in parts.parts or PureWindowsPath(name).drive or "\\" in name
    if climbs or "\0" in name:
        raise ImageError(
            f"image path {name!r} leaves the image folder '{root}'; paths must be relative to it and without '..'",
            "outside_folder",
        )
    return root / parts
