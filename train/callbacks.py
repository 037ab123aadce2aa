"""What happens beside the steps: the best weights, the number of the epoch, an end on request."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class ChangesEachEpoch(Protocol):
    """Something that is different in each epoch, such as samples that are drawn or their order."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""


class StopRequest:
    """Notes that somebody asked the process to end (SIGTERM), so that it can save first.

    The attribute `made` tells whether that has happened.
    """

    def __init__(self) -> None:
        self.made = False

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Take SIGTERM as a request while in this context; outside the main thread nothing is changed."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = signal.signal(signal.SIGTERM, self._ask)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)

    def _ask(self, *_: Any) -> None:
        self.made = True


class SaveAndStop(TrainerCallback):
    """Decides when checkpoints are written and when training ends early.

    - What is to be saved at an epoch's last step is saved after the epoch's evaluation, so that a run that goes on
      from there lacks no evaluation.
    - Training ends when evaluations no longer improve.
    - A request to stop ends training at the end of the step: it saves, and evaluates nothing.
    - With somebody who may request a stop, the step with which training ends is not saved, because whoever made the
      request object saves the final weights. A run that was killed after an early end so goes on from a checkpoint
      before it, evaluates again, and ends at the same step.

    Args:
        patience: Evaluations in a row without a higher SROCC after which training ends; None for never.
        request: Tells whether somebody asked training to stop; None where nobody can.
    """

    def __init__(self, patience: int | None, request: StopRequest | None = None) -> None:
        self._patience = patience
        self._request = request
        self._save_later = False
        self.stopped = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Decide about saving and stopping after a step."""
        at_last_step = state.global_step >= state.max_steps
        if self._request is not None and not at_last_step and any_process(self._request.made):
            self.stopped = True
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False
            return control
        at_end_of_epoch = state.epoch is not None and float(state.epoch).is_integer()
        unwanted = at_last_step and self._request is not None
        if control.should_save and (unwanted or (at_end_of_epoch and args.eval_strategy == "epoch")):
            control.should_save = False
            self._save_later = not unwanted
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Decide about saving after an epoch."""
        if self.stopped:
            control.should_save = control.should_evaluate = False
        elif self._request is not None and (state.global_step >= state.max_steps or control.should_training_stop):
            control.should_save = False
        elif self._save_later:
            control.should_save = True
        self._save_later = False
        return control

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """End training when evaluations no longer improve."""
        if self._patience is not None and evaluations_since_best(state.log_history) >= self._patience:
            control.should_training_stop = True
            if self._request is not None:
                control.should_save = False
        return control


class EpochStart(TrainerCallback):
    """Tells samples and sampler the number of the epoch that begins, or in which a resumed training goes on."""

    def __init__(self) -> None:
        self.told_epoch: list[ChangesEachEpoch] = []

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Pass the number on."""
        for follower in self.told_epoch:
            follower.set_epoch(int(state.epoch or 0))


def evaluations_since_best(history: list[dict[str, Any]]) -> int:
    """How many evaluations came after the one with the best SROCC.

    Args:
        history: Lines of the trainer's log; those with ``eval_srocc`` are evaluations, and without any the count is 0.

    Example:
        >>> evaluations_since_best([{"eval_srocc": 0.5}, {"eval_srocc": 0.7}, {"loss": 1.0}, {"eval_srocc": 0.6}])
        1
    """
    values = [line["eval_srocc"] for line in history if "eval_srocc" in line]
    return len(values) - 1 - values.index(max(values)) if values else 0


def has_ended(state: TrainerState, *, max_steps: int, patience: int | None) -> bool:
    """Whether no step is left: all were made, or the evaluations did not improve for as long as they may.

    Args:
        state: What a checkpoint keeps of the training.
        max_steps: Number of optimisation steps of the training; 0 or less where the epochs tell it.
        patience: Number of evaluations without a better one that end training; None for no early end.
    """
    ended_early = patience is not None and evaluations_since_best(state.log_history) >= patience
    return ended_early or 0 < max_steps <= state.global_step


def any_process(asked: bool) -> bool:
    """Whether any of the processes was asked to stop.

    A signal reaches each process at another time, and all have to do the same in the same step. Every process has to
    call this function.

    Args:
        asked: Whether this process was asked.
    """
    state = PartialState()
    if state.num_processes == 1:
        return asked
    flag = torch.tensor([int(asked)], device=state.device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag.item())
