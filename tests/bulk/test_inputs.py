"""What can be named, what wins, what is said when it is nothing; streams are never collected."""

import io
import json
import os
import subprocess
import sys
import tarfile

import pyarrow
import pytest
from datasets import Dataset, DatasetDict, Image
from PIL import Image as Pillow
from pyarrow import parquet

from artquant_plugin.bulk.images import image_of
from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.bulk.manifests import ImageColumns
from artquant_plugin.bulk.output_file import score_to_file
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.data.images import open_image
from tests.bulk.engines import Brightness
from tests.paths import ROOT


def png(value: int) -> bytes:
    return encoded(Pillow.new("RGB", (4, 4), (value,) * 3))


def encoded(picture: Pillow.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def names(inputs) -> list[str]:
    return [item.name for item in inputs.images()]


def brightness(inputs) -> list[int]:
    return [open_image(image_of(item)).getpixel((0, 0))[0] for item in inputs.images()]


def test_folders_are_read_in_order_and_hidden_files_are_not(paintings):
    (paintings / ".trash").mkdir()
    (paintings / ".trash" / "x.png").write_bytes(png(1))
    (paintings / "notes.txt").write_text("none")
    inputs = find_inputs([str(paintings)])
    assert brightness(inputs) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert inputs.count() == 10


def test_arguments_keep_their_order(paintings):
    late, early = paintings / "late", paintings / "early" / "2.png"
    assert brightness(find_inputs([str(late), str(early), str(early)])) == [40, 50, 60, 70, 80, 90, 20, 20]


def test_a_file_of_any_suffix_that_was_named_is_tried(tmp_path):
    (tmp_path / "photo.dat").write_bytes(png(7))
    assert brightness(find_inputs([str(tmp_path / "photo.dat")])) == [7]


@pytest.fixture
def manifests(paintings):
    rows = [{"image": f"early/{i}.png", "key": f"k{i}"} for i in (3, 1)]
    (paintings / "m.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    (paintings / "m.csv").write_text("\ufeffkey,image\nk3,early/3.png\nk1,early/1.png\n")
    parquet.write_table(pyarrow.Table.from_pylist(rows), paintings / "m.parquet")
    return paintings


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "m.parquet"])
def test_tables_name_images_relative_to_themselves(manifests, name):
    inputs = find_inputs([str(manifests / name)])
    assert brightness(inputs) == [30, 10]
    assert names(inputs) == ["early/3.png", "early/1.png"]
    assert names(find_inputs([str(manifests / name)], columns=ImageColumns(name="key"))) == ["k3", "k1"]
    assert inputs.count() == 2


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "m.parquet"])
def test_a_table_without_the_column_names_those_it_has(manifests, name):
    with pytest.raises(
        ArtQuantError, match=r"has no column 'picture', only .*(image, key|key, image).*; pass --image"
    ):
        next(find_inputs([str(manifests / name)], columns=ImageColumns(image="picture")).images())


def test_images_may_be_elsewhere(manifests, tmp_path):
    (tmp_path / "m.csv").write_text("image\nearly/2.png\n")
    assert brightness(find_inputs([str(tmp_path / "m.csv")], columns=ImageColumns(root=str(manifests)))) == [20]


def test_lines_that_are_no_rows_are_named(tmp_path):
    for content, message in (
        ("{", "m.jsonl:1: not JSON that can be read"),
        ("[]", "m.jsonl:1: list instead of an object"),
    ):
        (tmp_path / "m.jsonl").write_text(content)
        with pytest.raises(ArtQuantError, match=message):
            next(find_inputs([str(tmp_path / "m.jsonl")]).images())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,artist\nMonet, 1890.jpg,Monet\n", "m.csv:2: 3 fields for 2 columns; put a field that holds ','"),
        ("image,artist,image\na.jpg,Monet,b.jpg\n", "m.csv' has 2 columns 'image'; rename all but one"),
    ],
)
def test_a_table_that_could_be_read_in_two_ways_is_refused(content, message, tmp_path):
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(ArtQuantError, match=message):
        list(find_inputs([str(tmp_path / "m.csv")]).images())


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("~nosuchuser/x.png", "begins with the home folder of 'nosuchuser', who is no user here; write './~nosuch"),
        ({"bytes": "abc"}, "m.jsonl:1 holds str in its field 'bytes', not the bytes of a picture; mend the row"),
        ({"bytes": 5}, "holds int in its field 'bytes'"),
        ({"bytes": [1, 2], "path": 7}, "holds list in its field 'bytes'"),
        ({"path": 7}, "is int, not a path or bytes"),
        ({}, "is NoneType, not a path"),
        ("http://host.org/a.png", "'http://host.org/a.png' is an address, and addresses in tables are not fetched"),
        ({"path": "https://host.org/a.png", "bytes": None}, "is an address"),
        ([], "is list, not a path"),
        (True, "is bool, not a path"),
    ],
)
def test_a_cell_that_is_no_picture_is_that_rows_reason(cell, message, tmp_path):
    (tmp_path / "m.jsonl").write_text(json.dumps({"image": cell}) + "\n" + json.dumps({"image": "a.png"}) + "\n")
    (tmp_path / "a.png").write_bytes(png(1))
    inputs = find_inputs([str(tmp_path / "m.jsonl")])
    assert inputs.identity() and inputs.count() == 2
    first, second = inputs.images()
    with pytest.raises(ArtQuantError, match=message):
        image_of(first)
    assert isinstance(first.name, str)
    assert open_image(image_of(second)).getpixel((0, 0))[0] == 1


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 300 + ".png", "\ud800.png", "a\nb.png", "x/" * 3000 + "a.png"])
def test_a_path_that_no_file_can_have_is_that_rows_reason(name, tmp_path):
    (tmp_path / "m.jsonl").write_text(json.dumps({"image": name}) + "\n" + json.dumps({"image": "a.png"}) + "\n")
    (tmp_path / "a.png").write_bytes(png(1))
    for form in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"s.{form}"
        summary = score_to_file(find_inputs([str(tmp_path / "m.jsonl")]), Brightness(), out, show=False)
        assert (summary.rows, summary.failed) == (2, 1)


