"""Reads the runs of scoring tasks from lmms-eval's output folders; a report needs only their logged samples."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.progress import progress
from artquant_plugin.common.tables import parse_number, read_json_values
from artquant_plugin.common.text import one_line
from artquant_plugin.harness.plugin import OWN_QUESTION, REQUEST
from artquant_plugin.report.model_names import full_name, readable_names

ATTRIBUTE = ": "  # stands between a task or dataset and an attribute of it; no dataset's own name has it
NOT_FINITE = "not_finite"  # the reason of a painting whose logged prediction is NaN, infinite or no number
OWN_PROMPT = "own"  # the prompt of a model that asks its own question
UNKNOWN = "unknown"  # the reason of a painting that has neither a prediction nor a reason
SHOWN_AFTER = 2.0  # seconds of reading after which a progress bar appears on a terminal


@dataclass(frozen=True, slots=True)
class LoggedSample:
    """What lmms-eval logged about one painting of a run.

    Args:
        id: id of the painting in its dataset.
        prediction: the predicted score, in the dataset's unit unless the model measures in its own; None for none.
        truth: the human score, in the dataset's unit.
        reason: why there is no prediction, such as ``refusal``; None when there is one.
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
        model: name of the model, unique among the runs that were read together (`readable_names`).
        date: date of the run, as in the names of its files.
        missing: number of paintings that the dataset's import could not use.
        file: the file of the logged samples.
        samples: the samples of all paintings, with a prediction or without.
        older: number of older runs of the same model and task that were not used.
        prompt: name and version of the prompt in the task's metadata; ``own`` where the model asks its own question,
            followed by the name of the preset where one was used; empty where it is not known.
        from_range: number of predictions that are the mid-point of a range that the model replied with.
        has_own_unit: whether the predictions are in a unit of their own, so that errors against human scores mean
            nothing.
        checkpoint: name, revision and hash of the weights that were measured (`Identity`); None where the samples do
            not tell, as those of models outside this package.
        full_name: the whole name of the model (`full_name`), of which `model` may be the end.
        attribute: the attribute that was asked for, such as ``Color``; empty for the score of the whole painting. A
            task that asks for several attributes gives a run for each.
        gaps: number of paintings that people gave no score of the attribute, and that were therefore not asked about.
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
    full_name: str = ""
    attribute: str = ""
    gaps: int = 0

    @property
    def title(self) -> str:
        """What tables and plots call the task: its name, and the attribute where one was asked for."""
        return titled(self.task, self.attribute)

    @property
    def names(self) -> list[str]:
        """What the model is called: as its run named it, and as its checkpoint is called where the samples tell."""
        return [self.full_name, *([] if self.checkpoint is None else [str(self.checkpoint.get("name") or "")])]

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
        return dict(Counter(sample.reason or UNKNOWN for sample in self.samples if sample.prediction is None))

    @property
    def results_file(self) -> Path:
        """The results file that lmms-eval wrote for the same run; it may be missing."""
        return _results_file(self.file)


def holds_runs(folder: Path) -> bool:
    """Whether a folder holds logged samples of a scoring task; False for a folder that does not exist."""
    return any(_has_scored_samples(file) for file in _samples_files(folder))


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
        files = [file for file in _samples_files(folder) if _has_scored_samples(file)]
        if not files:
            raise _no_runs(folder)
        for file in files:
            newest.setdefault((full_name_of(file), _task(file)), []).append(file)
    names = readable_names(model for model, _ in newest)
    runs = []
    for (model, task), files in sorted(newest.items(), key=lambda item: (item[0][1], names[item[0][0]])):
        *older, file = sorted(set(files), key=lambda path: path.name)
        found = _read_runs_of(file, names[model], task, older=len(older))
        runs += [replace(run, full_name=model) for run in found]
    return runs


