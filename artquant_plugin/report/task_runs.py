"""Reading the runs of scoring tasks from lmms-eval's output folders, whose logged samples suffice for every report."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.harness.plugin import OWN_QUESTION, PYIQA_ID, REQUEST


@dataclass(frozen=True, slots=True)
class LoggedSample:
    """What lmms-eval logged about one painting of a run.

    Args:
        id: id of the painting in its dataset.
        prediction: the predicted score, in the dataset's unit unless the model measures in its own; None for none.
        truth: the human score, in the dataset's unit.
        reason: why there is no prediction, such as ``refused``; None when there is one.
        category: category of the painting; None where it has none.
        reply: the text that the model replied with; empty where none was logged.
        levels: the probability of each level word, in the order of the reply; None where the reply holds none.
        image: path of the picture at the time of the run; None where lmms-eval logged none.
    """

    id: str
    prediction: float | None
    truth: float
    reason: str | None
    category: str | None
    reply: str
    levels: dict[str, float] | None
    image: str | None


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A run of one model on one scoring task.

    Args:
        task: name of the task, such as ``baid_cot``.
        model: name of the model: that of the run's folder, or lmms-eval's ``--model`` where the model has no name.
        date: date of the run, as in the names of its files.
        missing: number of paintings that the dataset's import could not use.
        file: the file of the logged samples.
        samples: the samples of all paintings, with a prediction or without.
        older: number of older runs of the same model and task that were not used.
        prompt: name and version of the prompt in the task's metadata; ``own`` where the model asks its own question;
            empty where it is not known.
        from_range: number of predictions that are the mid-point of a range that the model replied with.
        has_own_unit: whether the predictions are in a unit of their own, so that errors against human scores mean
            nothing.
        checkpoint: name, revision and hash of the weights that were measured (`Identity`); None where the samples do
            not tell, as those of models outside this package.
    """

    task: str
    model: str
    date: str
    missing: int
    file: Path
    samples: list[LoggedSample]
    older: int = 0
    prompt: str = ""
    from_range: int = 0
    has_own_unit: bool = False
    checkpoint: dict[str, Any] | None = None

    @property
    def ids(self) -> list[str]:
        """Ids of the scored paintings. `predictions` and `truths` use the same order."""
        return [sample.id for sample in self.samples if sample.prediction is not None]

    @property
    def predictions(self) -> list[float]:
        """Predicted scores of the scored paintings, in the order of `ids`."""
        return [sample.prediction for sample in self.samples if sample.prediction is not None]

    @property
    def truths(self) -> list[float]:
        """Human scores of the scored paintings, in the order of `ids`."""
        return [sample.truth for sample in self.samples if sample.prediction is not None]

    @property
    def unscored(self) -> dict[str, float]:
        """Human scores of the paintings without a prediction, by id."""
        return {sample.id: sample.truth for sample in self.samples if sample.prediction is None}

    @property
    def failures(self) -> dict[str, int]:
        """Number of paintings without a prediction, by reason."""
        return dict(Counter(sample.reason or "" for sample in self.samples if sample.prediction is None))

    @property
    def results_file(self) -> Path:
        """The results file that lmms-eval wrote for the same run; it may be missing."""
        return _results_file(self.file)


def holds_runs(folder: Path) -> bool:
    """Whether a folder holds logged samples of a scoring task; False for a folder that does not exist."""
    return any(_is_ours(file) for file in folder.rglob("*_samples_*.jsonl"))


def read_runs(folders: Iterable[Path]) -> list[TaskRun]:
    """Read the newest run of each model and task.

    Args:
        folders: the folders that lmms-eval's ``--output_path`` named; everything below them is searched.

    Returns:
        The runs, in the order of the names of tasks, then of models.

    Raises:
        ArtQuantError: a folder holds no samples of a scoring task, or a line of them is no such sample.
    """
    newest: dict[tuple[str, str], list[Path]] = {}
    for folder in folders:
        files = sorted(folder.rglob("*_samples_*.jsonl")) if folder.is_dir() else []
        files = [file for file in files if _is_ours(file)]
        if not files:
            raise ArtQuantError(
                f"'{folder}' holds no samples of a scoring task; run lmms-eval with --log_samples --output_path "
                f"{folder}, and look at its log, since it exits with 0 on errors, too"
            )
        for file in files:
            newest.setdefault((model_name(file), _task(file)), []).append(file)
    runs = []
    for (model, task), files in sorted(newest.items(), key=lambda item: (item[0][1], item[0][0])):
        *older, file = sorted(set(files), key=lambda path: path.name)
        runs.append(_read(file, model, task, older=len(older)))
    return runs


