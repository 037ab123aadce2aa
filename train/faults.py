"""What ends a training, with the remedy in the words of whoever started it: memory, the loss, a full disk."""

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from artquant_plugin.common.device import is_out_of_memory
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line


@dataclass(frozen=True, slots=True)
class SettingNames:
    """How the settings of a training are called by whoever started it.

    Args:
        in_run: whether a run of a YAML file trains, whose keys and command line messages then name; else they name
            the fields of `ArtQuantConfig` and the arguments of `ArtQuantTrainer.train`.
    """

    in_run: bool

    def train(self, field: str, value: Any = None) -> str:
        """A field of the training's arguments as a message names it.

        Args:
            field: the field's name in `ArtQuantConfig`.
            value: the value that a message advises; None where it names the field alone.

        Example:
            >>> SettingNames(in_run=True).train("bf16", True), SettingNames(in_run=False).train("bf16", True)
            ('train.bf16=true', 'bf16=True')
        """
        if value is None:
            return f"train.{field}" if self.in_run else field
        return f"train.{field}={str(value).lower()}" if self.in_run else f"{field}={value!r}"

    def model_dtype(self, dtype: str) -> str:
        """The numbers in which the model is loaded, as a message advises them.

        Args:
            dtype: the name of a torch type, such as ``bfloat16``.
        """
        return f"model.dtype={dtype}" if self.in_run else f"model_dtype={dtype!r}"


def raise_if_memory(error: BaseException, names: SettingNames) -> None:
    """Say what to lower when memory did not suffice; other errors pass.

    Args:
        error: what torch or Python raised during a step.
        names: how the settings are called by whoever started the training.

    Raises:
        ArtQuantError: The error is about memory.
    """
    if not is_out_of_memory(error):
        return
    adapter = "train parts by lora instead of full" if names.in_run else "pass a peft_config"
    raise ArtQuantError(
        f"the memory does not suffice for a training step; lower {names.train('per_device_train_batch_size')} (and "
        f"raise {names.train('gradient_accumulation_steps')} by as much, where {names.train('global_batch_size')} "
        f"does not keep the size of a step), set {names.train('gradient_checkpointing', True)}, "
        f"{names.model_dtype('bfloat16')}, or {adapter}"
    ) from error


def loss_not_finite(
    loss: Tensor,
    paintings: Sequence[str],
    *,
    step: int,
    damage: str | None,
    dtype: torch.dtype | None,
    names: SettingNames,
) -> ArtQuantError:
    """The error about a loss that is no number, with the cause that the weights and the step tell.

    Args:
        loss: the loss of a batch, a scalar.
        paintings: names of the batch's paintings, at least one.
        step: number of optimisation steps that were made before.
        damage: what is wrong with the weights; None where all of them are finite, or spread over processes.
        dtype: the numbers of the weights, in which the model computes; None where it computes in fp16 beside them.
        names: how the settings are called by whoever started the training.
    """
    said = f"the loss became {loss.item()} at step {step} with {', '.join(paintings)}"
    if step > 0:
        return ArtQuantError(f"{said}; lower {names.train('learning_rate')}")
    if damage is not None:  # no step was made yet, so that they were stored so
        return ArtQuantError(f"{said}; {damage}")
    if dtype is None:
        remedy = f"take {names.train('bf16')} instead of {names.train('fp16')}"
    elif dtype != torch.float32:
        remedy = f"set {names.model_dtype('float32')}"
    else:
        remedy = "start from another model"
    return ArtQuantError(f"{said}, although all weights are finite: the model's own computation fails; {remedy}")


def checkpoint_unwritten(folder: Path, error: Exception, last: Path | None, names: SettingNames) -> ArtQuantError:
    """The error about a checkpoint that could not be written, which names the one that training can go on from.

    Args:
        folder: the folder into which it was written.
        error: what writing raised, of the system, torch or safetensors.
        last: the newest checkpoint that was written whole; None where there is none.
        names: how the settings are called by whoever started the training.
    """
    if last == folder:
        last = None
    remains = f"{last} is whole" if last else "there is no earlier one"
    go_on = "--resume" if names.in_run else "train(resume_from_checkpoint=True)" if last else "train()"
    return ArtQuantError(
        f"checkpoint {folder} could not be written ({one_line(error)}); {remains}: {_disk_remedy(error)} and go "
        f"on with {go_on}"
    )


def _disk_remedy(error: Exception) -> str:
    """What mends an error of writing: room on a full disk, and whatever the error says in other cases."""
    found = re.search(r"\(os error (\d+)\)", str(error))  # as safetensors says it
    number = error.errno if isinstance(error, OSError) else int(found[1]) if found else None
    # torch's RuntimeError has no number; nearly always the disk is full.
    is_full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or isinstance(error, RuntimeError)
    return "make room on the disk" if is_full else "mend that"
