"""Room on disks, and datasets."""

import shutil

import pytest

from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.environment import storage


@pytest.mark.parametrize(("little", "full", "state"), [(0, 0, "ok"), (1e30, 0, "note"), (1e30, 1e30, "problem")])
def test_little_room_is_a_note_and_none_is_a_problem(little, full, state, tmp_path):
    (finding,) = storage.check_disk("data", tmp_path / "not" / "made" / "yet", "make room", little=little, full=full)
    assert finding.state == state
    assert f"{shutil.disk_usage(tmp_path).total / 1e9:,.1f} GB" in finding.found
    assert finding.remedy == ("" if state == "ok" else "make room")
    assert not (tmp_path / "not").exists()


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    (tmp_path / "pictures").mkdir()
    write_dataset(
        tmp_path / "baid",
        name="baid",
        score_range=(0, 10),
        splits={"train": [Painting("a", "a.png", "", 5.0)], "test": [Painting("b", "b.png", "", 6.0)]},
        image_root=str(tmp_path / "pictures"),
        source="",
        license="",
    )
    return tmp_path


def by_name():
    return {finding.name: finding for finding in storage.check_datasets()}


def test_datasets_that_are_there_are_counted_and_the_others_have_their_command(data):
    found = by_name()
    assert (found["baid"].state, found["baid"].found) == ("ok", "1 train, 1 test")
    assert found["artquant_demo"].remedy == "artquant data demo"
    assert found["vaps"].state == "note"
    assert found["vaps"].remedy == "artquant data import vaps --annotations FILE_OR_FOLDER --images FOLDER"


def test_pictures_that_are_gone_are_a_problem(data):
    (data / "pictures").rmdir()
    assert by_name()["baid"].state == "problem"
    assert "pictures of baid are gone" in by_name()["baid"].message


def test_a_dataset_that_does_not_load_is_a_problem_with_its_remedy(data):
    (data / "baid" / "test.jsonl").unlink()
    finding = by_name()["baid"]
    assert (finding.state, finding.remedy) == ("problem", "import the dataset again")
    (data / "baid" / "dataset.json").write_text("{}")
    assert by_name()["baid"].remedy == "import the dataset again"