def titled(name: str, attribute: str) -> str:
    """The name of a task or dataset, with the attribute that is scored where there is one.

    Args:
        name: that of the task or dataset.
        attribute: the attribute's name; empty for the score of the whole painting.

    Example:
        >>> titled("apdd", "Light and shadow"), titled("apdd", "")
        ('apdd: Light and shadow', 'apdd')
    """
    return f"{name}{ATTRIBUTE}{attribute}" if attribute else name


def _task(file: Path) -> str:
    return file.stem.partition("_samples_")[2]


def full_name_of(file: Path) -> str:
    """The whole name of the model that was run (`full_name`).

    Args:
        file: the file of the logged samples.
    """
    return full_name(results_content(file), file.parent.name)


def as_object(value: Any) -> dict[str, Any]:
    """A JSON value if it is an object; an empty object for any other value."""
    return value if isinstance(value, dict) else {}


def _no_runs(folder: Path) -> ArtQuantError:
    """The error for a path at which there is no run of a scoring task. It names the cause that the files show."""
    if not folder.exists():
        return ArtQuantError(f"'{folder}' does not exist; name the folder that lmms-eval's --output_path named")
    if not folder.is_dir():
        return ArtQuantError(
            f"'{folder}' is a file; name the folder that lmms-eval's --output_path named, such as '{folder.parent}'"
        )
    samples = _samples_files(folder)
    first = {file: as_object(_first_value(file)) for file in samples}
    bypassed = next((file for file, value in first.items() if "bypass" in value), None)
    if bypassed is not None:
        return ArtQuantError(
            f"'{folder}' holds a run with --predict_only, which computes no scores ('{bypassed.name}'); run lmms-eval "
            "again without --predict_only"
        )
    if any("described" in value for value in first.values()):
        return ArtQuantError(
            f"'{folder}' holds descriptions ('{samples[0].name}') and no run of a scoring task; name the folder of one"
        )
    if samples:
        empty = " (it is empty)" if not samples[0].stat().st_size else ""
        return ArtQuantError(
            f"'{folder}' holds no samples of a scoring task, only others such as '{samples[0].name}'{empty}; run "
            f"lmms-eval with --log_samples --output_path {folder} and a task such as baid"
        )
    results = sorted(folder.rglob("*_results.json"))
    if results:
        return ArtQuantError(
            f"'{folder}' holds results without samples ('{results[0].name}'); run lmms-eval with --log_samples "
            f"--output_path {folder}"
        )
    return ArtQuantError(
        f"'{folder}' holds no samples of a scoring task; run lmms-eval with --log_samples --output_path {folder}, and "
        "look at its log, since it exits with 0 on errors, too"
    )


def _samples_files(folder: Path) -> list[Path]:
    """The files of logged samples below a folder, sorted; pipes and folders of such a name are left out."""
    return sorted(file for file in folder.rglob("*_samples_*.jsonl") if file.is_file()) if folder.is_dir() else []


def _prompt(file: Path, task: str, checkpoint: dict[str, Any] | None) -> str:
    """Name and version of the prompt that made the samples; empty where the results file is missing."""
    content = results_content(file)
    metadata = as_object(as_object(as_object(content.get("configs")).get(task)).get("metadata"))
    # This package's models ask their own question on tasks that request a score, whatever the task's prompt is.
    own = content.get("model_source") in OWN_QUESTION and metadata.get(REQUEST) is not None
    if not own:
        return str(metadata.get("prompt", ""))
    return f"{OWN_PROMPT}: {checkpoint['scoring']}" if checkpoint and "scoring" in checkpoint else OWN_PROMPT


