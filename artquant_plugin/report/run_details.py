"""What the results file of lmms-eval says about a run: settings, versions, prompt and dataset."""

import glob
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.common.secrets import without_secrets
from artquant_plugin.report.task_runs import TaskRun, model_name

VARIANTS = ("cot", "levels")  # endings of tasks that ask another question about the paintings of the same dataset


@dataclass(frozen=True, slots=True)
class RunDetails:
    """How a run was made. A text is empty where the results file is absent or does not say.

    Args:
        dataset: name of the dataset that the task is about.
        variant: what the task's name adds to the dataset's, such as ``cot``; empty for the plain task.
        folder: the dataset's folder at the time of the run; None where it is not known.
        model: lmms-eval's ``--model``, such as ``openai``.
        arguments: lmms-eval's ``--model_args``, with keys and tokens taken out.
        prompt: the task's question, before the scale is filled in.
        prompt_version: name of the prompt in the task's metadata; ``own`` where the model asks its own question.
        harness: version of lmms-eval, such as ``0.7.3``.
        commit: git commit of the folder that the run was started in.
        date: date of the run, as in the names of its files.
        seconds: the time that the run took, as a whole number of seconds.
    """

    dataset: str
    variant: str
    folder: Path | None
    model: str
    arguments: str
    prompt: str
    prompt_version: str
    harness: str
    commit: str
    date: str
    seconds: str


def read_details(run: TaskRun) -> RunDetails:
    """Read the results file beside a run's samples.

    Args:
        run: the run. Where its results file is missing or broken, the details are those of the run alone.
    """
    results = run.file.with_name(f"{run.date}_results.json")
    try:
        content = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = {}
    task = _dict(_dict(_dict(content).get("configs")).get(run.task))
    manifest = _dict(_dict(task.get("dataset_kwargs")).get("data_files")).get("test")
    folder = Path(manifest).parent if isinstance(manifest, str) else None
    dataset = folder.name if folder is not None and run.task.startswith(folder.name) else without_variant(run.task)
    config = _dict(content.get("config"))
    arguments = config.get("model_args") or ""
    seconds = content.get("total_evaluation_time_seconds")
    return RunDetails(
        dataset=dataset,
        variant=run.task.removeprefix(dataset).strip("_"),
        folder=folder,
        model=str(config.get("model") or ""),
        arguments=without_secrets(
            arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        ),
        prompt=_prompt(task.get("lmms_eval_specific_kwargs")),
        prompt_version=run.prompt,
        harness=str(content.get("lmms_eval_version") or ""),
        commit=str(content.get("git_hash") or ""),
        date=run.date,
        seconds=_number(seconds),
    )


def read_descriptions(run: TaskRun, dataset: str) -> dict[str, str]:
    """Read what the same model wrote about the paintings.

    The descriptions are those of the newest run of the dataset's describing task in the same folder.

    Args:
        run: the run of the scoring task.
        dataset: name of the dataset, with which the describing task's name begins.

    Returns:
        The descriptions by the id of the painting; empty where there is no such run. Lines of the file that hold no
        description are left out.
    """
    found = run.file.parent.glob(f"*_samples_{glob.escape(dataset)}_describe.jsonl")
    files = sorted(file for file in found if model_name(file) == run.model)
    texts: dict[str, str] = {}
    if not files:
        return texts
    with files[-1].open(encoding="utf-8") as lines:
        for line in lines:
            try:
                record = _dict(_dict(json.loads(line)).get("described"))
            except ValueError:
                continue
            if isinstance(record.get("id"), str) and isinstance(record.get("description"), str):
                texts[record["id"]] = record["description"]
    return texts


def without_variant(task: str) -> str:
    """The name of the dataset that a task is about.

    Args:
        task: name of the task, with or without one of the endings in `VARIANTS`.

    Example:
        >>> without_variant("baid_cot"), without_variant("artquant_demo")
        ('baid', 'artquant_demo')
    """
    stem, _, ending = task.rpartition("_")
    return stem if ending in VARIANTS else task


def _prompt(given: Any) -> str:
    """The prompt of a task; empty where the file has none.

    The chosen prompt is under its own key. Files of older runs have only the prompts per model; theirs is the default.
    """
    prompts = _dict(given)
    chosen = prompts.get("prompt") or _dict(prompts.get("default")).get("prompt")
    return chosen if isinstance(chosen, str) else ""


def _number(value: Any) -> str:
    try:
        return f"{float(value):.0f}"
    except (TypeError, ValueError):
        return ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
