"""Carrying out trials: what is missing is trained and scored, and what is finished is never repeated.

A trial that was killed goes on where the trainer's checkpoints and the shards of scores leave it. Under
`accelerate launch` all processes go through the trials together; `--shard` and Ray give each trial to one of several.
"""

import gc
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from artquant_plugin.bulk.checkpoint_engine import CheckpointEngine
from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.bulk.ray import import_ray, join_cluster
from artquant_plugin.bulk.shards import DONE_FILE, Share, score_to_folder
from artquant_plugin.common.device import default_device
from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.run_record import read_record
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.train.config import TrainConfig
from artquant_plugin.train.data import description_samples, load_training_data
from artquant_plugin.train.record import RECORD_FILE, read_training_record
from artquant_plugin.train.run import StoppedRun, on_main_process, train
from artquant_plugin.train.stages import RUN_FILE, RunFolder, refuse_other_run
from artquant_plugin.train.studies.description_loss import kept_description_loss
from artquant_plugin.train.studies.plan import Trial
from artquant_plugin.train.tiny import build_tiny_model

SHARD_SIZE = 256  # paintings in a file of scores; several processes share a test set in these pieces
BYTES = 4  # of a weight that is trained, and of each of Adam's two moments
REMEDY = "go on with the configuration that it was made with, or set another output"

Say = Callable[[str], None]


class StoppedStudyError(ArtQuantError):
    """A study that was asked to end before all of its trials were carried out; the same command goes on."""


def is_trained(config: TrainConfig) -> bool:
    """Whether a training is finished, so that its output folder holds the checkpoint."""
    return (config.output / RECORD_FILE).is_file() and not RunFolder(config.output).begun


def is_finished(trial: Trial) -> bool:
    """Whether nothing of a trial is missing: the checkpoint, all scores, and the loss of descriptions."""
    scored = all((trial.scores(test) / DONE_FILE).is_file() for test in trial.tests)
    measured = len(trial.trainings) == 1 or trial.description_loss.is_file()
    return scored and measured and all(map(is_trained, trial.trainings))


def check(trials: Sequence[Trial], run_gigabytes: float | None, *, write: bool) -> None:
    """Refuse, before the first run, what one of the runs would end with.

    Args:
        trials: All trials of the studies.
        run_gigabytes: Room that a finished run takes, in 10**9 bytes; None to estimate it.
        write: Whether datasets that are derived for the trials are made; otherwise those that are not there are not
            looked into.

    Raises:
        ArtQuantError: A dataset or its descriptions are not there, a folder was made from another configuration, or
            the disk has not enough room.
    """
    for trial in trials:
        for config in trial.trainings:
            _refuse_other_configuration(config)
    derived = dict.fromkeys(each for trial in trials for each in trial.derived)
    for each in derived:
        if write:
            each.make()
    absent = {each.folder for each in derived if not each.folder.is_dir()}
    _check_data(trials, absent)
    _check_disk(trials, run_gigabytes)


def _refuse_other_configuration(config: TrainConfig) -> None:
    run = RunFolder(config.output)
    if run.begun:
        record = read_record(run.path / RUN_FILE, remedy="remove the folder", fields=("config",)) or {}
    elif (config.output / RECORD_FILE).is_file():
        record = read_training_record(config.output)
    else:
        return
    refuse_other_run(config.output, {"config": record["config"]}, config, {}, remedy=REMEDY)


def _check_data(trials: Sequence[Trial], absent: Collection[Path]) -> None:
    """See that the datasets have what the trials train on and score; each kind of training is looked at once."""
    seen: set[Any] = set()
    for trial in trials:
        for config in trial.trainings:
            kinds = tuple(sorted({kind for stage in config.stages for kind in stage.samples}))
            kind = (config.data, config.descriptions, config.levels, kinds)
            if kind in seen or is_trained(config) or Path(config.data[0].name) in absent:
                continue
            seen.add(kind)
            with _naming(trial):
                load_training_data(config)
        for test in trial.tests:
            if test.folder in absent:
                continue
            dataset = Dataset.load(test.folder)
            dataset.files(test.split)
            needs_texts = len(trial.trainings) > 1
            if needs_texts and (test, needs_texts) not in seen:
                seen.add((test, needs_texts))
                with _naming(trial):
                    description_samples(dataset, dataset.split(test.split))


@contextmanager
def _naming(trial: Trial) -> Iterator[None]:
    """Have the error about a trial's data say which trial needs it."""
    try:
        yield
    except ArtQuantError as error:
        raise ArtQuantError(f"{trial.name}: {error}") from error


def estimated_bytes(trials: Sequence[Trial], run_gigabytes: float | None) -> int | None:
    """Room on the disk that the files of one finished run take.

    Args:
        trials: All trials of the studies.
        run_gigabytes: What the user says, in 10**9 bytes; None to take the size of a run that is finished, or the
            number of weights of a tiny model.

    Returns:
        Bytes; None where nothing tells it, as before the first run from a pretrained model.
    """
    if run_gigabytes is not None:
        return int(run_gigabytes * 1e9)
    done = next((trial for trial in trials if is_finished(trial)), None)
    if done is not None:
        return sum(path.stat().st_size for path in done.folder.rglob("*") if path.is_file())
    tiny = trials[0].trainings[0].model.tiny
    if tiny is None:
        return None
    model, _ = build_tiny_model(tiny, ["a tokenizer of few words"], seed=0)
    words = 2 * tiny.hidden * tiny.vocabulary  # at most, of the embedding and the output head
    return BYTES * (sum(weights.numel() for weights in model.parameters()) + words)


