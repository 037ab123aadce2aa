"""Importers of datasets that publish single ratings, on made-up files of the same formats."""

import pytest
from PIL import Image

from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.find import import_command
from artquant_plugin.data.importers.ava import read_ava
from artquant_plugin.data.importers.importing import import_dataset
from artquant_plugin.data.importers.known_datasets import KNOWN_DATASETS
from artquant_plugin.data.importers.lapis import LISTS, read_lapis
from artquant_plugin.data.importers.sidhu import read_sidhu
from tests.paths import shared

LAPIS = (
    "image_id,image_filename,response,participant_id,age,nationality\n"
    "1,Baroque/a.jpg,20,p17,33,Belgian\n"
    "1,Baroque/a.jpg,40,p18,51,French\n"
    "2,Cubism/b.jpg,100,p17,33,Belgian\n"
    "2,Cubism/b.jpg,,p18,51,French\n"
    "2,Cubism/b.jpg,0,p17,33,Belgian\n"
    "3,Cubism/c.jpg,50,p18,51,French\n"
    "4,Cubism/d.jpg,50,p18,51,French\n"
)


def test_ava_counts_votes_from_one_to_ten(tmp_path):
    # Ten people give 9 and ten give 10: the mean is 9.5, the squared deviations are 1/4 each, 20 / 4 / 19 on average.
    (tmp_path / "AVA.txt").write_text(
        "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n2 953958 0 0 0 0 0 0 0 0 10 10 15 21 1396\n"
    )
    annotations = read_ava(tmp_path)
    found = {painting.id: painting for rows in annotations.splits.values() for painting in rows}
    assert found["953958"].score == 9.5
    assert found["953958"].rating_sd == pytest.approx((5 / 19) ** 0.5)
    assert (found["953619"].raters, found["953619"].image) == (124, "953619.jpg")
    # (1·2 + 5·3 + 17·4 + 38·5 + 36·6 + 15·7 + 6·8 + 5·9 + 1·10) / 124
    assert found["953619"].score == pytest.approx(699 / 124)
    assert annotations.ratings["953958"].counts == (0,) * 8 + (10, 10)
    (tmp_path / "AVA.txt").write_text("1 953619 0 1 5 17 38 36 15 6 5 x 1 22 1396\n")
    with pytest.raises(ArtQuantError, match=r"AVA.txt:1: 12 'x' is no number"):
        read_ava(tmp_path / "AVA.txt")


@pytest.fixture
def lapis(tmp_path):
    (tmp_path / "annotation").mkdir()
    (tmp_path / "imageset").mkdir()
    (tmp_path / "annotation" / "LAPIS_individualratings_metaANDdemodata.csv").write_text(LAPIS)
    for split, names in (("train", "a.jpg\n"), ("validation", "c.jpg\n"), ("test", "b.jpg\n")):
        (tmp_path / LISTS[split]).write_text(names)
    return tmp_path


def test_lapis_is_read_in_its_split_and_nothing_personal_is_kept(lapis, tmp_path):
    annotations = read_lapis(lapis)
    rows = {split: [(p.id, p.score, p.category, p.raters) for p in rows] for split, rows in annotations.splits.items()}
    assert rows == {
        "train": [("a.jpg", 30.0, "Baroque", 2)],
        "validation": [("c.jpg", 50.0, "Cubism", 1)],
        "test": [("b.jpg", 100.0, "Cubism", 1)],
    }
    assert annotations.notes == (
        "1 rows without a rating were passed over",
        "1 further ratings of an artwork by the same person were passed over",
        "1 artworks that stand in none of the lists of imageset/ were left out",
    )
    images = tmp_path / "images"
    images.mkdir()
    for name in "abc":
        Image.new("L", (8, 8), ord(name)).save(images / f"{name}.jpg")
    import_dataset(annotations, images, tmp_path / "out")
    written = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert not any(secret in written for secret in ("p17", "p18", "Belgian", "French"))


def test_faulty_files_of_lapis_are_named(lapis):
    with pytest.raises(ArtQuantError, match="is no folder; name the one that holds annotation/LAPIS"):
        read_lapis(lapis / LISTS["test"])
    (lapis / LISTS["test"]).write_text("b.jpg\na.jpg\n")
    with pytest.raises(ArtQuantError, match="TestImageSet.txt:2: 'a.jpg' stands in the list of the train split, too"):
        read_lapis(lapis)
    (lapis / LISTS["test"]).unlink()
    with pytest.raises(ArtQuantError, match="TestImageSet.txt' is absent; unpack the annotations of LAPIS again"):
        read_lapis(lapis)


def test_the_paintings_of_sidhu_find_their_files(tmp_path):
    table = "Rater,Painting,Beauty\n" + "".join(
        f"{rater},{number}.jpg,{(number + rater) % 9 + 1}\n" for rater in (1, 2) for number in (1, 22, 152, 189)
    )
    (tmp_path / "Abstract_All_Raters.csv").write_text(table)
    for name in ("01.jpg", "22cropped.jpg", "152.jpeg", "189croppedtofit.jpg"):
        Image.new("L", (8, 8), len(name)).save(tmp_path / name)
    dataset = import_dataset(read_sidhu(tmp_path), tmp_path, tmp_path / "out").dataset
    assert dataset.info.name == "sidhu_beauty"
    found = {p.id: (p.image, p.score) for split in ("train", "test") for p in dataset.split(split)}
    # Ratings of 1: 3 and 4; of 22: 6 and 7; of 152: 10 % 9 = 1 (153 is 17 · 9) …: ((n + r) mod 9) + 1.
    assert found == {
        "1": ("01.jpg", 3.5),
        "22": ("22cropped.jpg", 6.5),
        "152": ("152.jpeg", 1.5),
        "189": ("189croppedtofit.jpg", 2.5),
    }


def test_the_real_paintings_of_sidhu(tmp_path):
    folder = shared("data/sidhu2018/abstract")
    for rating, raters in (("beauty", 49), ("liking", 43)):
        annotations = read_sidhu(folder, rating=rating)
        imported = import_dataset(annotations, folder / "images", tmp_path / rating, allow_missing=True, workers=1)
        agreement = imported.dataset.info.rater_agreement["all"]
        assert (agreement.paintings, agreement.raters) == (239, raters)


def test_the_list_of_datasets_names_each_importer(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["data", "import", "--list"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [known.name for known in KNOWN_DATASETS]
    for known in KNOWN_DATASETS:
        assert import_command(known.name).startswith(f"artquant data import {known.name} --annotations")
    assert import_command("sidhu_liking").startswith("artquant data import sidhu --annotations")