@pytest.mark.parametrize("embedded", [True, False])
def test_a_parquet_file_with_flipped_bytes_ends_in_rows_or_one_line(embedded, tmp_path):
    path = tmp_path / "m.parquet"
    images = [{"bytes": png(i), "path": f"{i}.png"} if embedded else f"{i}.png" for i in range(100)]
    parquet.write_table(pyarrow.Table.from_pylist([{"image": image} for image in images]), path)
    whole, said = path.read_bytes(), set()
    for place in range(4, len(whole) - 4, max(len(whole) // 150, 1)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        inputs = find_inputs([str(path)])
        try:
            inputs.count()
            said |= {str(image.content)[:20] for image in inputs.images() if isinstance(image.content, ArtQuantError)}
        except ArtQuantError as error:
            assert "\n" not in str(error)
            said.add(str(error).partition("' ")[2][:24])
    assert "is no whole Parquet file" in said


def test_a_parquet_file_with_a_column_twice_is_one_line(tmp_path):
    table = pyarrow.Table.from_arrays([pyarrow.array(["a.png"]), pyarrow.array(["b.png"])], names=["image", "image"])
    parquet.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(ArtQuantError, match="m.parquet' has 2 columns 'image'; rename all but one"):
        find_inputs([str(tmp_path / "m.parquet")]).identity()


@pytest.mark.parametrize("name", ["m.json", "m.jsonl"])
def test_json_nested_a_million_deep_is_one_line(name, tmp_path):
    (tmp_path / name).write_text('{"image": ' + "[" * 1_000_000 + "]" * 1_000_000 + "}")
    with pytest.raises(ArtQuantError, match=f"{name}:1: not JSON that can be read"):
        find_inputs([str(tmp_path / name)]).identity()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.tsv", "image\tnote\nearly/3.png\tx, y\nearly/1.png\t\n"),
        ("m.csv", "image;note\nearly/3.png;x, y\nearly/1.png;\n"),
        ("m.json", '[{"image": "early/3.png"}, {"image": "early/1.png"}]'),
        ("m.txt", "image\nearly/3.png\nearly/1.png\n"),
        ("m.txt", "\ufeffnote,image\r\n,early/3.png\r\n,early/1.png\r\n"),
        ("m.txt", "early/3.png\nearly/1.png\n"),
        ("m.txt", "\r\n  early/3.png\r\n\r\nearly/1.png"),
        ("list", "early/3.png\nearly/1.png\n"),
        ("m.lst", "./early/3.png\n./early/1.png\n"),
    ],
)
def test_a_list_is_read_in_any_form_that_leaves_no_doubt(name, content, paintings):
    (paintings / name).write_text(content, newline="")
    inputs = find_inputs([str(paintings / name)])
    assert inputs.identity() and inputs.count() == 2
    assert brightness(inputs) == [30, 10]


