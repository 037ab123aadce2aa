"""What our lmms-eval models share: the check of their arguments, their place among processes, their device."""

import difflib
import inspect
from typing import Any, ClassVar, Self

import torch
from accelerate import Accelerator
from lmms_eval.api.model import lmms

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.library_messages import leave_out_library_messages


class HarnessModel(lmms):
    """A model of lmms-eval with one process per GPU, whose ``--model_args`` are checked before anything is loaded.

    Args:
        device: ``cuda``, ``cuda:1``, ``mps``, ``cpu``; the process's own GPU, or the CPU, when None.

    Attributes:
        REQUIRED: the argument that has no default.
        MISSING: the rest of the error when it is not there.
    """

    is_simple = False
    REQUIRED: ClassVar[str]
    MISSING: ClassVar[str]

    def __init__(self, device: str | None) -> None:
        super().__init__()
        leave_out_library_messages()
        self.accelerator = Accelerator()
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes
        self._device = torch.device(own_device(self.accelerator, device))

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict | None = None) -> Self:
        """What the harness calls with ``--model_args``.

        Raises:
            ArtQuantError: an argument that does not exist, or the required one is missing.
        """
        check_arguments(cls, arg_string, required=cls.REQUIRED, missing=cls.MISSING)
        return super().create_from_arg_string(arg_string, additional_config)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._device


def check_arguments(model: type[Any], arg_string: str, *, required: str, missing: str) -> None:
    """Check ``--model_args`` before anything is loaded.

    Args:
        model: whose `__init__` has the arguments.
        arg_string: as the harness got it.
        required: the argument that has no default.
        missing: the rest of the error when it is not there.

    Raises:
        ArtQuantError: an argument that does not exist, or the required one is missing.
    """
    from lmms_eval.utils import simple_parse_args_string

    known = list(inspect.signature(model).parameters)
    try:
        given = simple_parse_args_string(arg_string)
    except ValueError as error:
        raise ArtQuantError(f"--model_args {arg_string!r} is not of the form NAME=VALUE,NAME=VALUE") from error
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ArtQuantError(f"--model_args has no argument {name!r}; {hint}")
    if required not in given:
        raise ArtQuantError(f"--model_args names no {missing}")


def own_device(accelerator: Accelerator, device: str | None) -> str:
    """The device that is named, or the one that accelerate chose for this process.

    It chose where there are several processes, where none is named, and on machines without CUDA: the harness passes
    its default, ``cuda:0``, there, too.
    """
    if accelerator.num_processes > 1 or device is None:
        return str(accelerator.device)
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        return str(accelerator.device)
    return device
