"""Registration, and the private behaviour of lmms-eval that it relies on."""

import inspect
import subprocess
import sys

import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.harness import plugin as harness

LIGHT = """
import sys
from artquant_plugin.harness.plugin import model_manifest
import lmms_eval.models.registry_v2
manifests = model_manifest()
assert [manifest.model_id for manifest in manifests] == ["artquant", "pyiqa"], manifests
heavy = {name for name in ("torch", "transformers", "lmms_eval.tasks") if name in sys.modules}
assert not heavy, heavy
"""

LATE = """
import lmms_eval.models                      # loads our entry point before lmms_eval.tasks exists
import lmms_eval.tasks
from lmms_eval.tasks import TaskManager
names = set(TaskManager(include_defaults=False).all_tasks)
assert {"apdd", "baid", "vaps", "artquant", "artquant_demo"} <= names, names
"""

EARLY = """
import lmms_eval.tasks                       # imported before anything of ours
import lmms_eval.models
from lmms_eval.tasks import TaskManager
names = set(TaskManager(include_defaults=False).all_tasks)
assert {"apdd", "baid", "vaps", "artquant"} <= names, names
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [LATE, EARLY], ids=["models-first", "tasks-first"])
def test_tasks_are_known_without_any_option(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_entry_point_brings_no_task_code_with_it():
    """What `lmms_eval.models` itself imports is not ours to answer for; the tasks' modules are."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.replace('"torch", "transformers", ', "")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_registering_twice_indexes_the_folder_once():
    from lmms_eval.tasks import TaskManager

    harness.register_tasks()
    once = TaskManager.initialize_tasks
    harness.register_tasks()
    assert TaskManager.initialize_tasks is once


@pytest.mark.parametrize(("task", "dataset"), [("baid", "baid"), ("artquant", "apdd"), ("va*", "vaps")])
def test_an_absent_dataset_is_missed_before_a_model_is_loaded(task, dataset, tmp_path, monkeypatch):
    """The command line matches names, then loads the model, then loads tasks."""
    from lmms_eval.tasks import TaskManager

    harness.register_tasks()
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    with pytest.raises(ArtQuantError, match=f"artquant data import {dataset} --annotations FILE_OR_FOLDER"):
        TaskManager(include_defaults=False).match_tasks([task])


def test_tasks_whose_data_is_there_and_those_of_others_are_matched(tmp_path, monkeypatch):
    from lmms_eval.tasks import TaskManager

    harness.register_tasks()
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "data"))
    row = Painting("a", "a.png", "", 5.0)
    write_dataset(
        tmp_path / "data" / "baid",
        name="baid",
        score_range=(0, 10),
        splits={"test": [row]},
        image_root=".",
        source="",
        license="",
    )
    (tmp_path / "other.yaml").write_text("task: other\ndataset_path: json\n")
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    assert manager.match_tasks(["baid", "other"]) == ["baid", "other"]


def test_lmms_eval_still_has_what_we_rely_on():
    from lmms_eval.api.instance import Instance
    from lmms_eval.models.registry_v2 import ModelManifest
    from lmms_eval.tasks import TaskManager

    assert list(inspect.signature(TaskManager.initialize_tasks).parameters) == [
        "self",
        "include_path",
        "include_defaults",
    ]
    assert list(inspect.signature(TaskManager.match_tasks).parameters) == ["self", "task_list"]
    assert "task_index" in vars(TaskManager) and "load_task_or_group" in vars(TaskManager)
    assert {"model_id", "chat_class_path"} <= set(inspect.signature(ModelManifest).parameters)
    assert {"metadata", "arguments"} <= set(inspect.signature(Instance).parameters)


def test_our_tasks_are_ours_and_no_built_in_task_has_their_names():
    from lmms_eval.tasks import TaskManager

    built_in = TaskManager.initialize_tasks.__wrapped__(TaskManager(include_defaults=False))
    datasets, kinds = ("apdd", "baid", "vaps", "artquant", "artquant_demo"), ("", "_cot", "_levels", "_describe")
    assert not {f"{dataset}{kind}" for dataset in datasets for kind in kinds} & set(built_in)