def results_content(file: Path) -> dict[str, Any]:
    """The content of the results file of a run; empty where the file is missing or broken.

    Args:
        file: the file of the run's logged samples.
    """
    try:
        return as_object(json.loads(_results_file(file).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}


def _results_file(samples: Path) -> Path:
    return samples.with_name(f"{samples.name.partition('_samples_')[0]}_results.json")


def _has_scored_samples(file: Path) -> bool:
    """Whether a file of logged samples is of a scoring task of this package, whose lines have an object ``scored``."""
    return isinstance(as_object(_first_value(file)).get("scored"), dict)


def _first_value(file: Path) -> Any:
    """The JSON value in a file's first line; None where there is none."""
    try:
        with file.open(encoding="utf-8") as lines:
            return json.loads(lines.readline())
    except (ValueError, RecursionError):
        return None


@dataclass
class _Reading:
    """What is known of the samples of one attribute, or of a task that asks for none, while they are read."""

    samples: dict[str, LoggedSample] = field(default_factory=dict)
    missing: int = 0
    gaps: int = 0
    from_range: int = 0
    has_own_unit: bool = False
    checkpoint: dict[str, Any] | None = None

    def add(self, value: dict[str, Any]) -> None:
        """Take in a line of the samples file; a ValueError or KeyError says what is wrong with it."""
        record = value["scored"]
        sample = _sample(value)
        if self.samples.setdefault(sample.id, sample) != sample:
            raise ValueError(f"painting {sample.id!r} stands twice")
        self.from_range += bool(record.get("from_range"))
        self.has_own_unit = self.has_own_unit or record.get("measurement") is not None
        self.missing = max(self.missing, int(value["missing"]))
        self.gaps = max(self.gaps, int(record.get("gaps") or 0))
        weights = record.get("checkpoint")  # a failed painting has none
        if weights and self.checkpoint and weights != self.checkpoint:
            raise ValueError("checkpoints differ within the file")
        self.checkpoint = weights or self.checkpoint


def _read_runs_of(file: Path, model: str, task: str, *, older: int) -> list[TaskRun]:
    """The run of a file of samples; one for each attribute where the task asks for several."""
    readings: dict[str, _Reading] = {}
    values = read_json_values(str(file), expected="a sample of a scoring task", remedy="run it again")
    for place, value in progress(values, f"read {task}", "sample", None, delay=SHOWN_AFTER):
        try:
            readings.setdefault(str(value["scored"].get("attribute") or ""), _Reading()).add(value)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            problem = one_line(f"lacks {error}" if isinstance(error, KeyError) else error)
            raise ArtQuantError(f"{place}: not a sample of a scoring task ({problem}); run it again") from error
    return [
        TaskRun(
            task=task,
            model=model,
            date=file.name.partition("_samples_")[0],
            missing=reading.missing,
            file=file,
            samples=list(reading.samples.values()),
            older=older,
            prompt=_prompt(file, task, reading.checkpoint),
            from_range=reading.from_range,
            has_own_unit=reading.has_own_unit,
            checkpoint=reading.checkpoint,
            attribute=attribute,
            gaps=reading.gaps,
        )
        for attribute, reading in sorted(readings.items())
    ]


def _sample(line: dict[str, Any]) -> LoggedSample:
    """A line of the samples file; a ValueError says what is wrong with it."""
    record = line["scored"]
    prediction, reason = record["prediction"], record["reason"]
    truth = parse_number(record["truth"])
    if truth is None:
        raise ValueError(f"the human score {record['truth']!r} is no finite number")
    score = parse_number(prediction)
    if score is None and prediction is not None:
        reason = NOT_FINITE
    elif score is None:
        reason = str(reason or UNKNOWN)
    reply, media, levels = line.get("filtered_resps", ""), line.get("input_media"), record.get("levels")
    return LoggedSample(
        id=str(record["id"]),
        prediction=score,
        truth=truth,
        reason=reason,
        category=None if record.get("category") is None else str(record["category"]),
        reply=reply if isinstance(reply, str) else " ".join(str(part) for part in reply),
        levels=None if levels is None else {str(word): float(share) for word, share in levels.items()},
        image=media[0] if isinstance(media, list) and media and isinstance(media[0], str) else None,
    )
