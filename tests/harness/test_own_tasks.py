"""The user's own datasets as tasks of lmms-eval, through the real `TaskManager`."""

import inspect
import shutil
import warnings

import pytest

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.data.task_names import ENDINGS
from artquant_plugin.harness import plugin
from artquant_plugin.harness.own_tasks import KINDS


def write(folder, split="test"):
    rows = [Painting(f"p{index}", f"{index}.png", "", float(index), comment="calm") for index in range(3)]
    return write_dataset(
        folder,
        name=folder.name,
        score_range=(0, 10),
        splits={split: rows},
        image_root=".",
        source="",
        license="",
    )


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    write(tmp_path / "data" / "my-art.v2")
    broken = tmp_path / "data" / "broken"
    broken.mkdir()
    (broken / "dataset.json").write_text("{")
    return tmp_path / "data"


def manager(**options):
    from lmms_eval.tasks import TaskManager

    plugin.register_tasks()
    return TaskManager(**{"include_defaults": False, **options})


def test_every_kind_of_task_is_there():
    assert tuple(KINDS) == ENDINGS


def test_own_datasets_are_listed_and_broken_ones_hide_nothing(home):
    index = manager()
    assert {f"my-art.v2{ending}" for ending in ENDINGS} <= set(index.all_subtasks)
    assert {"baid", "artquant", "artquant_demo"} <= set(index.all_tasks)
    assert not [name for name in index.all_tasks if name.startswith("broken")]
    table = index.list_all_tasks()
    assert "|my-art.v2_cot" in table and "generate_until" in table.partition("|my-art.v2_cot")[2].partition("\n")[0]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_task_is_that_of_a_published_dataset_but_for_its_data(ending, home):
    write(home / "baid")
    index = manager()
    loaded = index.load_task_or_group([f"my-art.v2{ending}", f"baid{ending}"], "chat")
    own, known = loaded[f"my-art.v2{ending}"], loaded[f"baid{ending}"]
    for key in ("task", "dataset_kwargs", "process_docs"):
        assert getattr(own.config, key) != getattr(known.config, key)
    ours, theirs = own.config.to_dict(), known.config.to_dict()
    same = set(theirs) - {"task", "dataset_kwargs", "process_docs"}
    assert {key: str(ours[key]) for key in same} == {key: str(theirs[key]) for key in same}
    assert own.config.dataset_kwargs["data_files"]["test"] == str(home / "my-art.v2" / "dataset.json")
    assert [doc["id"] for doc in own.test_docs()] == ["p0", "p1", "p2"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", r"there is no task 'broken': .*dataset.json' is not of the dataset form"),
        ("broken_levels", r"there is no task 'broken_levels': .* is not of the dataset form"),
        ("nothing", r"no dataset is in '.*/nothing'; .*`artquant data import csv --name nothing --annotations"),
        ("nothing_cot", r"no dataset is in '.*/nothing'; .*`artquant data import csv --name nothing --annotations"),
        ("My-Art.v2_cot", r"no dataset is in '.*/My-Art.v2'; did you mean 'my-art.v2_cot'\? see `lmms-eval --tasks"),
        (" baid", r"there is no task ' baid', since no dataset is in '.*'; see `lmms-eval --tasks list`$"),
        ("untested", r"there is no task 'untested': .* has no painting in its test split"),
    ],
)
def test_a_task_that_is_not_there_says_why(name, said, home):
    write(home / "untested", split="train")
    index = manager()
    for ask in (index.match_tasks, index.load_task_or_group):
        with pytest.raises(ArtQuantError, match=said):
            ask(["my-art.v2", name])


def test_a_file_of_a_task_is_left_to_lmms_eval(home, tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text("task: other\ndataset_path: json\n")
    assert manager().match_tasks([str(path), "my-art.v2"]) == ["my-art.v2"]


def test_a_pattern_takes_what_can_be_evaluated_and_names_the_rest(home):
    index = manager()
    with pytest.warns(ArtQuantWarning, match=r"'b\*n' leaves out dataset 'broken': .* is not of the dataset form"):
        assert index.match_tasks(["my*", "b*n"]) == [f"my-art.v2{ending}" for ending in sorted(ENDINGS)]


def test_a_dataset_that_goes_away_is_missed_before_a_model_is_loaded(home):
    index = manager()
    shutil.rmtree(home / "my-art.v2")
    with pytest.raises(
        ArtQuantError, match=r"dataset 'my-art.v2' is not in .*artquant data import csv --name my-art.v2"
    ):
        index.match_tasks(["my-art.v2"])


def test_a_task_of_somebody_else_goes_before_a_dataset_and_says_so(home, tmp_path):
    other = tmp_path / "tasks"
    other.mkdir()
    (other / "other.yaml").write_text("task: my-art.v2\ndataset_path: json\n")
    index = manager(include_path=str(other))
    with pytest.warns(ArtQuantWarning, match=r"task 'my-art.v2' is that of '.*other.yaml', and not that of dataset"):
        assert index.match_tasks(["my-art.v2"]) == ["my-art.v2"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert index.match_tasks(["my-art.v2_cot"]) == ["my-art.v2_cot"]


def test_lmms_eval_still_asks_one_method_for_configurations(home):
    from lmms_eval.tasks import TaskManager

    assert list(inspect.signature(TaskManager._get_config).parameters) == ["self", "name"]
