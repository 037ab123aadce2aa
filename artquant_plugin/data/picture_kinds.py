"""What a file is by its first bytes: a picture, which program's picture, or something else, whatever its ending says.

Only raster formats that Pillow decodes within this process are opened. EPS and PostScript are left out because Pillow
hands them to Ghostscript, and so are formats in which nobody keeps paintings, as each decoder can be attacked.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

HEAD_BYTES = 4096  # bytes from a file's beginning that `kind_of` wants; fewer are enough for most kinds


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file, and what can be done with it.

    Args:
        name: what messages call one such file, with its article, such as ``a PNG picture``.
        plural: what counts call several of them, such as ``PNG pictures``.
        picture: whether it is a picture that a person could look at, be it one that can be opened here or not.
        formats: names of Pillow's formats that open it; none for a file that is not opened.
        remedy: what the user can do about a file that is not opened; empty where nothing particular is known.
        package: the package on PyPI whose module has to be installed for it; empty where Pillow alone suffices.
        module: the module of that package that makes Pillow open such files; empty without a package.
        register: the function of that module that does so; empty where importing the module is enough.
    """

    name: str
    plural: str
    picture: bool = False
    formats: tuple[str, ...] = ()
    remedy: str = ""
    package: str = ""
    module: str = ""
    register: str = ""

    @property
    def can_be_opened(self) -> bool:
        """Whether `artquant_plugin.data.images.open_image` opens such files with the packages that are installed."""
        return bool(self.formats) and (not self.module or find_spec(self.module) is not None)


def kind_of(head: bytes) -> FileKind:
    r"""The kind of a file.

    Args:
        head: the file's first bytes, `HEAD_BYTES` of them or all that it has.

    Returns:
        The kind; `UNKNOWN` where no kind is recognised.

    Example:
        >>> kind_of(b"\x89PNG\r\n\x1a\n").name
        'a PNG picture'
        >>> kind_of(b"<!DOCTYPE html>").picture
        False
    """
    return next((kind for recognises, kind in _KINDS if recognises(head)), UNKNOWN)


def _picture(format_name: str, *formats: str, package: str = "", module: str = "", register: str = "") -> FileKind:
    """A picture that is opened, by a package beside Pillow where one is named."""
    article = "an" if format_name[0] == "A" else "a"
    remedy = f"it needs a package that is not installed: pip install {package}" if package else ""
    return FileKind(
        f"{article} {format_name} picture",
        f"{format_name} pictures",
        True,
        formats,
        remedy,
        package,
        module,
        register,
    )


def _closed_picture(format_name: str, remedy: str = "save it as PNG or JPEG") -> FileKind:
    """A picture that is not opened."""
    article = "an" if format_name.startswith(("E", "S", "i")) else "a"  # as one says EXR, SVG, icon
    return FileKind(f"{article} {format_name} picture", f"{format_name} pictures", True, remedy=remedy)


_DEVELOP = "develop it, and save it as JPEG, PNG or TIFF"
_EXTRACT = "extract it, and name the folder"
_AGAIN = "fetch the picture again"

UNKNOWN = FileKind("a file of an unknown form", "files of unknown forms", remedy="save it as JPEG, PNG or WebP")
EMPTY = FileKind("an empty file", "empty files", remedy="fetch it again")
# What a broken download leaves of a picture, at least two bytes. A text begins in another way.
FRAGMENT = FileKind("the first bytes of a picture", "first bytes of pictures", remedy="fetch it again")
TEXT = FileKind("a text file", "text files", remedy="replace it with the picture")

Test = Callable[[bytes], bool]


def _begins(*prefixes: bytes) -> Test:
    return lambda head: head.startswith(prefixes)


def _matches(pattern: bytes) -> Test:
    compiled = re.compile(pattern, re.DOTALL | re.IGNORECASE)
    return lambda head: compiled.match(head) is not None


def _brand(*brands: bytes) -> Test:
    """An ISO media file (HEIF, AVIF, video) one of whose brands, the main one first, is among these."""

    def recognises(head: bytes) -> bool:
        if head[4:8] != b"ftyp":
            return False
        size = min(int.from_bytes(head[:4], "big"), len(head))
        others = [head[at : at + 4] for at in range(16, size - 3, 4)]
        return any(brand in brands for brand in (head[8:12], *others))

    return recognises


