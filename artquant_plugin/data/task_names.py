"""Which datasets are tasks of lmms-eval, under which names, and which names are taken already.

A dataset in a folder ``NAME`` of `data_home` is evaluated by the tasks ``NAME``, ``NAME_cot``, ``NAME_levels`` and
``NAME_describe``. Nothing is imported of lmms-eval here: that would take 20 seconds of every import of a dataset.
"""

import importlib.util
import re
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line
from artquant_plugin.data.dataset import DEMO, INFO_FILE, PLAIN_NAME, Dataset, data_home
from artquant_plugin.data.find import PUBLISHED

TEST_SPLIT = "test"  # the one that the tasks evaluate
ENDINGS = ("", "_cot", "_levels", "_describe")  # what a task's name adds to that of its dataset
ATTRIBUTES = "_attributes"  # a further ending, of the task that a dataset with scores of attributes has
_ALL_ENDINGS = (*ENDINGS, ATTRIBUTES)
SHIPPED = (*PUBLISHED, DEMO)  # datasets whose tasks stand in YAML files of ours, imported or not
GROUP = "artquant"  # the group of the published datasets; with an ending, that of their other tasks

_KEY = re.compile(r"^[\"']?(?:task|group|tag)[\"']?[ \t]*:[ \t]*(.*)\n((?:[ \t]*-[ \t].*\n)*)", re.MULTILINE)
_NAME = re.compile(r"[^\s\"',\[\]:]++(?!:)")  # in a value of YAML: a text, or one element of a list, and no key


def dataset_of(task: str) -> str:
    """The name of the dataset that a task is about, as far as the task's name tells.

    Args:
        task: name of a task of ours.

    Example:
        >>> dataset_of("mine_cot"), dataset_of("my_paintings")
        ('mine', 'my_paintings')
    """
    return next((task.removesuffix(ending) for ending in _ALL_ENDINGS if ending and task.endswith(ending)), task)


def check_task_name(name: str) -> None:
    """Refuse a name under which a dataset could not be evaluated, because its tasks' names belong to others.

    Args:
        name: that of a folder in `data_home`. Those of the published datasets and of the demo are no error.

    Raises:
        ArtQuantError: it is no plain name, ends like a task, or lmms-eval or this package has a task of such a name.
    """
    if not PLAIN_NAME.fullmatch(name):
        raise ArtQuantError(f"dataset name {name!r} is no plain name; use letters, digits, '.', '_' and '-'")
    if dataset_of(name) != name:
        raise ArtQuantError(
            f"dataset name {name!r} ends like a task's, of which every dataset has those that end in "
            f"{', '.join(_ALL_ENDINGS[1:])}; choose another name"
        )
    if name == GROUP:
        raise ArtQuantError(f"dataset name {name!r} is that of the group of the published tasks; choose another name")
    if name not in SHIPPED:
        taken = sorted({f"{name}{ending}" for ending in _ALL_ENDINGS} & names_of_lmms_eval())
        if taken:
            raise ArtQuantError(
                f"dataset name {name!r} would make a task {taken[0]!r}, and lmms-eval has one of its own; choose "
                f"another name, such as 'my_{name}'"
            )


def names_of_lmms_eval() -> set[str]:
    """The names of the tasks, groups and tags that lmms-eval brings, read from its files; empty without lmms-eval."""
    found = importlib.util.find_spec("lmms_eval")
    names: set[str] = set()
    for folder in (found and found.submodule_search_locations) or ():
        for path in Path(folder, "tasks").rglob("*yaml"):  # also those without a point, which others include
            for value, elements in _KEY.findall(path.read_text(encoding="utf-8", errors="replace") + "\n"):
                lines = [value, *(line.strip()[1:] for line in elements.splitlines())]
                names.update(name for line in lines for name in _NAME.findall(line.partition(" #")[0]))
    return names


def is_in_data_home(folder: Path) -> bool:
    """Whether a dataset's folder lies directly in `data_home`, where its name names it.

    Args:
        folder: the place of a dataset, which need not exist.
    """
    return folder.absolute().parent.resolve() == data_home().resolve()


def check_test_split(dataset: Dataset) -> None:
    """Refuse a dataset that tasks could not evaluate.

    Args:
        dataset: the dataset, as `Dataset.load` opens it.

    Raises:
        ArtQuantError: it has no painting in its test split.
    """
    split = dataset.info.splits.get(TEST_SPLIT)
    if split is None or not split.n:
        raise ArtQuantError(
            f"dataset '{dataset.folder}' has no painting in its {TEST_SPLIT} split; import it again with its images"
        )


def own_datasets() -> dict[str, str | None]:
    """The user's own datasets: the folders in `data_home` whose tasks do not stand in YAML files of ours.

    A folder that is broken is no error, so that lists of tasks and other tasks do not depend on it.

    Returns:
        For each name None, or in one line why the dataset has no tasks.
    """
    try:
        folders = sorted(path for path in data_home().iterdir() if path.name not in SHIPPED)
    except OSError:  # no dataset was imported, or the place cannot be read, as the first task of ours will say
        return {}
    found: dict[str, str | None] = {}
    for folder in folders:
        try:
            if not (folder / INFO_FILE).is_file():
                continue
            if not PLAIN_NAME.fullmatch(folder.name) or dataset_of(folder.name) != folder.name:
                check_task_name(folder.name)
            check_test_split(Dataset.load(folder))
        except (ArtQuantError, OSError) as error:
            found[folder.name] = one_line(error)
        else:
            found[folder.name] = None
    return found


def task_of(dataset: Dataset) -> str | None:
    """The name of the task that evaluates a dataset.

    Args:
        dataset: the dataset, as `Dataset.load` opens it.

    Returns:
        None where there is no such task: the dataset has no test split, or lies where lmms-eval does not look for it.
    """
    if is_in_data_home(dataset.folder):
        name = dataset.folder.absolute().name
        return name if name in SHIPPED or own_datasets().get(name, "") is None else None
    return dataset.info.name if dataset.info.name in SHIPPED else None


def has_attributes(name: str) -> bool:
    """Whether the paintings of a dataset in `data_home` have a place for scores of attributes, as its first row tells.

    Args:
        name: that of the dataset's folder, which `own_datasets` has found to be one that can be evaluated.
    """
    try:
        first = next(Dataset.load(data_home() / name).each(TEST_SPLIT), None)
    except (ArtQuantError, OSError):
        return False  # what is wrong with a row is told when the dataset is evaluated
    return first is not None and bool(first.attributes)
