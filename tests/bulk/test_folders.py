"""Which files of folders and archives are pictures, what is counted besides; links multiply nothing."""

import io
import os
import tarfile

import pytest
from PIL import Image

from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.bulk.output_file import score_to_file
from artquant_plugin.common.errors import ArtQuantError
from tests.bulk.engines import Brightness
from tests.bulk.test_inputs import archive, names, png

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
JXL = b"\0\0\0\x0cJXL \r\n\x87\n"
PSD = b"8BPS\0\1" + bytes(30)


def jpeg(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (value,) * 3).save(buffer, format="JPEG")
    return buffer.getvalue()


def relative(folder, inputs) -> list[str]:
    return [os.path.relpath(name, folder) for name in names(inputs)]


def test_content_decides_and_not_the_ending(tmp_path):
    for name in ("a.jfif", "b.jpe", "noending", "c.dat", "d.txt", "e.JPG"):
        (tmp_path / name).write_bytes(jpeg(7))
    for name, content in (("f.heic", HEIC), ("g", HEIC), ("h.jxl", JXL), ("i.psd", PSD)):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "more.md").write_text("none")
    (tmp_path / "list.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty").touch()
    inputs = find_inputs([str(tmp_path)])
    expected = "a.jfif b.jpe c.dat d.txt e.JPG empty.png f.heic g h.jxl i.psd noending".split()
    assert relative(tmp_path, inputs) == sorted(expected)
    assert inputs.count() == 11
    assert inputs.passed_over() == "passed over 4: text files 2, empty files 1, Parquet tables 1"
    summary = score_to_file(inputs, Brightness(), tmp_path.parent / f"{tmp_path.name}.jsonl", show=False)
    assert (summary.rows, summary.failed) == (11, 5)  # of HEIC, JPEG XL and Photoshop, and the empty one


def test_what_systems_put_beside_pictures_is_no_painting_and_is_counted(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    for name in ("@eaDir/a.png", "__MACOSX/._a.png", ".thumbnails/a.png", "#recycle/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(png(1))
    for name in ("._a.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_bytes(png(1))
    inputs = find_inputs([str(tmp_path)])
    assert relative(tmp_path, inputs) == ["a.png"]
    said = "hidden files 2, hidden folders 1, the system's own files 1, the system's own folders 3"
    assert sorted(inputs.passed_over().removeprefix("passed over 7: ").split(", ")) == said.split(", ")


def test_links_multiply_no_picture(tmp_path):
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    for name in ("in/sub/a.png", "in/b.png", "elsewhere/deep/c.png", "in/.git/annex/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(1))
    (folder / "0_to_sub").symlink_to("sub")  # stands before the folder that it leads to
    (folder / "sub" / "up").symlink_to("..")
    (folder / "sub" / "above").symlink_to(tmp_path)
    (folder / "sub" / "itself").symlink_to("itself")
    (folder / "best.png").symlink_to("b.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "d.png").symlink_to(".git/annex/d.png")  # as git-annex keeps pictures
    (folder / "one").symlink_to(elsewhere)
    (folder / "two").symlink_to(elsewhere / "deep")
    (folder / "three").symlink_to(elsewhere)
    inputs = find_inputs([str(folder)])
    assert relative(folder, inputs) == ["b.png", "d.png", "gone.png", "one/deep/c.png", "sub/a.png"]
    said = "hidden folders 1, links that lead nowhere 1, links to a folder that was read 2, links within the folder 4"
    assert sorted(inputs.passed_over().partition(": ")[2].split(", ")) == said.split(", ")


def test_a_folder_that_is_a_link_is_read_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(png(1))
    (tmp_path / "real" / "again").symlink_to(tmp_path / "link")
    (tmp_path / "link").symlink_to("real")
    assert relative(tmp_path / "link", find_inputs([str(tmp_path / "link")])) == ["a.png"]


def test_a_pipe_among_pictures_stops_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    os.mkfifo(tmp_path / "b.png")
    os.mkfifo(tmp_path / "c")
    inputs = find_inputs([str(tmp_path)])
    summary = score_to_file(inputs, Brightness(), tmp_path.parent / f"{tmp_path.name}.csv", show=False)
    assert (summary.rows, summary.failed, inputs.passed_over()) == (2, 1, "passed over 1: named pipes 1")
    with pytest.raises(ArtQuantError, match="c' is neither a file nor a folder; name a picture"):
        find_inputs([str(tmp_path / "c")])


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz"])
def test_archives_are_read_by_the_same_rules(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    members = {"a.jfif": jpeg(1), "b": jpeg(2), "c.heic": HEIC, "d.txt": b"none", "e.json": b"{}", "bad.png": b"none"}
    members |= {"__MACOSX/._a.jpg": b"x", "deep/@eaDir/a.png": png(1), "deep/.DS_Store": b"x", ".hidden/a.png": png(1)}
    archive(path, members)
    if ending != "tar":
        packed = tarfile.open(tmp_path / "packed", "w:gz")
        with packed, tarfile.open(path) as plain:
            for member in plain:
                packed.addfile(member, plain.extractfile(member))
        os.replace(tmp_path / "packed", path)
    inputs = find_inputs([str(path)])
    for _ in range(2):  # counted anew each time that the archive is read
        assert names(inputs) == [f"{path}/{name}" for name in ("a.jfif", "b", "c.heic", "bad.png")]
    assert inputs.passed_over() == (
        "passed over 6: hidden files 2, the system's own files 2, text files 1, JSON documents 1"
    )


def test_a_folder_without_pictures_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ArtQuantError, match=r"no image is in .* \(passed over 1: text files 1\), and no .parquet"):
        find_inputs([str(tmp_path)])
