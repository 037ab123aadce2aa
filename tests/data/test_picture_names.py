"""Names in annotations that are spelled in another way than the files: read where one file can be meant."""

import unicodedata
from pathlib import Path

import pytest

from artquant_plugin.data.images import ImageError
from artquant_plugin.data.importers.picture_names import find_pictures


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
