"""Opening images as a viewer shows them, with every failure named."""

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.text import one_line
from artquant_plugin.data.colour import ToSRGB, to_srgb
from artquant_plugin.data.image_memory import (
    MEMORY_VARIABLE,
    decoding_bytes,
    memory_limit,
    reduction,
)
from artquant_plugin.data.picture_arrays import array_name, array_picture
from artquant_plugin.data.picture_files import ImageError, open_picture_file, read_head
from artquant_plugin.data.picture_kinds import OPENED, FileKind, is_cut_short, kind_of

# Beyond it, decoding takes seconds whatever the form; the largest scans of museums stay below.
MAX_PIXELS = 200_000_000
# Pictures that take more are decoded one after the other, whatever the number of threads. In bytes; a picture of 30
# megapixels takes as much.
DECODED_TOGETHER = 2**28

Handling = Literal["as_shown", "as_stored"]
# A file, a file's content, a picture that was opened already, the numbers of one, or the error that says why there is
# none, which is raised in its turn.
ImageSource = Path | str | bytes | Image.Image | np.ndarray | ImageError

_STRIP = 2**20  # pixels that are converted at a time, so that wide numbers exist for a part of a picture only
_TAIL = 1024  # bytes of a broken file's end that are looked at
# Bytes that one text or profile in a PNG may have; Pillow's limit is 1 MiB, and some tools write more.
_TEXT_CHUNK = 2**24
_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(
    source: ImageSource,
    *,
    handling: Handling = "as_shown",
    max_pixels: int = MAX_PIXELS,
    longest_side: int | None = None,
) -> Image.Image:
    """Decode an image as a viewer shows it, or as it is stored.

    As shown: an embedded colour profile, or a PNG file's gAMA and cHRM, is applied, so that the pixels are sRGB; EXIF
    rotation is applied, transparency stands on white, of an animation the first frame is taken, 16-bit and
    floating-point grey values are scaled to 8 bits by their format's range, every colour space becomes RGB.
    As stored: Pillow's plain conversion to RGB, which drops transparency and knows neither profiles nor EXIF rotation;
    checkpoints of the paper's code need it, because they were trained so.

    Pictures are decoded at full size. One of more than `LARGEST_KEPT` pixels is then averaged over squares of pixels,
    so that at most as many are left; a JPEG file of that size is decoded at a half, a quarter or an eighth instead.
    For smaller JPEG files that would save 1-5 ms for 1024 pixels, but would move pixels by up to 8 of 255 after
    scaling to 448, and no tolerance of scores covers that.

    The form of a file is decided by its content, and only the raster formats of
    `artquant_plugin.data.picture_kinds` are decoded.

    Args:
        source: a file, a file's content, a picture that was opened already, and perhaps not yet decoded, an array as
            `array_picture` takes it, or an `ImageError`, which is raised.
        handling: ``as_shown`` or ``as_stored``, which differ as the two paragraphs above say.
        max_pixels: width × height beyond which the image is refused from its header, before decoding.
        longest_side: where the caller makes a small picture of it: the side in pixels that it needs. A JPEG file is
            then decoded at the smallest fraction of its size that has that side, which is faster.

    Returns:
        An RGB image, decoded in full, without anything in its `info`.

    Raises:
        ImageError: missing, no image, broken or cut short, too large, or in need of more memory for decoding than
            `artquant_plugin.data.image_memory.memory_limit` allows. Whatever a decoder raises becomes this error.
        MachineError: the file cannot be read because of this machine: too few open files, no right, a failing disk,
            no memory.
    """
    name = source_name(source)
    try:
        with _our_rules(), _opened(source) as (image, head):
            stored = image.size
            if stored[0] * stored[1] > max_pixels:
                raise _too_large(name, f"{stored[0]} x {stored[1]}", max_pixels)
            _decode_at_a_fraction(image, longest_side)
            with _alone_if_large(_needed_memory(name, image, head, stored)):
                image.load()
                return _as_rgb(image, handling)
    except (ArtQuantError, MachineError):
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))  # Pillow names their number and no sides
        raise _too_large(name, f"{int(pixels[0]):,}" if pixels else "too many", max_pixels) from error
    except Exception as error:  # decoders raise anything for a broken file: it is this picture's reason, not the run's
        raise _reason(error, source, name) from error


