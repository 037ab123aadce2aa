import io
import os
import resource
import socket
import struct
from pathlib import Path

import pytest
from PIL import Image

from artquant_plugin.common.errors import MachineError
from artquant_plugin.data.picture_files import (
    DEVICE,
    FIFO,
    FOLDER,
    NOTHING,
    SOCKET,
    ImageError,
    file_kind,
    open_picture_file,
)
from artquant_plugin.data.picture_kinds import EMPTY, TEXT, UNKNOWN, kind_of


def encoded(format_name: str, mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (16, 16)).save(buffer, format_name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"])
def test_what_pillow_writes_is_opened_as_the_format_that_it_is(format_name):
    kind = kind_of(encoded(format_name)[:4096])
    assert kind.picture and kind.can_be_opened
    with Image.open(io.BytesIO(encoded(format_name)), formats=kind.formats) as image:
        assert image.format == format_name


def test_several_pictures_in_one_jpeg_file_are_opened():
    other = Image.new("RGB", (16, 16), "red")
    kind = kind_of(encoded("MPO", save_all=True, append_images=[other]))
    assert "MPO" in kind.formats and kind.can_be_opened


@pytest.mark.parametrize("format_name", ["EPS", "TGA", "ICO", "PCX", "SGI", "DDS", "QOI"])
def test_what_pillow_could_open_and_we_do_not_is_a_picture_that_cannot_be_opened(format_name):
    kind = kind_of(encoded(format_name)[:4096])
    assert kind.picture and not kind.formats and kind.remedy


# The first bytes as the formats' specifications give them.
FIRST_BYTES = {
    "an empty file": b"",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "a git-annex pointer": b"../.git/annex/objects/X1/MD5E-s12--abc.jpg",
    "an HTML page, as servers send in place of a picture": b"\xef\xbb\xbf\n <!DOCTYPE html><body>404",
    "an XML document, as servers send in place of a picture": b'<?xml version="1.0"?><Error><Code>AccessDenied',
    "an SVG (vector) picture": b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg">',
    "a JSON document": b'{"message": "Not Found"}',
    "a picture written as text (base64)": b"data:image/png;base64,iVBORw0KGgo",
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3",
    "a PostScript (EPS) picture": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "a Photoshop picture": b"8BPS\0\1\0\0",
    "a HEIC picture": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "an AVIF picture": b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf",
    "a JPEG XL picture": b"\xff\x0a\xfa\x1f",
    "a camera's raw picture": b"II*\0\x10\0\0\0CR\2\0",
    "a gzip archive": b"\x1f\x8b\x08\0",
    "a zip archive": b"PK\3\4\x14\0",
    "an archive": b"7z\xbc\xaf\x27\x1c",
    "a Parquet table": b"PAR1\x15\x04",
    "a video or sound file": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2",
    "a macOS resource file (AppleDouble)": b"\0\5\x16\7\0\2\0\0",
    "an Office document or thumbnail database": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "a file of zero bytes, as a broken download leaves it": bytes(4096),
    "a text file": "Königlich, aber kein Bild\n".encode(),
}


@pytest.mark.parametrize("name", FIRST_BYTES)
def test_what_stands_in_the_place_of_a_picture_is_named(name):
    kind = kind_of(FIRST_BYTES[name])
    assert kind.name == name
    assert kind.remedy or kind.can_be_opened


@pytest.mark.parametrize("head", [b"\xff\xd8", b"\x89P", b"\x89PNG\r\n\x1a"])
def test_the_first_bytes_of_a_picture_are_no_text(head):
    assert kind_of(head).name == "the first bytes of a picture"


def test_text_that_begins_as_a_picture_does_stays_text():
    assert kind_of(b"BMW Art Car, 1979, by Andy Warhol") == TEXT
    assert kind_of(b"P1 is the first painting") == TEXT


def test_bytes_of_no_known_form_are_unknown_and_zero_bytes_of_content_are_empty():
    assert kind_of(bytes(range(1, 200))) == UNKNOWN
    assert kind_of(b"") == EMPTY


def directory(order: str, *entries: tuple[int, int, int, int]) -> bytes:
    """The beginning of a TIFF file with one directory of (tag, type, count, value)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    rows = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count)
        + (struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value))
        for tag, kind, count, value in entries
    )
    return head + struct.pack(f"{order}H", len(entries)) + rows


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_raw_picture_in_a_tiff_is_told_from_a_tiff_and_a_thumbnail_is_not_taken_for_the_picture(order):
    width = (0x0100, 3, 1, 160)
    thumbnail, more = (0x00FE, 4, 1, 1), (0x014A, 4, 2, 200)
    assert kind_of(directory(order, width, (0xC612, 1, 4, 0x00000401))).name == "a camera's raw picture"  # DNG
    assert kind_of(directory(order, thumbnail, width, more)).name == "a camera's raw picture"  # NEF
    assert kind_of(directory(order, width, more)).formats == ("TIFF",)  # a pyramid: the first picture is the whole one


def test_a_heic_picture_is_opened_where_its_package_is_installed():
    pytest.importorskip("pillow_heif")
    assert kind_of(FIRST_BYTES["a HEIC picture"]).can_be_opened


def test_what_is_no_file_is_named_and_nothing_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.png"))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    expected = {"pipe.png": FIFO, "socket.png": SOCKET, "folder.png": FOLDER, "link.png": NOTHING}
    for name, kind in expected.items():
        assert file_kind(tmp_path / name) == kind
        with pytest.raises(ImageError):
            open_picture_file(tmp_path / name)
    assert file_kind(Path("/dev/zero")) == DEVICE
    (tmp_path / "a").write_bytes(encoded("PNG"))
    assert file_kind(tmp_path / "a").formats == ("PNG",)


@pytest.mark.parametrize("name", ["a\0b.png", "\ud800.png", "x" * 300 + ".png"])
def test_an_impossible_name_is_that_files_reason(name, tmp_path):
    with pytest.raises(ImageError) as raised:
        open_picture_file(tmp_path / name)
    assert file_kind(tmp_path / name) == NOTHING
    assert raised.value.reason == "missing" and "\n" not in str(raised.value)


def test_too_few_open_files_are_the_machines_fault(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(MachineError, match="cannot be read: Too many open files; raise the limit"):
            open_picture_file(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_disk_that_fails_is_the_machines_fault():
    # The kernel answers a read of this file's first bytes, which no process has in its memory, with EIO.
    with pytest.raises(MachineError, match="Input/output error; look for errors of the disk"):
        file_kind(Path("/proc/self/mem"))
