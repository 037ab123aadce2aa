"""The entry point that lmms-eval loads: the manifests of our models, and a hook that adds our tasks to every run.

lmms-eval has an entry point for models and none for tasks, but it loads every model entry point in every run. So the
manifest's factory also makes sure that each `TaskManager` indexes our task folder. Nothing heavy is imported here,
and nothing may raise, because lmms-eval loads all plugins in one try block, so that one that fails takes the others
with it. The one exception is an evaluation that is sure to fail because of a package's version: it ends with a line
that says so.
"""

import functools
import importlib.abc
import importlib.machinery
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.environment.startup import check_versions, errors_end_evaluation
from artquant_plugin.harness.response_cache import patch_response_cache
from artquant_plugin.harness.saved_results import patch_evaluation_tracker

MODEL_ID, PYIQA_ID = "artquant", "pyiqa"
OWN_QUESTION = (MODEL_ID, PYIQA_ID)  # models that do not read a task's question to score a painting
# With this key in a task's metadata, these models give a score or a description instead of an answer in words.
REQUEST, SCORE_REQUEST, DESCRIBE_REQUEST, ATTRIBUTE_REQUEST = "artquant", "score", "describe", "attribute"
_TASKS_MODULE = "lmms_eval.tasks"


def model_manifest() -> list[Any]:
    """The entry point of the group ``lmms_eval.models``: the manifests of our models.

    Raises:
        SystemExit: with code 1 after a line on stderr, where the process is an evaluation on lmms-eval's command line
            that is sure to fail because a package is outside our bounds.
    """
    from lmms_eval.models.registry_v2 import ModelManifest

    check_versions(sys.argv)
    register_tasks()
    return [
        ModelManifest(model_id=MODEL_ID, chat_class_path="artquant_plugin.harness.artquant.ArtQuant"),
        ModelManifest(model_id=PYIQA_ID, chat_class_path="artquant_plugin.harness.pyiqa.PyIQA"),
    ]


def tasks_folder() -> str:
    """The folder of our tasks' YAML files, in a checkout and in an installed package."""
    return str(files("artquant_plugin.tasks"))


def register_tasks() -> None:
    """Have every `TaskManager` index our task folder; a second call changes nothing.

    lmms-eval 0.7.3 offers no public hook: `TaskManager` reads `--include_path` alone (lmms_eval/tasks/__init__.py,
    `initialize_tasks`). When that module is not imported yet, the change waits for its import, so that commands that
    need no tasks stay free of torch.
    """
    module = sys.modules.get(_TASKS_MODULE)
    if module is not None and hasattr(module, "TaskManager"):
        _patch_task_manager(module)
    elif not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())


def _patch_task_manager(module: ModuleType) -> None:
    """Have `TaskManager` know our tasks, look for our datasets early, and raise our errors as they are.

    Our tasks are those of our folder and those of the user's own datasets, which stand in no file (`own_tasks`). A
    task that lmms-eval or the user's ``--include_path`` brings goes before one of the same name of an own dataset.

    The cache of responses is imported with the tasks and not by the model, so that it is patched here for all models.
    """
    from artquant_plugin.harness import own_tasks  # needs numpy, which our entry point does not wait for

    patch_response_cache(importlib.import_module("lmms_eval.caching.response_cache"))
    patch_evaluation_tracker(importlib.import_module("lmms_eval.loggers.evaluation_tracker"))
    original = module.TaskManager.initialize_tasks
    if getattr(original, "_artquant", False):
        return

    @functools.wraps(original)
    def initialize_tasks(self: Any, include_path: Any = None, include_defaults: bool = True) -> Any:
        paths = [include_path] if isinstance(include_path, str) else list(include_path or [])
        index = original(self, include_path=[*paths, tasks_folder()], include_defaults=include_defaults)
        return {**own_tasks.index_entries(Path(tasks_folder())), **index}

    initialize_tasks._artquant = True  # type: ignore[attr-defined]
    module.TaskManager.initialize_tasks = initialize_tasks
    get_config = module.TaskManager._get_config

    @functools.wraps(get_config)
    def _get_config(self: Any, name: str) -> Any:
        entry = self.task_index.get(name, {})
        return own_tasks.task_config(name, entry) if own_tasks.DATASET in entry else get_config(self, name)

    module.TaskManager._get_config = _get_config
    load = module.TaskManager.load_task_or_group

    @functools.wraps(load)
    def load_task_or_group(self: Any, task_list: Any = None, *args: Any, **options: Any) -> Any:
        names = [task_list] if isinstance(task_list, str) else task_list or []
        with errors_end_evaluation():
            own_tasks.explain_absent([name for name in names if isinstance(name, str)], self.task_index)
            try:
                return load(self, task_list, *args, **options)
            except ImportError as error:  # lmms-eval's YAML loader raises it for any error in a `!function`
                if isinstance(error.__cause__, ArtQuantError):
                    raise error.__cause__ from None
                raise

    module.TaskManager.load_task_or_group = load_task_or_group
    match = module.TaskManager.match_tasks

    @functools.wraps(match)
    def match_tasks(self: Any, task_list: Sequence[str]) -> Any:
        names = match(self, task_list)
        with errors_end_evaluation():
            own_tasks.explain_absent(task_list, self.task_index)
            own_tasks.warn_of_others(task_list, self.task_index)
            for name in names:
                _find_data(name, self.task_index[name])
        return names

    module.TaskManager.match_tasks = match_tasks


def _find_data(task: str, entry: Mapping[str, Any]) -> None:
    """Find the dataset of a task of ours, or of the tasks in a group of ours, and raise where it is absent.

    The command line matches the names of tasks before it loads the model, and loads the tasks after it. Without this
    look ahead, a user waits until the weights of a large model are loaded to read that a dataset is missing.

    Args:
        task: the name of a task or group.
        entry: lmms-eval's index entry for it, with ``yaml_path``, its file; those of others are ignored.

    Raises:
        ArtQuantError: a dataset is not imported, or cannot be read.
    """
    from artquant_plugin.harness import own_tasks

    if own_tasks.DATASET in entry:
        own_tasks.find_data(task, entry)
        return
    path = Path(str(entry["yaml_path"]))
    if path.parent != Path(tasks_folder()):
        return
    text = path.read_text(encoding="utf-8")
    for member in re.findall(r"^task: \[(.*)\]$", text, re.MULTILINE):
        for name in member.split(","):
            _find_data(name.strip(), {"yaml_path": path.with_name(f"{name.strip()}.yaml")})
    for module, name in re.findall(r"!function (\S+)\.(\w+_file)\b", text):
        getattr(importlib.import_module(module), name)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Waits for the import of `lmms_eval.tasks`, lets it load, then patches it, and leaves the import system."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _TASKS_MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_then_patch(module: ModuleType) -> None:
            load(module)
            _patch_task_manager(module)

        spec.loader.exec_module = load_then_patch  # type: ignore[method-assign]
        return spec
