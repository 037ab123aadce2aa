"""What a run that is not through has on the disk, so that it can go on: folder `stages` of its output.

stages/config.yaml              the configuration that it was begun with
stages/mat/checkpoint-100/      weights, optimizer, scheduler, random states; a checkpoint that scores
stages/mat/best/                weights of the best evaluation
stages/mat/final/               weights that the stage ended with
stages/mat/done.json            the stage's log and metrics; its presence says that the stage is through
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.run_record import refuse_changes
from artquant_plugin.train.config import TrainConfig

WHOLE_FILE = "whole"  # written last into a checkpoint; without it, the writing was cut off
# What may change between the beginning of a run and its resumption, because the trained weights do not depend on it.
_FREE = ("output", "score_batch_size")
_FREE_TRAIN = (
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "dataloader_persistent_workers",
    "disable_tqdm",
    "hub_always_push",
    "hub_model_id",
    "hub_private_repo",
    "hub_revision",
    "hub_strategy",
    "log_level",
    "log_level_replica",
    "log_on_each_node",
    "logging_first_step",
    "logging_steps",
    "logging_strategy",
    "on_bad_sample",
    "project",
    "push_to_hub",
    "report_to",
    "run_name",
    "save_steps",
    "save_strategy",
    "save_total_limit",
)


@dataclass(frozen=True, slots=True)
class StageResult:
    """How a stage ended.

    Args:
        metrics: ``eval_srocc``, ``eval_plcc`` and ``eval_level_mass`` of the weights that the stage ended with, on the
            validation split; empty without one.
        history: The trainer's log, one dictionary per line.
        skipped: Why each sample was left out, by its kind and painting.
    """

    metrics: dict[str, float]
    history: list[dict[str, Any]]
    skipped: dict[str, str]


class StageFolder:
    """Folder of one stage, or the output folder of a trainer that is used from Python.

    Args:
        path: Place of the folder, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "best"
        self.final = path / "final"

    def result(self) -> StageResult | None:
        """The result of a stage that is through, else None."""
        path = self.path / "done.json"
        if not path.is_file():
            return None
        return StageResult(**json.loads(path.read_text(encoding="utf-8")))

    def keep_newest(self, count: int) -> None:
        """Remove all checkpoints but the newest ones that were written whole.

        Args:
            count: How many are kept, at least 1.
        """
        kept = [path for path in checkpoints(self.path) if (path / WHOLE_FILE).is_file()][-count:]
        for path in checkpoints(self.path):
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def take_best(self) -> None:
        """Have the stage end with the weights of its best evaluation."""
        shutil.rmtree(self.final, ignore_errors=True)
        self.best.rename(self.final)

    def finish(self, result: StageResult) -> None:
        """Say that the stage is through, and drop what it needed to go on."""
        with atomic_write(self.path / "done.json") as file:
            file.write(
                json.dumps({"metrics": result.metrics, "history": result.history, "skipped": result.skipped}) + "\n"
            )
        for checkpoint in checkpoints(self.path):
            shutil.rmtree(checkpoint, ignore_errors=True)

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint that was written whole."""
        return next((path for path in reversed(checkpoints(self.path)) if (path / WHOLE_FILE).is_file()), None)


class RunFolder:
    """Folder `stages` of a run.

    Args:
        output: Output folder of the run.
    """

    def __init__(self, output: Path) -> None:
        self.path = output / "stages"

    def stage(self, name: str) -> StageFolder:
        """Folder of a stage."""
        return StageFolder(self.path / name)

    @property
    def begun(self) -> bool:
        """Whether a run was begun here and is not through."""
        return (self.path / "config.yaml").is_file()

    def begin(self, config: TrainConfig) -> None:
        """Make the folder and write what the run was begun with."""
        with atomic_write(self.path / "config.yaml") as file:
            file.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))

    def clear(self) -> None:
        """Remove the folder `stages` with its checkpoints."""
        if self.path.is_dir():
            shutil.rmtree(self.path)

    def check(self, config: TrainConfig) -> None:
        """Stop when the run was begun with another configuration, as it would end elsewhere.

        Args:
            config: The configuration that the run is to go on with.

        Raises:
            ArtQuantError: A key that decides about the trained weights differs.
        """
        before = yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))
        refuse_changes(
            self.path,
            _deciding(before),
            _deciding(config.model_dump(mode="json")),
            remedy="resume with the configuration that the run began with, or begin anew with --overwrite",
        )


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a stage, whole or not, oldest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _deciding(content: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that decide about the trained weights."""
    kept = {key: value for key, value in content.items() if key not in _FREE}
    return kept | {"train": {key: value for key, value in content["train"].items() if key not in _FREE_TRAIN}}
