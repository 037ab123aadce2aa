"""Has lmms-eval's cache of responses tell models apart by their weights, and not by their names alone.

With ``--use_cache``, lmms-eval 0.7.3 keeps responses under a key that holds the model's name, the text of
``--model_args``, the task's configuration, the number of the row, the prompt and the options of generation
(caching/response_cache.py, `compute_cache_key`). A checkpoint that is trained anew in its folder has the same key, and
would be given the responses of the old weights. The rows of our tasks are told apart by the tasks themselves
(`artquant_plugin.tasks.documents`).
"""

import abc
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any


class IdentifiedModel(abc.ABC):
    """A model that says what its responses depend on beside its arguments."""

    @property
    @abc.abstractmethod
    def response_identity(self) -> str:
        """A text that is another one whenever the model may answer otherwise to the same request."""


def patch_response_cache(module: ModuleType) -> None:
    """Have `ResponseCache.execute` make the model's identity a part of the key; a second call changes nothing.

    lmms-eval 0.7.3 offers no hook: a model cannot add to the key, and does not see requests that the cache answers.

    Args:
        module: the imported module `lmms_eval.caching.response_cache`, whose class is changed.
    """
    execute = module.ResponseCache.execute
    if getattr(execute, "_artquant", False):
        return

    @functools.wraps(execute)
    def execute_with_identity(self: Any, lm: Any, reqtype: str, requests: Sequence[Any]) -> list[Any]:
        identity = _identity(lm, self.model_fingerprint, requests)
        if identity:
            key = f"{self.model_fingerprint}|{identity}"
            self._model_fingerprint_hash = hashlib.sha256(key.encode()).hexdigest()[:16]
        return execute(self, lm, reqtype, requests)

    execute_with_identity._artquant = True  # type: ignore[attr-defined]
    module.ResponseCache.execute = execute_with_identity


def _identity(model: Any, fingerprint: str, requests: Sequence[Any]) -> str:
    """What responses depend on beside the model's arguments; empty where nothing is known.

    Args:
        model: one of our models, or any other one. Of others, the local folders and files that their arguments name
            count, and only where a task of ours asks.
        fingerprint: the model's name and its arguments, as the cache puts them together: ``NAME|JSON``.
        requests: the requests that are to be answered.
    """
    if isinstance(model, IdentifiedModel):
        return model.response_identity
    task_files = (Path(entry.name) for entry in files("artquant_plugin.tasks").iterdir())
    ours = {file.stem for file in task_files if file.suffix == ".yaml"}
    if ours.isdisjoint(request.task_name for request in requests):
        return ""
    try:
        arguments = json.loads(fingerprint.partition("|")[2])
    except ValueError:
        return ""
    values = [value for value in arguments.values() if isinstance(value, str)] if isinstance(arguments, dict) else []
    return "\n".join(state for value in values if (state := _state_on_disk(Path(value).expanduser())))


def _state_on_disk(path: Path) -> str:
    """Names, sizes and times of the files of a folder, or of one file; empty where there is none at that path.

    Training anew writes files with other times. Their contents may take minutes to read, and another library reads
    other files of them than ours.
    """
    try:
        if path.is_file():
            found = [path]
        elif path.is_dir():
            found = sorted(Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        else:
            return ""
        states = ((file, file.stat()) for file in found)
        return "\n".join(f"{file} {state.st_size} {state.st_mtime_ns}" for file, state in states)
    except OSError:  # a file that went in between; the next run has another state
        return ""
