"""What models are called in every table, plot, page and card: the one place that decides it."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from artquant_plugin.common.secrets import secret_values, without_keys
from artquant_plugin.harness.plugin import MODEL_ID, PYIQA_ID

PARTS = 2  # folders of a long path that a name has at least, such as ``runs/demo``


def full_name(results: dict[str, Any], folder: str) -> str:
    """The whole name of the model of a run, which may be a long path.

    It is what ``--model_args`` named: a checkpoint's folder, its id on the Hub, or the id that an endpoint knows the
    model by, such as ``gpt-4o-2024-08-06``. Where lmms-eval found no name there, it is its ``--model``. A pyiqa metric
    is named with ``--model`` and the metric. A checkpoint that was scored with a chosen preset has the preset's name
    behind its own, so that its runs with several presets are told apart.

    Args:
        results: the content of the results file of the run; empty where it is missing.
        folder: the name of the folder that holds the run. lmms-eval makes it from the model's name; where a user gave
            it another one, that is the name.
    """
    source, named = results.get("model_source"), results.get("model_name", folder)
    config = results.get("config")
    arguments = str(config.get("model_args")) if isinstance(config, dict) else ""
    if source == PYIQA_ID:
        return ":".join([PYIQA_ID, *re.findall(r"(?:^|,)(?:metric|task)=([^,]+)", arguments)])
    if not named and isinstance(source, str) and source:
        return source
    if isinstance(named, str) and folder_name(named) == folder:
        name = without_keys(named.removeprefix("./").rstrip("/") or named, secret_values(arguments))
    else:
        name = folder
    preset = re.search(r"(?:^|,)scoring=([^,]+)", arguments) if source == MODEL_ID else None
    return f"{name}:{Path(preset[1]).name}" if preset else name


def folder_name(name: str) -> str:
    """The name of the folder that lmms-eval 0.7.3 makes for a model (`sanitize_model_name` in lmms_eval/utils.py).

    Models whose paths end alike share a folder.

    Example:
        >>> folder_name("/home/you/runs/demo")
        'runs__demo'
    """
    return re.sub(r"[\"<>:/\|\\?\*\[\]]+", "__", "/".join(name.split("/")[-2:]))


def readable_names(names: Iterable[str]) -> dict[str, str]:
    """A short name for each model, unique among them.

    A name stays as it is, an id on the Hub and a relative path for example. Of an absolute path, or one that begins
    with ``~`` or ``..``, the last folders are left, at least two and as many as tell the models apart.

    Args:
        names: the whole names, as `full_name` has them; the same name twice is the same model.

    Returns:
        The short name for each whole name.

    Example:
        >>> list(readable_names(["/home/you/runs/demo", "Qwen/Qwen2.5-VL-7B-Instruct"]).values())
        ['runs/demo', 'Qwen/Qwen2.5-VL-7B-Instruct']
        >>> list(readable_names(["/home/a/runs/demo", "/home/b/runs/demo"]).values())
        ['a/runs/demo', 'b/runs/demo']
    """
    every = list(dict.fromkeys(names))
    parts = dict.fromkeys(every, PARTS)
    while True:
        short = {name: _last_parts(name, parts[name]) for name in every}
        counts = Counter(short.values())
        alike = [name for name in every if counts[short[name]] > 1 and short[name] != name]
        if not alike:
            return short
        for name in alike:
            parts[name] += 1


def with_variant(name: str, variant: str) -> str:
    """The name of a model that was asked another question than the plain task's.

    Args:
        name: the name of the model.
        variant: what the task's name adds to that of its dataset, such as ``cot``; empty for the plain task.

    Example:
        >>> with_variant("gpt-4o", "cot")
        'gpt-4o (cot)'
    """
    return f"{name} ({variant})" if variant else name


def _last_parts(name: str, parts: int) -> str:
    """The last parts of an absolute path; the whole name where it is none, or has no more parts."""
    every = [part for part in name.split("/") if part]
    return "/".join(every[-parts:]) if name.startswith(("/", "~", "../")) and len(every) > parts else name