def test_a_path_with_a_comma_is_one_path(paintings):
    (paintings / "Monet, 1890.jpg").write_bytes(png(7))
    (paintings / "m.txt").write_text("Monet, 1890.jpg\nearly/1.png\n")
    assert brightness(find_inputs([str(paintings / "m.txt")])) == [7, 10]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.ods", b"PK\3\4rest", "m.ods' is a workbook, as Excel writes them, not a text table; save it as CSV"),
        ("m.xlsx", b"PK\3\4rest", "m.xlsx' is no whole workbook of Excel"),
        ("m.txt", b"a.jpg,5\nb.jpg,6\n", "neither a header with the column 'image' nor the path of a pic.*'a.jpg,5'"),
        ("m.txt", b"a.jpg\t5\n", "is a text file whose first line is neither"),
        ("README", b"# Pictures\n", "is a text file whose first line is neither"),
        ("m.txt", b"  \n", "is a text file whose first line is neither"),
        ("m.txt", b"a.jpg\nM\xfcnch.jpg\n", "m.txt:2: the line is not UTF-8; save the file as UTF-8"),
        ("m.json", b'["a.jpg", "b.jpg"]', "m.json:1: str instead of an object"),
        ("m.tsv", b"image\tnote\na.jpg\n", "m.tsv:2: 1 fields for 2 columns"),
        ("m.zip", b"PK\3\4rest", "m.zip' is a zip archive, and no picture; extract it"),
        ("m.pdf", b"%PDF-1.7", "m.pdf' is a PDF document, and no picture"),
        ("m.html", b"<html></html>", "m.html' is an HTML page"),
        ("m.npy", b"\x93NUMPY", "m.npy' is a NumPy array"),
        ("m", b"PAR1", "is a Parquet table, and no picture; give the file itself the ending .parquet"),
        ("m.bin", b"\1\2\3", "is a file of an unknown form, and no picture"),
        ("m.db", b"", "is an empty file, and no picture"),
    ],
)
def test_a_file_that_is_neither_picture_nor_list_is_one_line(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtQuantError, match=message) as told:
        find_inputs([str(tmp_path / name)]).identity()
    assert "\n" not in str(told.value)


def test_a_row_without_an_image_is_a_row_with_a_reason(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"image": null}\n{"image": 3}\n{"image": ""}\n')
    for item in find_inputs([str(tmp_path / "m.jsonl")]).images():
        with pytest.raises(ArtQuantError, match="not a path or bytes"):
            image_of(item)


@pytest.mark.parametrize("content", [b"not a table", b""])
def test_what_is_no_parquet_file_is_named(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(ArtQuantError, match=r"x.parquet' is no whole Parquet file"):
        next(find_inputs([str(tmp_path / "x.parquet")]).images())


def archive(path, members):
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def test_archives_give_their_images(tmp_path):
    path = tmp_path / "train-0.tar"
    members = {"a.jpg": png(5), "a.json": b"{}", "a.mask.png": png(9), "b.jpg": b"broken", "./c.jpg": png(6)}
    archive(path, members)
    inputs = find_inputs([str(path)])
    assert names(inputs) == [f"{path}/{name}" for name in ("a.jpg", "a.mask.png", "b.jpg", "./c.jpg")]
    only = find_inputs([str(path)], columns=ImageColumns(image="jpg"))
    assert names(only) == [f"{path}/{name}" for name in ("a.jpg", "b.jpg", "./c.jpg")]
    assert image_of(list(only.images())[1]) == b"broken"


def test_an_archive_that_is_cut_short_is_named(tmp_path):
    path = tmp_path / "x.tar"
    archive(path, {"a.jpg": png(5), "b.jpg": png(6) * 50})
    path.write_bytes(path.read_bytes()[:1800])
    with pytest.raises(ArtQuantError, match=r"x.tar' is broken"):
        list(find_inputs([str(path)]).images())


def test_folders_of_archives_and_tables_give_a_part_each(tmp_path):
    for index in range(3):
        archive(tmp_path / f"{index}.tar", {"a.png": png(index)})
    inputs = find_inputs([str(tmp_path)])
    assert (len(inputs.sources), inputs.file_per_shard, inputs.count()) == (3, True, None)
    assert brightness(inputs) == [0, 1, 2]
    assert not find_inputs([str(tmp_path / "0.tar")]).file_per_shard


def test_tables_with_embedded_images_as_the_datasets_library_writes_them(tmp_path):
    rows = {"picture": [{"bytes": png(3), "path": None}, {"bytes": png(4), "path": "x.png"}], "n": [1, 2]}
    saved = Dataset.from_dict(rows).cast_column("picture", Image())
    saved.to_parquet(str(tmp_path / "t.parquet"))
    inputs = find_inputs([str(tmp_path / "t.parquet")], columns=ImageColumns(image="picture"))
    assert brightness(inputs) == [3, 4]
    assert names(inputs) == [f"{tmp_path}/t.parquet#0", "x.png"]
    assert names(find_inputs([str(tmp_path / "t.parquet")], columns=ImageColumns(image="picture", name="n"))) == [
        "1",
        "2",
    ]


def test_folders_that_the_datasets_library_saved(tmp_path):
    rows = {"image": [{"bytes": png(3), "path": None}, {"bytes": png(4), "path": None}]}
    saved = Dataset.from_dict(rows).cast_column("image", Image())
    DatasetDict(train=saved, test=saved.select([1])).save_to_disk(str(tmp_path / "d"))
    folder = str(tmp_path / "d")
    assert brightness(find_inputs([folder], split="train")) == [3, 4]
    assert brightness(find_inputs([f"{folder}:test"])) == [4]
    assert names(find_inputs([folder], split="test")) == [f"{folder}:test#0"]
    with pytest.raises(ArtQuantError, match="has train, test, and no split is chosen; pass --split"):
        find_inputs([folder])
    with pytest.raises(ArtQuantError, match="has no column 'file', only image"):
        next(find_inputs([folder], split="test", columns=ImageColumns(image="file")).images())


@pytest.fixture
def imported(paintings, tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "home"))
    rows = [Painting(id=str(i), image=f"early/{i}.png", sha256="", score=5) for i in range(4)]
    return write_dataset(
        tmp_path / "home" / "mine",
        name="mine",
        score_range=(0, 10),
        splits={"train": rows[:3], "test": rows[3:]},
        image_root=str(paintings),
        source="here",
        license="none",
    )


