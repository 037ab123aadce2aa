"""Which datasets are tasks, and which names are taken."""

from pathlib import Path

import pytest

from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset, Painting, write_dataset
from artquant_plugin.data.demo.painting import write_demo
from artquant_plugin.data.importers.importing import Annotations, import_dataset
from artquant_plugin.data.task_names import check_task_name, names_of_lmms_eval, own_datasets, task_of
from tests.tiny import pictures


def dataset(folder: Path, *, name: str | None = None, split: str = "test") -> Dataset:
    return write_dataset(
        folder,
        name=name or folder.name,
        score_range=(0, 10),
        splits={split: [Painting("a", "a.png", "", 5.0)]},
        image_root=".",
        source="",
        license="",
    )


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_names_of_lmms_eval_are_those_that_it_indexes():
    """What regular expressions find in its files, against its own reading of them, which takes seconds."""
    import lmms_eval.models  # noqa: F401  # loads the entry points
    from lmms_eval.tasks import TaskManager

    index = TaskManager.initialize_tasks.__wrapped__(TaskManager(include_defaults=False))
    built_in = {name for name, entry in index.items() if "artquant" not in str(entry["yaml_path"])}
    assert len(built_in) > 1000
    assert not built_in - names_of_lmms_eval()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mmmu_val", "make a task 'mmmu_val', and lmms-eval has one of its own; .*such as 'my_mmmu_val'"),
        ("refcoco_seg", "make a task 'refcoco_seg'"),  # a tag
        ("mmmu", "make a task 'mmmu'"),  # a group
        ("mine_cot", "ends like a task's"),
        ("mine_levels", "ends like a task's"),
        ("mine_describe", "ends like a task's"),
        ("artquant", "the group of the published tasks"),
        ("a,b", "is no plain name"),
        ("a*", "is no plain name"),
    ],
)
def test_a_name_that_is_taken_is_refused(name, said):
    with pytest.raises(ArtQuantError, match=said):
        check_task_name(name)


@pytest.mark.parametrize(
    "name", ["mine", "my-paintings.v2", "vaps-fold1", "rad-baid", "my_mmmu", "baid", "artquant_demo"]
)
def test_other_names_are_free(name):
    check_task_name(name)


def test_a_table_may_stand_in_the_place_of_a_published_dataset(home, tmp_path, capsys):
    pictures_folder, table = tmp_path / "images", tmp_path / "own.csv"
    pictures_folder.mkdir()
    for name, picture in zip("ab", pictures(2), strict=True):
        picture.save(pictures_folder / f"{name}.png")
    table.write_text("image,score,split\na.png,4,test\nb.png,7,test\n")
    options = ["--annotations", table, "--images", pictures_folder, "--score-range", 0, 10, "--split-column", "split"]
    for name, replaces in (("baid", True), ("mine", False)):
        assert main(["data", "import", "csv", *map(str, options), "--name", name]) == 0
        note = "the tasks baid, baid_cot, baid_levels, baid_describe now evaluate these paintings"
        assert (note in capsys.readouterr().out) == replaces
        assert Dataset.load(home / name).info.splits["test"].n == 2


def test_a_taken_name_is_refused_by_every_way_to_write_a_dataset_and_only_where_tasks_look_for_it(home, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    pictures(1)[0].save(images / "a.png")
    annotations = Annotations("baid", (0, 10), {"test": [Painting("a", "a.png", "", 5.0)]}, "", "")
    for out in (home / "mmmu", home / "mine_cot", home / ".." / "data" / "artquant"):
        with pytest.raises(ArtQuantError, match="choose another name"):
            import_dataset(annotations, images, out)
        with pytest.raises(ArtQuantError, match="choose another name"):
            write_demo(out, seed=0, train=0, validation=0, test=1, workers=1)
        assert not out.exists()
    import_dataset(annotations, images, tmp_path / "mmmu")
    import_dataset(annotations, images, home / "baid")
    write_demo(tmp_path / "mine_cot", seed=0, train=0, validation=0, test=1, workers=1)


def test_own_datasets_with_the_reasons_of_those_that_are_no_tasks(home):
    dataset(home / "mine")
    dataset(home / "baid")
    dataset(home / "x_cot")
    dataset(home / "two words")
    dataset(home / "untested", split="train")
    for name, content in {"cut": '{"form_version": 1', "deep": "[" * 100_000, "other": '{"form_version": 99}'}.items():
        (home / name).mkdir()
        (home / name / "dataset.json").write_text(content)
    (home / "nothing").mkdir()
    (home / "a folder" / "dataset.json").mkdir(parents=True)
    (home / "file").write_text("")
    (home / "loop").symlink_to("loop")
    (home / "gone").symlink_to(home / "nowhere")
    (home / "linked").symlink_to(home / "mine")
    found = own_datasets()
    assert {name for name, problem in found.items() if problem is None} == {"mine", "linked"}
    reasons = {name: problem for name, problem in found.items() if problem is not None}
    assert set(reasons) == {"x_cot", "two words", "untested", "cut", "deep", "other"} | ({"loop"} & set(found))
    assert "has no painting in its test split" in reasons["untested"]
    assert "form version 99" in reasons["other"]
    assert "ends like a task's" in reasons["x_cot"]
    assert not any("\n" in problem for problem in reasons.values())


def test_no_data_home_is_no_error(home, monkeypatch):
    assert own_datasets() == {}
    monkeypatch.setenv("ARTQUANT_DATA", __file__)
    assert own_datasets() == {}


def test_the_task_of_a_dataset_is_named_after_its_folder(home, tmp_path):
    assert task_of(dataset(home / "mine", name="artquant_demo")) == "mine"
    assert task_of(dataset(home / "baid")) == "baid"
    assert task_of(dataset(home / "untested", split="train")) is None
    assert task_of(dataset(tmp_path / "mine")) is None
    assert task_of(dataset(tmp_path / "copy", name="baid")) == "baid"
