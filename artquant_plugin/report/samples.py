"""lmms-eval's output folders -> the records of each run, so that every report can be made from samples alone."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.errors import ArtQuantError


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One model on one scoring task.

    Args:
        task: its name.
        model: as lmms-eval names the run's folder, or its kind where it has no name.
        date: of the run, as in the file names.
        ids: of the paintings that have a prediction.
        predictions: of these paintings.
        truths: of these paintings.
        failures: count of the other paintings by reason.
        missing: paintings that the dataset's import could not use.
        older: runs of the same model and task that were passed over.
        checkpoint: `Identity` of what was measured, where the model is one of ours.
        file: of the samples.
    """

    task: str
    model: str
    date: str
    ids: list[str]
    predictions: list[float]
    truths: list[float]
    failures: dict[str, int]
    missing: int
    older: int = 0
    checkpoint: dict[str, Any] | None = None
    file: Path = Path()

    @property
    def results_file(self) -> Path:
        """The harness's results of the same run."""
        return _results_file(self.file)


def read_runs(folders: Iterable[Path]) -> list[TaskRun]:
    """The newest run of each model and task.

    Args:
        folders: what ``--output_path`` named; searched with everything below them.

    Raises:
        ArtQuantError: a folder has no samples of a scoring task, or a sample is not of our form.
    """
    newest: dict[tuple[str, str], list[Path]] = {}
    for folder in folders:
        files = sorted(folder.rglob("*_samples_*.jsonl")) if folder.is_dir() else []
        files = [file for file in files if _is_ours(file)]
        if not files:
            raise ArtQuantError(
                f"'{folder}' holds no samples of a scoring task; run lmms-eval with --log_samples --output_path "
                f"{folder}, and look at its log, as it exits with 0 on errors, too"
            )
        for file in files:
            newest.setdefault((_model(file), _task(file)), []).append(file)
    runs = []
    for (model, task), files in sorted(newest.items(), key=lambda item: (item[0][1], item[0][0])):
        *older, file = sorted(set(files), key=lambda path: path.name)
        runs.append(_read(file, model, task, older=len(older)))
    return runs


def holds_runs(folder: Path) -> bool:
    """Whether a folder has samples of a scoring task."""
    return any(_is_ours(file) for file in folder.rglob("*_samples_*.jsonl"))


def _task(file: Path) -> str:
    return file.stem.partition("_samples_")[2]


def _model(file: Path) -> str:
    """The folder's name, which lmms-eval takes from `--model_args`; the kind of model where it finds no name there."""
    try:
        content = json.loads(_results_file(file).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return file.parent.name
    named = content.get("model_name", file.parent.name)
    return file.parent.name if named else content["model_source"]


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
    pairs: dict[str, tuple[float, float]] = {}
    failures: Counter[str] = Counter()
    missing = 0
    checkpoint: dict[str, Any] | None = None
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                sample: dict[str, Any] = json.loads(line)
                record = sample["scored"]
                if record["prediction"] is None:
                    failures[record["reason"]] += 1
                else:
                    pairs[record["id"]] = (float(record["prediction"]), float(record["truth"]))
                missing = max(missing, int(sample["missing"]))
                measured = record.get("checkpoint")  # which a failed painting lacks
                if measured and checkpoint and measured != checkpoint:
                    raise ValueError("checkpoints differ within the file")
                checkpoint = measured or checkpoint
            except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                raise ArtQuantError(
                    f"{file}:{number}: not a sample of a scoring task ({error!r}); run it again"
                ) from error
    return TaskRun(
        task=task,
        model=model,
        date=file.name.partition("_samples_")[0],
        ids=list(pairs),
        predictions=[prediction for prediction, _ in pairs.values()],
        truths=[truth for _, truth in pairs.values()],
        failures=dict(failures),
        missing=missing,
        older=older,
        checkpoint=checkpoint,
        file=file,
    )
