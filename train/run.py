"""A training run: load or build the model, run the stages, write one checkpoint and its record."""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from artquant_plugin.checkpoint import SCORING_FILE, restore_weights
from artquant_plugin.common.device import default_device
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train import preflight
from artquant_plugin.train.arguments import (
    check_gpus,
    check_trackers,
    stage_samples,
    stage_trainer,
    steps,
    tensorboard,
)
from artquant_plugin.train.callbacks import Flow, StopRequest, any_process
from artquant_plugin.train.config import StageSection, TrainConfig
from artquant_plugin.train.model import Setting, begin_model, prepare
from artquant_plugin.train.outcome import write_outcome
from artquant_plugin.train.pushing import check_push, push_last
from artquant_plugin.train.record import Summary
from artquant_plugin.train.stages import RunFolder, StageFolder, StageResult

METRICS: tuple[str, ...] = ("eval_srocc", "eval_plcc")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stopped:
    """A run that was asked to end before it was through.

    Args:
        stage: in which it ended.
        checkpoint: that it goes on from; None when it had not begun the stage.
    """

    stage: str
    checkpoint: Path | None


def train(
    config: TrainConfig, *, overwrite: bool = False, resume: bool = False, say: Say | None = None
) -> Summary | Stopped:
    """Run all stages.

    Args:
        config: checked configuration.
        overwrite: begin anew where a run was begun, and replace a finished checkpoint in the output folder.
        resume: go on where a run of this configuration ended; a finished one is left as it is.
        say: gets each line of the check before the first step; nothing is said when None.

    Returns:
        The summary, or where the run stopped when it got SIGTERM.

    Raises:
        ArtQuantError: data or model are missing or do not fit; the output holds a run already; the run failed.
    """
    started = time.monotonic()
    state = _processes()
    run = RunFolder(config.output)
    if (config.output / SCORING_FILE).exists() and not overwrite:
        if resume:
            return Summary.load(config.output)
        raise ArtQuantError(f"{config.output} holds a finished checkpoint; pass --overwrite or another output")
    if run.begun and not (overwrite or resume):
        raise ArtQuantError(
            f"{config.output} holds a run that is not through; go on with --resume or pass --overwrite"
        )
    if run.begun and not overwrite:
        run.check(config)
    check_trackers(config)
    check_push(config)
    setting, model = prepare(config)
    for line in _preflight(setting, model):
        if say is not None and state.is_main_process:
            say(line)
    state.wait_for_everyone()  # all have looked for a run of before when this one begins
    if state.is_main_process:
        if overwrite:
            run.clear()
        run.begin(config)
    state.wait_for_everyone()

    results: list[tuple[str, StageResult]] = []
    with StopRequest().listening() as request:
        for stage in config.stages:
            folder = run.stage(stage.name)
            result = folder.result()
            if result is not None:
                restore_weights(model, folder.final)
            else:
                if any_process(request.made):
                    return Stopped(stage.name, None)
                trained = _run_stage(setting, stage, model, folder, request)
                if isinstance(trained, Stopped):
                    return trained
                model, result = trained
            results.append((stage.name, result))
    summary = Summary(
        output=config.output,
        datasets=tuple(dataset.info.name for dataset in setting.material.datasets),
        stages=tuple((name, result.metrics) for name, result in results),
        skipped=len({name for _, result in results for name in result.skipped}),
        seconds=time.monotonic() - started,
    )
    if state.is_main_process:
        write_outcome(setting, model, run, results, summary)
        push_last(config)
    state.wait_for_everyone()
    return summary


def dry_run(config: TrainConfig, say: Say) -> None:
    """Check everything, show the first batch of each stage, train and write nothing.

    Args:
        config: checked configuration.
        say: gets each line.

    Raises:
        ArtQuantError: as `train`.
    """
    _processes()
    check_trackers(config)
    check_push(config)
    setting, model = prepare(config)
    for line in _preflight(setting, model, show=True):
        say(line)


def _processes() -> PartialState:
    """Meet the other processes, where there are some."""
    state = PartialState(cpu=default_device() == "cpu")
    check_gpus(torch.cuda.device_count(), state.distributed_type)
    return state


def _preflight(setting: Setting, model: Any, show: bool = False) -> list[str]:
    config = setting.config
    lines = preflight.check_data(config, setting.material) + preflight.check_model(model, setting.prompter)
    trials, shown = [], []
    with tempfile.TemporaryDirectory(prefix="artquant-") as folder:
        for stage in config.stages:
            trainer = stage_trainer(
                setting, stage, model, StageFolder(Path(folder) / stage.name), Flow(StopRequest(), None)
            )
            trials.append(
                preflight.try_stage(trainer, stage.name, steps(config, stage, stage_samples(setting, stage)))
            )
            if show:
                shown.append(f"first batch of stage {stage.name}:")
                shown += preflight.show_batch(preflight.first_batch(trainer), setting.prompter)
    return lines + preflight.describe_trials(trials) + shown


def _run_stage(
    setting: Setting, stage: StageSection, model: Any, folder: StageFolder, request: StopRequest
) -> tuple[Any, StageResult] | Stopped:
    config = setting.config
    flow = Flow(request, config.train.early_stopping_patience)
    trackers = [*tensorboard(config, stage)]
    trainer = stage_trainer(setting, stage, model, folder, flow, trackers, push=True)
    checkpoint = folder.last_checkpoint()
    if checkpoint is None and folder.best.exists() and trainer.args.should_save:
        shutil.rmtree(folder.best)  # of a run that ended before its first checkpoint
    trainer.accelerator.wait_for_everyone()
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if flow.stopped:
        return Stopped(stage.name, folder.last_checkpoint())
    trainer.accelerator.wait_for_everyone()  # one process writes `best` and moves it away, all look for it
    keep_best = config.train.keep == "best" and folder.best.exists()
    trainer.accelerator.wait_for_everyone()
    if not keep_best:
        trainer.save_model(str(folder.final), _internal_call=True)
    elif trainer.args.should_save:
        shutil.rmtree(folder.final, ignore_errors=True)
        folder.best.rename(folder.final)
    trainer.accelerator.wait_for_everyone()
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if sharded:  # what was spread over processes is not put together again, but loaded
        model = begin_model(config, setting.spec, setting.material)[0]
    else:
        model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if sharded or keep_best:
        restore_weights(model, folder.final)
    evaluations = [line for line in trainer.state.log_history if "eval_srocc" in line]
    chosen = max(evaluations, key=lambda line: line["eval_srocc"]) if keep_best and evaluations else None
    chosen = chosen or (evaluations[-1] if evaluations else {})
    metrics = {key: chosen[key] for key in METRICS if key in chosen}
    result = StageResult(metrics, trainer.state.log_history, trainer.skipped)
    if trainer.args.should_save:
        folder.finish(result)
    trainer.accelerator.wait_for_everyone()
    return model, result
