"""Names in annotations that are spelled in another way than the files: read where one file can be meant."""

import unicodedata
from pathlib import Path

import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import ImageError
from artquant_plugin.data.importers.picture_names import Match, find_pictures, read_match


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "pics"
    (folder / "oil").mkdir(parents=True)
    for name in ("00.jpg", "01.JPG", "02.jpg", "02.png", "oil/a.b.jpg", "Café.jpg", "x", "y.jpg", "Y.jpg"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "file", "told"),
    [
        ("00.jpg", "00.jpg", None),
        ("./00.jpg", "00.jpg", None),
        ("x", "x", None),
        ("y.jpg", "y.jpg", None),
        ("00", "00.jpg", "without an ending"),
        ("00.JPG", "00.jpg", "upper and lower case"),
        ("01", "01.JPG", "without an ending"),
        ("oil/a.b", "oil/a.b.jpg", "without an ending"),
        (unicodedata.normalize("NFD", "Café.jpg"), "Café.jpg", "accents"),
        ("oil\\a.b.jpg", "oil/a.b.jpg", "with backslashes"),
        (".\\00.jpg", "00.jpg", "with backslashes"),
        ("oil\\a.b", "oil/a.b.jpg", "with backslashes"),
        ("C:\\my\\pics\\00.jpg", "00.jpg", "with backslashes"),
        ("\\\\server\\pics\\oil\\a.b.jpg", "oil/a.b.jpg", "with backslashes"),
        ("pics/00.jpg", "00.jpg", "lead to the image folder"),
        ("/home/me/pics/oil/a.b.jpg", "oil/a.b.jpg", "lead to the image folder"),
        ("C:\\my\\pics\\00", "00.jpg", "with backslashes"),
        ("/home/me/pics/oil/A.b", "oil/a.b.jpg", "lead to the image folder"),
        ("pics/00", "00.jpg", "lead to the image folder"),
        ("oil", "oil", None),  # a folder, which opening it says
    ],
)
def test_the_one_file_that_is_meant(root, name, file, told):
    found, notes, _ = find_pictures(root, [name])
    assert found == [file]
    assert [told in note for note in notes] == ([] if told is None else [True])


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        (
            "02",
            "missing",
            "image '02' is not in '.*pics', but 02.jpg, 02.png are; write the whole name of one of them",
        ),
        ("D:\\pics\\02", "missing", "but 02.jpg, 02.png are; write the whole name"),
        ("D:\\pics\\gone", "outside_folder", "is one of a Windows drive"),
        ("y.JPG", "missing", "but Y.jpg, y.jpg are; write the whole name"),
        ("gone.jpg", "missing", "does not exist in '.*pics'; complete the image folder or mend the names"),
        (
            "scans\\00.jpg",
            "missing",
            "whose backslashes were read as in 'scans/00.jpg', does not exist, but '00.jpg' is",
        ),
        ("scans/00.jpg", "missing", "but '00.jpg' is in '.*pics'; remove 'scans' from the names, or put the images"),
        ("no/gone.jpg", "missing", "'.*pics' has no folder 'no'; mend the names or --images"),
        (
            "D:\\art\\00.jpg",
            "outside_folder",
            r"of a Windows drive; '00.jpg' is in the image folder '.*pics': remove 'D:\\\\art\\\\' from the names",
        ),
        ("D:\\art\\01", "outside_folder", "of a Windows drive; '01.JPG' is in the image folder"),
        ("D:\\art\\02", "outside_folder", "of a Windows drive; write paths relative to the image folder"),
        ("..\\pics\\00.jpg", "outside_folder", "without '..'"),
        ("../pics/00.jpg", "outside_folder", "without '..'"),
        ("/etc/passwd", "outside_folder", "leaves the image folder"),
        ("", "outside_folder", "leaves the image folder"),
        ("a\0b", "outside_folder", "leaves the image folder"),
        ("n" * 300 + "/a.jpg", "missing", "has no folder"),
    ],
)
def test_what_cannot_be_told_is_an_error_with_its_cause(root, name, reason, message):
    (found,), notes, _ = find_pictures(root, [name])
    assert isinstance(found, ImageError) and found.reason == reason and not notes
    with pytest.raises(ImageError, match=message):
        raise found


def test_many_names_are_told_in_one_sentence(root):
    found, notes, _ = find_pictures(root, ["00", "gone", "01"])
    assert found[::2] == ["00.jpg", "01.JPG"]
    assert notes == ["2 names without an ending were read as the only file of that name, '00' as '00.jpg' the first"]


@pytest.fixture
def numbered(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("01.jpg", "Plate_007.PNG", "22cropped.jpg", "5.png", "05.gif", "152.jpeg"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "file"),
    [("1.jpg", "01.jpg"), ("plate_7.jpg", "Plate_007.PNG"), ("0152.JPG", "152.jpeg"), ("5.png", "5.png")],
)
def test_names_are_joined_by_their_stem_where_the_user_asks_for_it(numbered, name, file):
    found, notes, joined = find_pictures(numbered, [name], Match(stem=True))
    assert found == [file]
    assert joined == ({} if name == file else {name: file})
    told = "1 names were joined by --match stem with the only file that differs in case, ending and leading zeros"
    assert notes == ([] if name == file else [f"{told}, {name!r} as '{file}' the first"])


@pytest.mark.parametrize(
    ("name", "match", "message"),
    [
        ("1.jpg", Match(), "image '1.jpg' is not in '.*scans', but 01.jpg is; pass --match stem to join them"),
        ("005.jpg", Match(stem=True), "but 05.gif, 5.png are; name the right one in a mapping, --match MAPPING.csv"),
        ("22.jpg", Match(stem=True), "but 22cropped.jpg begins alike; if that is it, name both in a mapping"),
        ("2.jpg", Match(stem=True), "image '2.jpg' does not exist in"),
        ("x.jpg", Match(files={"x.jpg": "gone.jpg"}), "image 'x.jpg' is mapped to 'gone.jpg', which is not in"),
        ("x.jpg", Match(files={"x.jpg": "../../x.jpg"}), "without '..'"),
    ],
)
def test_what_cannot_be_joined_says_how_it_could(numbered, name, match, message):
    (found,), _, joined = find_pictures(numbered, [name], match)
    assert not joined
    with pytest.raises(ImageError, match=message):
        raise found


def test_a_mapping_comes_before_everything_else(numbered, tmp_path):
    table = tmp_path / "map.csv"
    table.write_text("name,file\n22.jpg,22cropped.jpg\n01.jpg,5.png\n")
    match = read_match(["stem", str(table)])
    found, _, joined = find_pictures(numbered, ["22.jpg", "01.jpg", "7.jpg"], match)
    assert found[:2] == ["22cropped.jpg", "5.png"] and isinstance(found[2], ImageError)
    assert joined == {"22.jpg": "22cropped.jpg", "01.jpg": "5.png"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,file\na.jpg,\n", "map.csv:2: file is empty; write it or remove the row"),
        ("name,file\na.jpg,b.jpg\na.jpg,c.jpg\n", "map.csv:3: 'a.jpg' is mapped to 'b.jpg' already; remove one"),
        ("from,to\na.jpg,b.jpg\n", "give a mapping the columns name and file"),
    ],
)
def test_a_faulty_mapping_is_named_by_file_and_line(tmp_path, table, message):
    (tmp_path / "map.csv").write_text(table)
    with pytest.raises(ArtQuantError, match=message):
        read_match([str(tmp_path / "map.csv")])
