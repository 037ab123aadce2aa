"""What an unfinished run has on the disk, so that it can be resumed: folder `stages` of its output.

stages/run.json                 configuration, data and weights that the run began with; while it is there, the run is
                                unfinished, whatever else the output folder holds
stages/mat/checkpoint-100/      weights, optimizer, scheduler, random states; a checkpoint that scores
stages/mat/best/                weights of the best evaluation so far
stages/mat/final/               weights that the stage ended with, where it did not end with the best ones
stages/mat/done.json            the stage's log and metrics; its presence says that the stage is finished

A process may be killed between any two file operations. So every folder appears whole, in one step, or has a file that
is written last and removed first: ``whole`` in a checkpoint, done.json in a stage, run.json in `stages`.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.hub import is_hub_id, split_revision
from artquant_plugin.common.run_record import only_writer, read_record, refuse_changes, write_record
from artquant_plugin.common.text import one_line
from artquant_plugin.train.config import TrainConfig

WHOLE_FILE = "whole"  # written last into a checkpoint; without it, the writing was cut off
LOCK_FILE = ".training.lock"
RUN_FILE = "run.json"
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

    @property
    def weights(self) -> Path:
        """Checkpoint with the weights that the stage ended with: the best ones, where a best evaluation was kept."""
        return self.best if self.best.is_dir() else self.final

    def result(self) -> StageResult | None:
        """The result of a stage that is finished, else None.

        Raises:
            ArtQuantError: The file of the result is there and holds none, as after a fault of the disk.
        """
        path = self.path / "done.json"
        if not path.is_file():
            return None
        try:
            return StageResult(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ArtQuantError(
                f"'{path}' is no result of a stage ({one_line(error)}); begin anew with --overwrite"
            ) from error

    def keep_newest(self, count: int) -> None:
        """Remove all checkpoints but the newest ones that were written whole.

        Args:
            count: How many are kept, at least 1.
        """
        kept = [path for path in checkpoints(self.path) if (path / WHOLE_FILE).is_file()][-count:]
        for path in checkpoints(self.path):
            if path not in kept:
                remove_checkpoint(path)

    def finish(self, result: StageResult) -> None:
        """Write that the stage is finished, and remove the checkpoints from which it would have been resumed."""
        with atomic_write(self.path / "done.json") as file:
            file.write(
                json.dumps({"metrics": result.metrics, "history": result.history, "skipped": result.skipped}) + "\n"
            )
        for checkpoint in checkpoints(self.path):
            remove_checkpoint(checkpoint)

    def begin_anew(self) -> None:
        """Have no weights of an earlier training pass for those of the one that begins.

        Raises:
            ArtQuantError: A checkpoint is there from which an earlier training could go on.
        """
        earlier = self.last_checkpoint()
        if earlier is not None:
            raise ArtQuantError(
                f"{self.path} holds {earlier.name} of an earlier training; go on from it with "
                "train(resume_from_checkpoint=True), or remove it, or set another output_dir"
            )
        shutil.rmtree(self.best, ignore_errors=True)

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint that was written whole."""
        return next((path for path in reversed(checkpoints(self.path)) if (path / WHOLE_FILE).is_file()), None)


class RunFolder:
    """Folder `stages` of a run.

    Args:
        output: Output folder of the run.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = output / "stages"
        self._record = self.path / RUN_FILE

    def stage(self, name: str) -> StageFolder:
        """Folder of a stage."""
        return StageFolder(self.path / name)

    @property
    def begun(self) -> bool:
        """Whether a run was begun here and is not finished."""
        return self._record.is_file()

    @contextmanager
    def only_run(self) -> Iterator[None]:
        """Hold the lock of the output folder, which is made when absent, and removed again when nothing was written.

        Raises:
            ArtQuantError: Another process trains into this folder, or the folder cannot be written to.
        """
        was_there = self.output.exists()
        lock = self.output / LOCK_FILE
        with only_writer(lock, self.output, elsewhere="--set output=FOLDER"):
            try:
                yield
            finally:
                with suppress(OSError):  # the folder is not empty, or the system removes no file that is open
                    lock.unlink()
                    if not was_there:
                        self.output.rmdir()

    def begin(self, config: TrainConfig, made_from: Mapping[str, Any]) -> None:
        """Write what the run begins with, or goes on with; what an earlier run left behind is removed.

        Args:
            config: Configuration of the run, with its defaults filled in.
            made_from: What else decides about its weights, as `made_from` gives it.
        """
        if not self.begun:
            self.clear()
        write_record(self._record, {"config": config.model_dump(mode="json"), **made_from})

    def clear(self) -> None:
        """Remove the folder `stages` with its checkpoints; from the first file on, the run counts as not begun."""
        self._record.unlink(missing_ok=True)
        if self.path.is_dir():
            shutil.rmtree(self.path)

    def check(self, config: TrainConfig, made_from: Mapping[str, Any]) -> None:
        """Stop when the run was begun with something else, since it would then end with other weights.

        Args:
            config: The configuration that the run is to be resumed with.
            made_from: What else it is to be resumed with: some or all keys of `made_from`.

        Raises:
            ArtQuantError: Something differs that decides about the trained weights, or the record cannot be read.
        """
        remedy = (
            "resume with the configuration, data and model that the run began with, or begin anew with --overwrite"
        )
        record = read_record(
            self._record,
            kind="record of a run",
            remedy="begin anew with --overwrite",
            fields=("config", "datasets", "weights", "processes"),
        )
        if record is not None:
            refuse_other_run(self.path, record, config, made_from, remedy=remedy)


def refuse_other_run(
    place: Path, record: Mapping[str, Any], config: TrainConfig, made_from: Mapping[str, Any], *, remedy: str
) -> None:
    """Stop when a run was made from something else than is asked for now.

    Args:
        place: Folder of the run, for the message.
        record: What it was made from: its ``config`` and the keys of `made_from`.
        config: The configuration that is asked for now.
        made_from: What else is asked for now: some or all keys of `made_from`.
        remedy: How the message ends, in the imperative.

    Raises:
        ArtQuantError: Something differs that decides about the trained weights.
    """
    known = {key: value for key, value in made_from.items() if key in record}  # earlier releases knew fewer keys
    before = _deciding(record["config"]) | {key: record[key] for key in known}
    refuse_changes(place, before, _deciding(config.model_dump(mode="json")) | known, remedy=remedy)


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint; the file that says that it is whole goes first."""
    (folder / WHOLE_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a stage, whole or not, oldest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _deciding(content: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that decide about the trained weights.

    The revision of a model on the Hub is left out: its commit is part of the weights' identity, however it was named.
    """
    kept = {key: value for key, value in content.items() if key not in _FREE}
    model = {
        key: split_revision(value)[0] if isinstance(value, str) and is_hub_id(split_revision(value)[0]) else value
        for key, value in content["model"].items()
    }
    train = {key: value for key, value in content["train"].items() if key not in _FREE_TRAIN}
    # Earlier releases wrote 1 where it was not given.
    train["gradient_accumulation_steps"] = train.get("gradient_accumulation_steps") or 1
    if not (kept.get("attributes") or {}).get("names"):
        kept.pop("attributes", None)  # a key that earlier releases did not know
    return kept | {"model": model, "train": train}