def test_imported_datasets_by_name_split_and_folder(imported):
    assert names(find_inputs(["mine"])) == ["early/3.png"]
    assert brightness(find_inputs(["mine:train"])) == [0, 10, 20]
    assert brightness(find_inputs(["mine"], split="train")) == [0, 10, 20]
    assert brightness(find_inputs([str(imported.folder)])) == [30]
    assert find_inputs(["mine:train"]).count() == 3
    with pytest.raises(ArtQuantError, match="has no split 'gold'; it has train, test"):
        find_inputs(["mine:gold"])


def test_a_manifest_of_an_imported_dataset_finds_its_images(imported):
    assert brightness(find_inputs([str(imported.folder / "train.jsonl")])) == [0, 10, 20]


def test_links_to_nothing_are_rows_and_do_not_stop_the_listing(paintings):
    (paintings / "late" / "3.png").symlink_to("gone.png")
    inputs = find_inputs([str(paintings)])
    assert inputs.count() == inputs.identity()[0]["images"] == 11


def test_a_folder_wins_over_a_dataset_of_its_name(imported, paintings, monkeypatch):
    monkeypatch.chdir(paintings)
    (paintings / "mine").mkdir()
    (paintings / "mine" / "x.png").write_bytes(png(77))
    assert brightness(find_inputs(["mine"])) == [77]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "'nothing' is no file, no folder, no dataset under '.*', and no Hub id"),
        ("gone/a.jpg", "'gone/a.jpg' does not exist; mend the path"),
        ("./gone", "'./gone' does not exist"),
        ("empty", "no image is in 'empty' or below it, and no .parquet or .tar; name another folder"),
        ("nope://x/a.png", "'nope://x/a.png' cannot be read"),
    ],
)
def test_what_is_nothing_is_told_with_what_was_tried(name, message, tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtQuantError, match=message):
        find_inputs([name])


def test_locations_are_read_through_fsspec(tmp_path):
    import fsspec

    system = fsspec.filesystem("memory")
    for index in range(2):
        buffer = io.BytesIO()
        archive_rows = [{"image": {"bytes": png(index), "path": None}}]
        parquet.write_table(pyarrow.Table.from_pylist(archive_rows), buffer)
        system.pipe_file(f"/set/{index}.parquet", buffer.getvalue())
    system.pipe_file("/pictures/a.png", png(8))
    inputs = find_inputs(["memory://set/*.parquet"])
    assert (len(inputs.sources), inputs.file_per_shard, inputs.count()) == (2, True, 2)
    assert brightness(inputs) == [0, 1]
    assert brightness(find_inputs(["memory://pictures"])) == [8]
    with pytest.raises(ArtQuantError, match="nothing is at 'memory://gone'"):
        find_inputs(["memory://gone"])


FLAT = """
import json, resource, sys
from artquant_plugin.bulk.inputs import find_inputs
inputs = find_inputs([sys.argv[1]])
next(inputs.images())
inputs.identity(), inputs.count()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(1 for _ in inputs.images())
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([rows, (after - before) // 1024]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "m.parquet"])
def test_200_000_rows_need_no_more_memory_than_one(name, tmp_path):
    path = tmp_path / name
    rows = ({"image": f"{'folder' * 10}/{index:08d}.jpg"} for index in range(200_000))
    if name == "m.jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name == "m.csv":
        path.write_text("image\n" + "".join(row["image"] + "\n" for row in rows))
    else:
        parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    done = subprocess.run(
        [sys.executable, "-c", FLAT, str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    count, mebibytes = json.loads(done.stdout)
    assert count == 200_000
    # Held at once, the 200,000 items would take more than 60 MiB; Parquet keeps one decoded row group.
    assert mebibytes < (40 if name == "m.parquet" else 8)
