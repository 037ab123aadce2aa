"""The tasks of the user's own datasets: whatever was imported under a name in $ARTQUANT_DATA is a task of that name.

No file is written for them. lmms-eval's index of tasks gets their names, each with the YAML file that all tasks of its
kind share, and the rest of a task's configuration is made when the task is loaded.
"""

import difflib
import fnmatch
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.data.dataset import PLAIN_NAME, data_home
from artquant_plugin.data.find import import_command
from artquant_plugin.data.task_names import ATTRIBUTES, ENDINGS, dataset_of, has_attributes, own_datasets

DATASET = "artquant_dataset"  # key of an index entry: the dataset of a task that stands in no YAML file
# For each ending of a task's name, the file and the module of `tasks` that its kind shares.
_FILES = (
    ("_scoring_yaml", "scoring"),
    ("_cot_yaml", "scoring"),
    ("_levels_yaml", "scoring"),
    ("_describing_yaml", "describing"),
)
KINDS = dict(zip(ENDINGS, _FILES, strict=True))
_OF_ATTRIBUTES = {ATTRIBUTES: ("_attributes_yaml", "attributes")}  # for datasets that have scores of attributes


def index_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of lmms-eval's index for the tasks of the user's own datasets.

    Args:
        folder: of our tasks' YAML files.

    Returns:
        The entries by the names of the tasks. Datasets that cannot be evaluated have none.
    """
    return {
        f"{name}{ending}": {"type": "task", "yaml_path": str(folder / file), DATASET: name}
        for name, problem in own_datasets().items()
        if problem is None
        for ending, (file, _) in (KINDS | _OF_ATTRIBUTES if has_attributes(name) else KINDS).items()
    }


def task_config(task: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The whole configuration of a task, as lmms-eval has it of a YAML file.

    Args:
        task: the name of the task, such as ``mine_cot``.
        entry: the task's entry in what `index_entries` returned.

    Raises:
        ArtQuantError: the dataset is gone, or cannot be read.
    """
    from lmms_eval.utils import load_yaml_config

    dataset = entry[DATASET]
    module = _module(task, dataset)
    config = {
        **load_yaml_config(entry["yaml_path"], mode="full"),
        "task": task,
        "dataset_kwargs": {"data_files": {"test": _of_dataset(module, dataset, "file")}},
        "process_docs": _of_dataset(module, dataset, "docs"),
    }
    return config if module != "attributes" else config | {"metric_list": _of_dataset(module, dataset, "metrics")}


def find_data(task: str, entry: Mapping[str, Any]) -> None:
    """See that the dataset of a task is there, before a model is loaded.

    Args:
        task: the name of the task, such as ``mine_cot``.
        entry: the task's entry in what `index_entries` returned.

    Raises:
        ArtQuantError: the dataset is gone, or cannot be read.
    """
    _of_dataset(_module(task, entry[DATASET]), entry[DATASET], "file")


def explain_absent(wanted: Sequence[str], index: Mapping[str, Mapping[str, Any]]) -> None:
    """Say why a task is not there, where lmms-eval would end with a traceback and exit code 0.

    Args:
        wanted: the names, patterns and files of tasks that the user gave.
        index: the index of tasks that lmms-eval has made.

    Raises:
        ArtQuantError: a name is neither in the index nor that of a file: its dataset is broken, or there is none.
    """
    for name in wanted:
        if name not in index and not _is_pattern(name) and not os.path.isfile(name):
            datasets = own_datasets()
            raise _absent(name, datasets)


def warn_of_others(wanted: Sequence[str], index: Mapping[str, Mapping[str, Any]]) -> None:
    """Say what is evaluated beside the user's own datasets, or in the place of one.

    Args:
        wanted: the names, patterns and files of tasks that the user gave.
        index: the index of tasks that lmms-eval has made.

    Warns:
        ArtQuantWarning: somebody else brings a task under the name of a dataset's task, or a pattern fits a dataset
            that cannot be evaluated.
    """
    for dataset, problem in own_datasets().items():
        for task in (f"{dataset}{ending}" for ending in KINDS):
            if task in wanted and DATASET not in index.get(task, {DATASET: dataset}):
                _warn(
                    f"task {task!r} is that of '{index[task]['yaml_path']}', and not that of dataset {dataset!r}; "
                    "import the dataset under another name to evaluate on it"
                )
        for name in filter(_is_pattern, wanted):
            if problem is not None and any(fnmatch.fnmatch(f"{dataset}{ending}", name) for ending in KINDS):
                _warn(f"{name!r} leaves out dataset {dataset!r}: {problem}")


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


def _absent(name: str, datasets: Mapping[str, str | None]) -> ArtQuantError:
    """The error of a task that is not there.

    Args:
        name: what the user called it.
        datasets: the user's own datasets, each with the reason why it has no tasks, or None.
    """
    problem = datasets.get(name) or datasets.get(dataset_of(name))
    if problem is not None:
        return ArtQuantError(f"there is no task {name!r}: {problem}")
    message = f"there is no task {name!r}, since no dataset is in '{data_home() / dataset_of(name)}'"
    remedy = "see `lmms-eval --tasks list`"
    if near := difflib.get_close_matches(dataset_of(name), datasets, n=1):
        remedy = f"did you mean {near[0] + name.removeprefix(dataset_of(name))!r}? {remedy}"
    if PLAIN_NAME.fullmatch(name):
        remedy += f", or make the dataset with `{import_command(dataset_of(name))}`"
    return ArtQuantError(f"{message}; {remedy}")


def _warn(message: str) -> None:
    warnings.warn(message, ArtQuantWarning, stacklevel=3)


def _module(task: str, dataset: str) -> str:
    """The module of `tasks` that a task of a dataset is made with."""
    return (KINDS | _OF_ATTRIBUTES)[task.removeprefix(dataset)][1]


def _of_dataset(module: str, dataset: str, kind: str) -> Any:
    """The attribute ``NAME_file``, ``NAME_docs`` or ``NAME_metrics`` of a module of `tasks`."""
    from artquant_plugin.tasks import attributes, describing, scoring

    modules = {"scoring": scoring, "describing": describing, "attributes": attributes}
    return getattr(modules[module], f"{dataset}_{kind}")