def needed_bytes(trials: Sequence[Trial], run_gigabytes: float | None) -> int | None:
    """Room on the disk that the trials that are missing take, the checkpoints of the one that trains included.

    Args:
        trials: All trials of the studies.
        run_gigabytes: What the user says that one finished run takes, in 10**9 bytes; None to estimate it.
    """
    missing = [trial for trial in trials if not is_finished(trial)]
    one = estimated_bytes(trials, run_gigabytes)
    if one is None or not missing:
        return None if one is None else 0
    kept = max(int(config.train.save_total_limit or 1) for trial in missing for config in trial.trainings)
    runs = sum(len(trial.trainings) for trial in missing)
    return runs * one + one * (3 * kept + 2)  # a checkpoint has weights and two moments


def _check_disk(trials: Sequence[Trial], run_gigabytes: float | None) -> None:
    needed = needed_bytes(trials, run_gigabytes)
    folder = trials[0].folder.absolute()
    existing = next(path for path in folder.parents if path.is_dir())
    free = shutil.disk_usage(existing).free
    if needed is not None and needed > free:
        runs = sum(not is_finished(trial) for trial in trials)
        raise ArtQuantError(
            f"{runs} runs take about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at '{existing}'; make "
            "room, set output to another disk, take fewer seeds or datasets, or set run_gigabytes if the estimate is "
            "wrong"
        )


def carry_out(trials: Sequence[Trial], share: Share, say: Say) -> None:
    """Train and score what is missing, one trial after the other.

    Args:
        trials: All trials of the studies, in their order.
        share: The trials of this process, or of all processes that were launched together.
        say: Gets a line about each trial.

    Raises:
        ArtQuantError: A trial failed, or the run was asked to end (`StoppedStudyError`).
        MachineError: A fault of this machine ended a trial; the same command goes on.
    """
    own = [(number, trial) for number, trial in enumerate(trials) if number in share and not is_finished(trial)]
    for number, trial in own:
        say(f"run {number + 1} of {len(trials)}: {trial.name}")
        run_trial(trial)


def carry_out_on_ray(trials: Sequence[Trial], say: Say) -> None:
    """Train and score what is missing on a Ray cluster, each trial by a process of its own.

    Args:
        trials: All trials of the studies; their folders are on storage that all machines share.
        say: Gets a line when a trial is finished.

    Raises:
        ArtQuantError: Ray is not installed, or a trial failed; the others are finished first.
    """
    missing = [trial for trial in trials if not is_finished(trial)]
    if not missing:
        return
    ray = import_ray()
    gpus = join_cluster(ray)
    remote = ray.remote(num_gpus=1 if gpus else 0, max_calls=1)(_run_remote)
    open_tasks = {remote.remote(trial, str(Path.cwd())): trial for trial in missing}
    failures = []
    while open_tasks:
        (ready,), _ = ray.wait(list(open_tasks), num_returns=1)
        trial, problem = open_tasks.pop(ready), ray.get(ready)
        say(f"{trial.name}: {problem or 'finished'}")
        failures += [f"{trial.name}: {problem}"] if problem else []
    if failures:
        raise ArtQuantError(f"{len(failures)} of {len(missing)} runs failed, {failures[0]}")


def _run_remote(trial: Trial, folder: str) -> str:
    """One trial in a worker of Ray; returns what stopped it as one line, or an empty text."""
    os.chdir(folder)
    try:
        run_trial(trial)
    except (ArtQuantError, MachineError) as error:
        return str(error)  # one line for the user, instead of the cluster's trace
    return ""


def run_trial(trial: Trial) -> None:
    """Train and score what is missing of one trial.

    Args:
        trial: The trial; under a launcher, every process calls this function with the same one.

    Raises:
        ArtQuantError: A training or the scoring failed, or the run was asked to end (`StoppedStudyError`).
        MachineError: A fault of this machine ended it.
    """
    for config in trial.trainings:
        if is_trained(config):
            continue
        result = train(config, resume=True)
        if isinstance(result, StoppedRun):
            raise StoppedStudyError(f"{trial.name} was stopped as asked; the same command goes on")
        _free_memory()
    last = trial.trainings[-1]
    if len(trial.trainings) > 1:
        (test, *_), first = trial.tests, trial.trainings[0]
        on_main_process(
            lambda: kept_description_loss(
                trial.description_loss,
                first.output,
                test.folder,
                test.split,
                batch_size=first.train.per_device_train_batch_size,
            )
        )
    state = PartialState()
    device = f"cuda:{state.local_process_index}" if default_device() == "cuda" else None
    for test in trial.tests:
        engine = CheckpointEngine(str(last.output), device=device, batch_size=last.score_batch_size)
        score_to_folder(
            find_inputs([str(test.folder)], split=test.split),
            engine,
            trial.scores(test),
            shard_size=SHARD_SIZE,
            share=Share(state.process_index, state.num_processes),
            show=False,
        )
    state.wait_for_everyone()
    _free_memory()


def _free_memory() -> None:
    """Have nothing of one run left on the GPU when the next one begins."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