def _raw_in_tiff(head: bytes) -> bool:
    """The raw data of a camera in the form of a TIFF file: the picture that Pillow would show is a thumbnail.

    Known by DNG's version, or by a first directory that calls itself the reduced one and points to others.
    """
    if head[:4] not in (b"II*\0", b"MM\0*"):
        return False
    if head[8:10] == b"CR":
        return True
    order = "<" if head[:2] == b"II" else ">"
    start = struct.unpack_from(f"{order}I", head.ljust(8, b"\0"), 4)[0]
    if start + 2 > len(head):
        return False
    count = struct.unpack_from(f"{order}H", head, start)[0]
    tags = {}
    for at in range(start + 2, min(start + 2 + 12 * count, len(head) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}HH", head, at)
        tags[tag] = struct.unpack_from(f"{order}H" if kind == 3 else f"{order}I", head, at + 8)[0]
    dng_version, subfile_type, directories = 0xC612, 0x00FE, 0x014A
    return dng_version in tags or (bool(tags.get(subfile_type, 0) & 1) and directories in tags)


def _bitmap(head: bytes) -> bool:
    """A BMP file, told from a text that begins with "BM" by the size of its second header."""
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)


_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def _text(head: bytes) -> bool:
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or not _CONTROL.search(head)


def _begins_text(pattern: bytes) -> Test:
    """A text that begins with the pattern, behind a byte order mark and white space."""
    matches = _matches(rb"(?:\xef\xbb\xbf)?\s*" + pattern)
    return lambda head: matches(head) and _text(head)


