"""What the results file of lmms-eval says about a run: settings, versions, prompt and dataset."""

import glob
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artquant_plugin.common.secrets import secret_values, without_keys, without_secrets
from artquant_plugin.report.task_runs import TaskRun, as_object, full_name_of, results_content

VARIANTS = ("cot", "levels", "attributes")  # endings of tasks that ask something else about a dataset's paintings


@dataclass(frozen=True, slots=True)
class RunDetails:
    """How a run was made. A text is empty where the results file is absent or does not say.

    Args:
        dataset: name of the dataset that the task is about.
        variant: what the task's name adds to the dataset's, such as ``cot``; empty for the plain task.
        model: lmms-eval's ``--model``, such as ``openai``.
        arguments: lmms-eval's ``--model_args``, with keys and tokens taken out.
        prompt: the task's question, before the scale is filled in.
        prompt_version: name of the prompt in the task's metadata; ``own`` where the model asks its own question,
            followed by the name of the scoring preset where one was used.
        harness: version of lmms-eval, such as ``0.7.3``.
        commit: git commit of the folder that the run was started in.
        date: date of the run, as in the names of its files.
        seconds: the time that the run took, as a whole number of seconds.
        keys: the secrets among the arguments, which an endpoint may have repeated in its replies.
    """

    dataset: str
    variant: str
    model: str
    arguments: str
    prompt: str
    prompt_version: str
    harness: str
    commit: str
    date: str
    seconds: str
    keys: tuple[str, ...] = field(default=(), repr=False)


def read_details(run: TaskRun) -> RunDetails:
    """Read the results file beside a run's samples.

    Args:
        run: the run. Where its results file is missing or broken, the details are those of the run alone.
    """
    content = results_content(run.file)
    task = as_object(as_object(content.get("configs")).get(run.task))
    dataset, variant = dataset_of(run)
    config = as_object(content.get("config"))
    arguments = config.get("model_args") or ""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    keys = tuple(secret_values(arguments))
    seconds = content.get("total_evaluation_time_seconds")
    return RunDetails(
        dataset=dataset,
        variant=variant,
        model=str(config.get("model") or ""),
        arguments=without_secrets(arguments, keys),
        prompt=without_keys(_prompt(task.get("lmms_eval_specific_kwargs")), keys),
        prompt_version=run.prompt,
        harness=str(content.get("lmms_eval_version") or ""),
        commit=str(content.get("git_hash") or ""),
        date=run.date,
        seconds=_whole_seconds(seconds),
        keys=keys,
    )


def dataset_of(run: TaskRun) -> tuple[str, str]:
    """What the task of a run is about.

    Args:
        run: the run. Its results file names the dataset's folder; where it is missing, the task's name decides.

    Returns:
        The name of the dataset, and what the task's name adds to it, such as ``cot``; empty for the plain task and
        for an attribute, which says what was asked.
    """
    task = as_object(as_object(results_content(run.file).get("configs")).get(run.task))
    manifest = as_object(as_object(task.get("dataset_kwargs")).get("data_files")).get("test")
    folder = Path(manifest).parent.name if isinstance(manifest, str) else ""
    dataset = folder if folder and run.task.startswith(folder) else without_variant(run.task)
    return dataset, "" if run.attribute else run.task.removeprefix(dataset).strip("_")


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
    files = sorted(file for file in found if full_name_of(file) == run.full_name)
    texts: dict[str, str] = {}
    if not files:
        return texts
    with files[-1].open(encoding="utf-8") as lines:
        for line in lines:
            try:
                record = as_object(as_object(json.loads(line)).get("described"))
            except (ValueError, RecursionError):
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

    The prompt that the run used is under the key ``prompt``. Files of older runs lack it and have a prompt for each
    model; of these, the default one is taken.
    """
    prompts = as_object(given)
    chosen = prompts.get("prompt") or as_object(prompts.get("default")).get("prompt")
    return chosen if isinstance(chosen, str) else ""


def _whole_seconds(value: Any) -> str:
    """A number of seconds as a whole number; empty where the value is no number."""
    try:
        return f"{float(value):.0f}"
    except (TypeError, ValueError, OverflowError):
        return ""
