"""What a run that is not through has on the disk, so that it can go on: folder `stages` of its output.

stages/config.yaml              the configuration that it was begun with
stages/mat/checkpoint-100/      weights, optimizer, scheduler, random states; a checkpoint that scores
stages/mat/best/                weights of the best evaluation
stages/mat/final/               weights that the stage ended with
stages/mat/done.json            the stage's log and metrics; its presence says that the stage is through
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.train.config import TrainConfig

WHOLE_FILE = "whole"  # written last into a checkpoint; without it, the writing was cut off
_FREE = ("output", "score_batch_size")  # what may change between beginning and resuming
_FREE_TRAIN = (
    "logging_steps",
    "save_steps",
    "save_total_limit",
    "dataloader_num_workers",
    "report_to",
    "on_bad_sample",
    "push_to_hub",
)


@dataclass(frozen=True, slots=True)
class StageResult:
    """How a stage ended.

    Args:
        metrics: of the weights that it ended with, on the validation split; empty without one.
        history: the trainer's log lines.
        skipped: kind and painting of samples that were left out, and why.
    """

    metrics: dict[str, float]
    history: list[dict[str, Any]]
    skipped: dict[str, str]


class StageFolder:
    """Folder of one stage.

    Args:
        path: need not exist.
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
        output: of the run.
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
        """Remove everything."""
        if self.path.is_dir():
            shutil.rmtree(self.path)

    def check(self, config: TrainConfig) -> None:
        """A run goes on as it was begun, or it would end elsewhere.

        Raises:
            ArtQuantError: a key that decides about the result differs.
        """
        path = self.path / "config.yaml"
        before = yaml.safe_load(path.read_text(encoding="utf-8"))
        different = _differing(before, config.model_dump(mode="json"), ())
        if different:
            raise ArtQuantError(
                f"{path} has another {different[0]} than the configuration now; resume with the one of before, or "
                "begin anew with --overwrite"
            )


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a stage, whole or not, oldest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _differing(before: Any, now: Any, place: Sequence[str]) -> list[str]:
    if len(place) == 1 and place[0] in _FREE or len(place) == 2 and place[0] == "train" and place[1] in _FREE_TRAIN:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*before, *now])
        return [name for key in keys for name in _differing(before.get(key), now.get(key), (*place, str(key)))]
    return [] if before == now else [".".join(place)]