def shown_as_stored(source: ImageSource) -> bool:
    """Whether a viewer shows an image as a decoder without knowledge of profiles and rotation gives it.

    Args:
        source: an image that `open_image` opens.
    """
    with _our_rules(), _opened(source) as (image, _):
        return image.mode == "RGB" and _orientation(image) == 1 and to_srgb(image) is None


def source_name(source: ImageSource) -> str:
    """What messages call an image: its path in quotes, or what is known of one that has none."""
    if isinstance(source, ImageError):
        return "a picture that is none"
    if isinstance(source, np.ndarray):
        return array_name(source)
    if isinstance(source, Image.Image):
        return "a picture"
    return f"'<{len(source):,} bytes>'" if isinstance(source, bytes) else f"'{source}'"


def header_size(source: ImageSource) -> tuple[int, int]:
    """Width and height as stored, from the header alone; (0, 0) where it cannot be read.

    Whoever decodes the image says what is wrong with it.

    Raises:
        MachineError: this machine does not let the file be read.
    """
    try:
        with _our_rules(), _opened(source) as (image, _):
            return image.size
    except Exception as error:
        if isinstance(error, MachineError):
            raise
        if is_machine_fault(error):
            raise machine_error(error, f"image {source_name(source)} cannot be read") from error
        return 0, 0


@contextmanager
def _opened(source: ImageSource) -> Iterator[tuple[Any, bytes]]:
    """A picture that is opened and not decoded, and its file's first bytes.

    Raises:
        ImageError: there is no file, or it is no picture of a kind that is opened.
        MachineError: this machine does not let the file be read.
    """
    if isinstance(source, ImageError):
        raise source
    if isinstance(source, np.ndarray):
        yield array_picture(source), b""
        return
    if isinstance(source, Image.Image):  # whoever opened it closes it
        undecoded = bool(getattr(source, "tile", None))
        if undecoded and source.format not in _formats():
            raise ImageError(f"a picture of the format {source.format} is not decoded; save it as PNG", "not_an_image")
        yield source, b""
        return
    name = source_name(source)
    file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else open_picture_file(Path(source))
    with file:
        head = read_head(file, f"image {name}")
        kind = kind_of(head)
        if not _can_decode(kind):
            what = f"is {kind.name}" if kind.picture else f"is no image but {kind.name}"
            raise ImageError(f"{name} {what}; {kind.remedy or 'save it as PNG'}", "not_an_image")
        file.seek(0)
        with Image.open(file, formats=kind.formats) as image:
            yield image, head


def _formats() -> set[str]:
    """The names of Pillow's formats that are decoded."""
    return {name for kind in OPENED for name in kind.formats}


def _can_decode(kind: FileKind) -> bool:
    """Whether Pillow decodes this kind; where a package beside Pillow does that, it is made known to Pillow now."""
    if not kind.can_be_opened:
        return False
    if kind.formats[0] not in Image.OPEN:
        Image.init()
    if kind.formats[0] not in Image.OPEN and kind.module:
        module = import_module(kind.module)
        if kind.register:
            getattr(module, kind.register)()
    return kind.formats[0] in Image.OPEN


