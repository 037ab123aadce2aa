"""What a run leaves: its checkpoint, curves, what it was made of, and how to evaluate it."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_files, atomic_write, link_files
from artquant_plugin.common.provenance import git_commit, versions
from artquant_plugin.common.text import one_line
from artquant_plugin.data.task_names import GROUP, SHIPPED
from artquant_plugin.publish.whitelist import CHECKPOINT
from artquant_plugin.train.config import TrainConfig
from artquant_plugin.train.curves import METRIC_NAMES, draw_curves
from artquant_plugin.train.level_mass import MassChange
from artquant_plugin.train.parts import count_trained
from artquant_plugin.train.stages import RunFolder, StageResult

RECORD_FILE = "training.json"
CURVES_FILE = "training-curves.csv"
PLOT_FILE = "training-curves.png"
CONFIG_FILE = "config.train.yaml"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run left behind.

    Args:
        output: Folder that the checkpoint was written to.
        tasks: Names of lmms-eval's tasks that evaluate on the datasets that were trained on; empty where these have
            none.
        stages: Name and validation metrics of each stage.
        skipped: Number of samples that were left out because their images could not be read.
        seconds: Duration of the whole run, or of its last part where it was resumed.
        level_mass: What became of the level words' probability at the end; None where it was not looked at.
    """

    output: Path
    tasks: tuple[str, ...]
    stages: tuple[tuple[str, dict[str, float]], ...]
    skipped: int
    seconds: float
    level_mass: MassChange | None = None

    @property
    def command(self) -> str:
        """What evaluates the checkpoint."""
        tasks = ",".join(self.tasks) or GROUP
        return (
            f"lmms-eval --model artquant --model_args pretrained={self.output} --tasks {tasks} "
            f"--batch_size 16 --log_samples --output_path {self.output}/results"
        )

    def lines(self) -> list[str]:
        """The run in a few lines for a terminal."""
        lines = []
        for name, metrics in self.stages:
            values = ", ".join(f"{METRIC_NAMES[key]} {value:.3f}" for key, value in metrics.items())
            lines.append(f"stage {name}: validation {values}" if values else f"stage {name}: no validation split")
        scored = [(name, metrics["eval_srocc"]) for name, metrics in self.stages if "eval_srocc" in metrics]
        for (before, earlier), (after, later) in pairwise(scored):
            if earlier - later >= 0.0005:  # else both print alike
                lines.append(
                    f"stage {after} made the validation SROCC worse, by {earlier - later:.3f} against stage {before}; "
                    "lower its learning_rate, or leave the stage out"
                )
        if self.level_mass is not None:
            lines.append(self.level_mass.line)
        if self.skipped:
            lines.append(f"{self.skipped} samples were left out, their images could not be read (see {RECORD_FILE})")
        lines.append(f"checkpoint {self.output} after {self.seconds:.0f} s; evaluate it with")
        return [*lines, f"  {self.command}"]

    @classmethod
    def load(cls, output: Path) -> "RunSummary":
        """The summary of a finished run.

        Args:
            output: Folder that its checkpoint was written to.

        Raises:
            ArtQuantError: The folder holds no record of a run, or one that cannot be read.
        """
        record = read_training_record(output)
        earlier = [name for name in record["data"] if name in SHIPPED]  # of a release that kept no tasks
        mass = record.get("level_mass")
        return cls(
            output,
            tuple(record.get("tasks", earlier)),
            tuple(record["stages"].items()),
            len(record["skipped"]),
            record["seconds"],
            None if mass is None else MassChange(**mass),
        )


def read_training_record(output: Path) -> dict[str, Any]:
    """The content of a finished run's training.json.

    Args:
        output: Folder that the run's checkpoint was written to.

    Raises:
        ArtQuantError: The folder holds no such record, or one that cannot be read.
    """
    path = output / RECORD_FILE
    remedy = "pass --overwrite, or --set output=FOLDER"
    if not path.is_file():
        raise ArtQuantError(
            f"{output} holds a checkpoint without {RECORD_FILE}, so that no run is there to be resumed; {remedy}"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in ("config", "data", "stages", "skipped", "seconds") if name not in record]
    except (ValueError, TypeError) as error:
        raise ArtQuantError(f"'{path}' is no record of a run ({one_line(error)}); {remedy}") from error
    if missing:
        raise ArtQuantError(f"'{path}' is no record of a run (it lacks {missing[0]!r}); {remedy}")
    return dict(record)


def write_output(
    config: TrainConfig,
    made_from: Mapping[str, Any],
    model: Any,
    run: RunFolder,
    results: Sequence[tuple[str, StageResult]],
    summary: RunSummary,
    *,
    save: Callable[[Path], None] | None = None,
) -> None:
    """Put the last stage's checkpoint and the record into the output folder; of an earlier checkpoint nothing stays.

    Args:
        config: Configuration of the run, which names the output folder.
        made_from: What else decided about the weights, as `made_from` gave it when the run began.
        model: The trained model, whose weights are counted.
        run: Folder of the run's stages; while it is there, the run is unfinished.
        results: Name and result of each stage.
        summary: What the run is summed up with in the record.
        save: Writes the checkpoint into a folder, where its weights were changed behind the last stage; None where
            they are the stage's.
    """
    # Without one of the first two names `locate` finds no checkpoint, and the record says that the folder is complete.
    last = ("adapter_config.json", "config.json", RECORD_FILE)
    with atomic_files(config.output, last=last, replaced=list(CHECKPOINT.chosen(config.output))) as part:
        link_files(run.stage(results[-1][0]).weights, part)
        if save is not None:
            save(part)
        counts = count_trained(model)
        trained: dict[str, Any] = {part: {"trained": some, "all": total} for part, (some, total) in counts.items()}
        write_record(part, config, made_from, results, summary, trained)


def write_record(
    folder: Path,
    config: TrainConfig,
    made_from: Mapping[str, Any],
    results: Sequence[tuple[str, StageResult]],
    summary: RunSummary,
    trained: dict[str, Any],
) -> None:
    """Write all files of the record.

    Args:
        folder: Existing folder that the files are written to.
        config: Configuration of the run, complete with defaults.
        made_from: What else decided about the weights, as `made_from` gave it when the run began.
        results: Name and result of each stage.
        summary: What the run is summed up with in the record.
        trained: Number of trained weights and of all weights, by part of the model.
    """
    lines = [{"stage": name, **line} for name, result in results for line in result.history]
    _write_curves(folder / CURVES_FILE, lines)
    draw_curves(
        folder / PLOT_FILE,
        lines,
        title=f"Training of {config.output.name}",
        samples={stage.name: stage.samples for stage in config.stages},
    )
    record = {
        "config": config.model_dump(mode="json"),
        "data": {dataset["name"]: dataset["files"] for dataset in made_from["datasets"]},
        "made_from": dict(made_from),
        "stages": dict(summary.stages),
        "level_mass": None if summary.level_mass is None else asdict(summary.level_mass),
        "trained": trained,
        "skipped": {name: reason for _, result in results for name, reason in result.skipped.items()},
        "tasks": list(summary.tasks),
        "evaluate": summary.command,
        "seconds": round(summary.seconds, 1),
        "git_commit": git_commit(),
        "versions": versions(),
    }
    with atomic_write(folder / RECORD_FILE) as file:
        file.write(json.dumps(record, indent=2) + "\n")
    with atomic_write(folder / CONFIG_FILE) as file:
        file.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _write_curves(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for line in lines for key in line))
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(lines)