def _task(file: Path) -> str:
    return file.stem.partition("_samples_")[2]


def model_name(file: Path) -> str:
    """The name of the model that was run.

    It is the name of the folder, which lmms-eval takes from `--model_args`. Where lmms-eval finds no name there, it is
    `--model`; for pyiqa, whose metrics share one folder, it is `--model` with the metric.

    Args:
        file: the file of the logged samples.
    """
    content = _results(file)
    if content.get("model_source") == PYIQA_ID:
        arguments = str(content.get("config", {}).get("model_args"))
        return ":".join([PYIQA_ID, *re.findall(r"(?:^|,)(?:metric|task)=([^,]+)", arguments)])
    named = content.get("model_name", file.parent.name)
    return file.parent.name if named else content["model_source"]


def _prompt(file: Path, task: str) -> str:
    """Name and version of the prompt that made the samples; empty where the results file is missing."""
    content = _results(file)
    metadata = content.get("configs", {}).get(task, {}).get("metadata") or {}
    # This package's models ask their own question on tasks that request a score, whatever the task's prompt is.
    own = content.get("model_source") in OWN_QUESTION and metadata.get(REQUEST) is not None
    return "own" if own else str(metadata.get("prompt", ""))


def _results(file: Path) -> dict[str, Any]:
    """The content of the results file of the same run; empty where the file is missing or broken."""
    try:
        return json.loads(_results_file(file).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}


def _results_file(samples: Path) -> Path:
    return samples.with_name(f"{samples.name.partition('_samples_')[0]}_results.json")


def _is_ours(file: Path) -> bool:
    with file.open(encoding="utf-8") as lines:
        first = lines.readline()
    try:
        return isinstance(json.loads(first).get("scored"), dict)
    except (json.JSONDecodeError, AttributeError):
        return False


def _read(file: Path, model: str, task: str, *, older: int) -> TaskRun:
    samples: dict[str, LoggedSample] = {}
    missing, from_range, has_own_unit = 0, 0, False
    checkpoint: dict[str, Any] | None = None
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                sample: dict[str, Any] = json.loads(line)
                record = sample["scored"]
                samples[record["id"]] = _sample(sample)
                from_range += bool(record.get("from_range"))
                has_own_unit = has_own_unit or record.get("measurement") is not None
                missing = max(missing, int(sample["missing"]))
                weights = record.get("checkpoint")  # a failed painting has none
                if weights and checkpoint and weights != checkpoint:
                    raise ValueError("checkpoints differ within the file")
                checkpoint = weights or checkpoint
            except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                raise ArtQuantError(
                    f"{file}:{number}: not a sample of a scoring task ({error!r}); run it again"
                ) from error
    return TaskRun(
        task=task,
        model=model,
        date=file.name.partition("_samples_")[0],
        missing=missing,
        file=file,
        samples=list(samples.values()),
        older=older,
        prompt=_prompt(file, task),
        from_range=from_range,
        has_own_unit=has_own_unit,
        checkpoint=checkpoint,
    )


def _sample(line: dict[str, Any]) -> LoggedSample:
    record = line["scored"]
    reply = line.get("filtered_resps", "")
    media = line.get("input_media") or []
    return LoggedSample(
        id=record["id"],
        prediction=None if record["prediction"] is None else float(record["prediction"]),
        truth=float(record["truth"]),
        reason=record["reason"],
        category=record.get("category"),
        reply=reply if isinstance(reply, str) else " ".join(str(part) for part in reply),
        levels=record.get("levels"),
        image=str(media[0]) if media and isinstance(media[0], str) else None,
    )