def _decode_at_a_fraction(image: Any, longest_side: int | None) -> None:
    """Have a JPEG file decoded at a half, a quarter or an eighth of its size, where that is enough."""
    if image.format not in ("JPEG", "MPO"):
        return
    width, height = image.size
    if longest_side is not None:
        factor = longest_side / max(width, height)
        wanted = round(width * factor), round(height * factor)
        image.draft(image.mode, (max(wanted[0], 1), max(wanted[1], 1)))
    elif (side := reduction(width, height)) > 1:
        side = 1 << (side - 1).bit_length()  # the next power of two, at which the picture is small enough
        image.draft(image.mode, (width // side, height // side))


def _needed_memory(name: str, image: Any, head: bytes, stored: tuple[int, int]) -> int:
    """The bytes that decoding a picture takes.

    Raises:
        ImageError: they are more than the limit.
    """
    needed, limit = decoding_bytes(image, head, stored[0] * stored[1]), memory_limit()
    if needed > limit:
        raise ImageError(
            f"image {name} of {stored[0]} x {stored[1]} pixels takes {needed / 2**30:.2f} GiB to decode as "
            f"{image.format}, more than {limit / 2**30:g}; scale it down, or set {MEMORY_VARIABLE} to more GiB",
            "too_large",
        )
    return needed


@contextmanager
def _alone_if_large(needed: int) -> Iterator[None]:
    """Have a picture that takes much memory decoded while no other such picture is, in the threads of this process."""
    with _large_lock if needed > DECODED_TOGETHER else nullcontext():
        yield


def _too_large(name: str, size: str, max_pixels: int) -> ImageError:
    return ImageError(f"image {name} has {size} pixels, more than {max_pixels:,}; scale it down first", "too_large")


def _reason(error: Exception, source: ImageSource, name: str) -> ImageError | MachineError:
    """What is known of a failure to decode a picture."""
    if is_machine_fault(error) or "out of memory" in str(error):
        if not isinstance(error, OSError) or error.errno is None:
            if _memory_is_left():
                return ImageError(
                    f"image {name} is broken (its decoder asks for more memory than it can need)", "broken"
                )
            error = MemoryError()
        return machine_error(error, f"image {name} cannot be read")
    detail = one_line(error)
    if isinstance(source, Image.Image | np.ndarray | ImageError):
        return ImageError(f"{name} is broken ({detail}); fetch it again", "broken")
    try:
        kind, cut, size = _looked_through(source)
    except OSError as fault:
        return machine_error(fault, f"image {name} cannot be read")
    if cut or "truncated" in detail.lower():
        return ImageError(
            f"image {name} is cut short: the file ends after {size:,} bytes, before its picture does; fetch it again",
            "broken",
        )
    if "libjxl" in detail:  # it advises to build the library anew
        detail = "its decoder finds no picture in it"
    if isinstance(error, UnidentifiedImageError):
        detail = f"its first bytes are those of {kind.name}, and what follows is not"
    return ImageError(f"image {name} is broken ({detail}); fetch it again, or save it again as PNG", "broken")


def _memory_is_left() -> bool:
    """Whether this process still gets as much memory as one picture may take."""
    try:
        bytearray(memory_limit())
    except MemoryError:
        return False
    return True


def _looked_through(source: Path | str | bytes) -> tuple[FileKind, bool, int]:
    """The kind of a broken file, whether it is cut short, and its length in bytes.

    It is read to its end: some decoders call it broken when the disk fails.

    Raises:
        OSError: the disk or the network storage fails.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else open_picture_file(Path(source)) as file:
        head = file.read(_TAIL)
        size, tail = len(head), head
        while part := file.read(2**20):
            size, tail = size + len(part), (tail + part)[-_TAIL:]
    kind = kind_of(head)
    return kind, is_cut_short(kind, head, tail, size), size


_large_lock = threading.Lock()
_rules_lock = threading.Lock()
_decoding = 0
_rules_before: tuple[bool, int | None, int] = (False, None, 0)


@contextmanager
def _our_rules() -> Iterator[None]:
    """Have Pillow refuse images that end early, and no image for its size that is within our limit.

    Other libraries have it fill cut images with grey (lmms-eval 0.7.3: lmms_eval/api/task.py), and its own limits, of
    pixels and of the profile or the texts in a PNG, are lower than ours. The switches are the process's own: they are
    put back when the last of the threads that decode is through.
    """
    global _decoding, _rules_before
    with _rules_lock:
        if not _decoding:
            _rules_before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
            _set_rules(False, MAX_PIXELS, _TEXT_CHUNK)
        _decoding += 1
    try:
        yield
    finally:
        with _rules_lock:
            _decoding -= 1
            if not _decoding:
                _set_rules(*_rules_before)


def _set_rules(truncated: bool, pixels: int | None, text: int) -> None:
    ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = truncated, pixels, text


def after_fork() -> None:
    """Make the locks anew in a process that was forked while another thread decoded."""
    global _large_lock, _rules_lock, _decoding
    _large_lock, _rules_lock, _decoding = threading.Lock(), threading.Lock(), 0


def _as_rgb(image: Image.Image, handling: Handling) -> Image.Image:
    """An RGB image of a decoded one, of at most `LARGEST_KEPT` pixels."""
    shown = handling == "as_shown"
    convert = _Shown(image) if shown else _Stored()
    side = reduction(*image.size)
    if side == 1 and (convert.is_plain or image.width * image.height <= _STRIP):
        rgb = convert(image)
    else:
        rgb = Image.new("RGB", (-(-image.width // side), -(-image.height // side)))
        rows = max(_STRIP // image.width // side, 1) * side
        for top in range(0, image.height, rows):
            strip = convert(image.crop((0, top, image.width, min(top + rows, image.height))))
            rgb.paste(strip.reduce(side) if side > 1 else strip, (0, top // side))
    turn = _TURNS.get(_orientation(image)) if shown else None
    rgb = rgb if turn is None else rgb.transpose(turn)
    rgb.info = {}  # a profile that was applied must not be written into a file that is made of the pixels
    return rgb


def _orientation(image: Image.Image) -> int:
    """How the stored picture is turned, a value of EXIF's tag; 1, not at all, where the EXIF data is broken."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow's reader raises anything for what cameras and tools write; viewers show the picture
        return 1


class _Stored:
    """Converts a picture, or a strip of it, as Pillow does by itself; the result has the mode RGB."""

    is_plain = True

    def __call__(self, part: Image.Image) -> Image.Image:
        return part.convert("RGB")


class _Shown:
    """Converts a picture, or a strip of it, to what a viewer shows, in sRGB.

    Args:
        image: the whole picture, decoded; its profile and its range of values hold for every strip.
    """

    def __init__(self, image: Image.Image) -> None:
        self.colour: ToSRGB | None = to_srgb(image)
        self.wide = image.mode in ("I", "F") or image.mode.startswith("I;16")
        self.top = _top(image) if self.wide else 255.0
        self.transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
        self.is_plain = self.colour is None and not self.wide and not self.transparent

    def __call__(self, part: Image.Image) -> Image.Image:
        """Convert the picture or a strip of it; the result has the mode RGB and the same size."""
        if self.wide:
            return self._coloured(_eight_bits(part, self.top))
        if not self.transparent:
            return self._coloured(part)
        layer = part.convert("RGBA")
        if self.colour is not None:
            opaque = layer.getchannel("R") if self.colour.mode == "L" else layer.convert("RGB")
            alpha = layer.getchannel("A")
            layer = self.colour(opaque)
            layer.putalpha(alpha)
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")

    def _coloured(self, part: Image.Image) -> Image.Image:
        if self.colour is None:
            return part.convert("RGB")
        return self.colour(part if part.mode == self.colour.mode else part.convert(self.colour.mode))


def _top(image: Image.Image) -> float:
    """The value that stands for white, by the range that the values imply."""
    rows = max(_STRIP // image.width, 1)
    parts = (image.crop((0, top, image.width, min(top + rows, image.height))) for top in range(0, image.height, rows))
    largest = max((_values(part).max(initial=0.0) for part in parts), default=0.0)
    if image.mode == "F":
        return 1.0 if largest <= 1.0 else 255.0 if largest <= 255.0 else 65535.0
    return 65535.0 if largest <= 65535.0 else float(2**31 - 1)


def _values(part: Image.Image) -> np.ndarray:
    """The grey values of a picture, which are its brightness: one that is infinite would make all others black."""
    values = np.asarray(part, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinite values")
    return values


def _eight_bits(part: Image.Image, top: float) -> Image.Image:
    """Grey values of 16 or 32 bits or floats, scaled so that `top` is 255; the mode is L."""
    return Image.fromarray(np.rint(_values(part).clip(0, top) / top * 255).astype(np.uint8))


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