# The first kind that recognises a file is its kind: special ones stand before those that they are a case of.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_KINDS: tuple[tuple[Test, FileKind], ...] = (
    (lambda head: not head, EMPTY),
    (lambda head: len(head) > 1 and any(whole != head and whole.startswith(head) for whole in _SIGNATURES), FRAGMENT),
    # Pictures that are opened. MPO is a JPEG file with further pictures behind the first one.
    (_begins(b"\xff\xd8\xff"), _picture("JPEG", "JPEG", "MPO")),
    (_begins(b"\x89PNG\r\n\x1a\n"), _picture("PNG", "PNG")),
    (_matches(rb"RIFF....WEBP"), _picture("WebP", "WEBP")),
    (_begins(b"GIF87a", b"GIF89a"), _picture("GIF", "GIF")),
    (_bitmap, _picture("BMP", "BMP")),
    (_raw_in_tiff, _closed_picture("camera's raw", _DEVELOP)),
    (_begins(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _picture("TIFF", "TIFF")),
    (_brand(b"avif", b"avis"), _picture("AVIF", "AVIF")),
    (_begins(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), _picture("JPEG 2000", "JPEG2000")),
    (_matches(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d"), _picture("PPM", "PPM")),
    (
        _brand(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        _picture("HEIC", "HEIF", package="pillow-heif", module="pillow_heif", register="register_heif_opener"),
    ),
    (
        _begins(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
        _picture("JPEG XL", "JXL", package="pillow-jxl-plugin", module="pillow_jxl"),
    ),
    # Pictures that are not opened.
    (
        lambda head: _brand(b"crx ")(head) or _begins(b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR")(head),
        _closed_picture("camera's raw", _DEVELOP),
    ),
    (_begins(b"8BPS\0"), _closed_picture("Photoshop")),
    (_begins(b"gimp xcf"), _closed_picture("GIMP")),
    (_begins(b"%!PS", b"\xc5\xd0\xd3\xc6", b"\x04%!PS"), _closed_picture("PostScript (EPS)")),
    (_matches(rb"\0\0[\1\2]\0[^\0]\0"), _closed_picture("icon")),
    (_begins(b"DDS \x7c\0\0\0"), _closed_picture("DDS")),
    (_begins(b"\x76\x2f\x31\x01"), _closed_picture("EXR")),
    (_begins(b"#?RADIANCE", b"#?RGBE"), _closed_picture("Radiance HDR")),
    (_begins(b"qoif"), _closed_picture("QOI")),
    (_matches(rb"\x0a[\0-\x05][\0\x01][\x01\x02\x04\x08]"), _closed_picture("PCX")),
    (_matches(rb"\x01\xda[\0\x01][\x01\x02]"), _closed_picture("SGI")),
    (_begins(b"SIMPLE  ="), _closed_picture("FITS")),
    (lambda head: head[128:132] == b"DICM", _closed_picture("DICOM")),
    (
        lambda head: _begins(b"\xd7\xcd\xc6\x9a")(head) or head[40:44] == b" EMF",
        _closed_picture("Windows metafile (vector)"),
    ),
    (
        _begins_text(rb"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!DOCTYPE svg[^>]*>\s*)?<svg\b"),
        _closed_picture("SVG (vector)", "render it, and save it as PNG"),
    ),
    # What stands in the place of a picture.
    (
        _begins(b"version https://git-lfs.github.com/", b"version https://hawser.github.com/"),
        FileKind("a Git LFS pointer", "Git LFS pointers", remedy="fetch the picture itself with `git lfs pull`"),
    ),
    (
        _matches(rb"[^\n]{0,300}annex/objects/"),
        FileKind("a git-annex pointer", "git-annex pointers", remedy="fetch the picture itself with `git annex get`"),
    ),
    (
        _begins_text(rb"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!DOCTYPE html|html|head|body|meta|title|script)\b"),
        FileKind("an HTML page, as servers send in place of a picture", "HTML pages", remedy=_AGAIN),
    ),
    (
        _begins_text(rb"<[?!a-z]"),
        FileKind("an XML document, as servers send in place of a picture", "XML documents", remedy=_AGAIN),
    ),
    (
        _begins_text(rb"""(?:\{\s*(?:"|\}|$)|\[\s*(?:["\[{\]\d-]|$))"""),
        FileKind("a JSON document", "JSON documents", remedy="replace it with the picture"),
    ),
    (
        _begins_text(rb"(?:data:image/|/9j/4|iVBORw0KGgo)"),
        FileKind("a picture written as text (base64)", "pictures written as text", remedy="decode it into a file"),
    ),
    # Files of other uses.
    (_begins(b"%PDF-"), FileKind("a PDF document", "PDF documents", remedy="save its page as PNG or JPEG")),
    (_begins(b"\x1f\x8b"), FileKind("a gzip archive", "gzip archives", remedy=_EXTRACT)),
    (_begins(b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"), FileKind("a zip archive", "zip archives", remedy=_EXTRACT)),
    (
        lambda head: (
            _begins(b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")(head)
            or _matches(rb"BZh[1-9]1AY&SY")(head)
            or head[257:262] == b"ustar"
        ),
        FileKind("an archive", "archives", remedy=_EXTRACT),
    ),
    (
        _begins(b"PAR1"),
        FileKind("a Parquet table", "Parquet tables", remedy="give the file itself the ending .parquet"),
    ),
    (_begins(b"SQLite format 3\0"), FileKind("an SQLite database", "SQLite databases", remedy=_AGAIN)),
    (_begins(b"\x93NUMPY"), FileKind("a NumPy array", "NumPy arrays", remedy="save it as PNG")),
    (
        lambda head: (
            head[4:8] in (b"ftyp", b"moov", b"mdat")
            or _begins(
                b"\x1aE\xdf\xa3",
                b"OggS\0",
                b"ID3\2",
                b"ID3\3",
                b"ID3\4",
                b"fLaC\0",
                b"\0\0\1\xba",
                b"\0\0\1\xb3",
                b"FLV\1",
            )(head)
            or _matches(rb"RIFF....(?:AVI |WAVE)")(head)
        ),
        FileKind("a video or sound file", "video and sound files", remedy="replace it with a picture"),
    ),
    (
        _begins(b"\0\5\x16\7", b"\0\5\x16\0"),
        FileKind("a macOS resource file (AppleDouble)", "macOS resource files", remedy="use the picture beside it"),
    ),
    (
        _begins(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        FileKind("an Office document or thumbnail database", "Office files", remedy="replace it with the picture"),
    ),
    (
        _matches(rb"\0+\Z"),
        FileKind(
            "a file of zero bytes, as a broken download leaves it", "files of zero bytes", remedy="fetch it again"
        ),
    ),
    (_text, TEXT),
    (_matches(rb".[\0\x01][\x01-\x03\x09-\x0b].{13}[\x08\x0f\x10\x18\x20][\0-\x3f]"), _closed_picture("TGA")),
)

OPENED = tuple(kind for _, kind in _KINDS if kind.formats)  # the kinds that are pictures and are opened


def is_cut_short(kind: FileKind, head: bytes, tail: bytes, size: int) -> bool:
    """Whether a picture's file ends before the picture does, as far as its form tells.

    Args:
        kind: what `kind_of` says of the file.
        head: its first bytes, at least 8 of them.
        tail: its last bytes, some hundred of them.
        size: the number of bytes that the file has.
    """
    if "JPEG" in kind.formats:
        return b"\xff\xd9" not in tail
    if "PNG" in kind.formats:
        return b"IEND" not in tail
    if "GIF" in kind.formats:
        return not tail.rstrip(b"\0").endswith(b";")
    if "WEBP" in kind.formats:
        return size < int.from_bytes(head[4:8], "little") + 8
    return "BMP" in kind.formats and size < int.from_bytes(head[2:6], "little")
