"""The base class of our lmms-eval models: the check of their arguments, their process rank and their device."""

import abc
import inspect
from typing import Any, ClassVar, Self

import torch
from accelerate import Accelerator
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.library_messages import leave_out_library_messages
from artquant_plugin.common.text import did_you_mean
from artquant_plugin.environment.startup import errors_end_evaluation
from artquant_plugin.harness.response_cache import IdentifiedModel


class HarnessModel(lmms, IdentifiedModel):
    """A model of lmms-eval with one process per GPU, whose ``--model_args`` are checked before anything is loaded.

    Args:
        device: torch's name of a device, such as ``cuda``, ``cuda:1``, ``mps`` or ``cpu``; None for the process's own
            GPU, or the CPU where there is none. It is ignored where there are several processes.

    Attributes:
        REQUIRED: the name of the one argument that has no default.
        MISSING: how the error goes on when it is missing, behind "--model_args names no".
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
        self._device = torch.device(process_device(self.accelerator, device))

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict | None = None) -> Self:
        """Build the model from ``--model_args``; lmms-eval calls this.

        Args:
            arg_string: the text that the user passed, ``NAME=VALUE,NAME=VALUE``.
            additional_config: further arguments that lmms-eval's command line collects, such as the batch size.

        Raises:
            ArtQuantError: an argument does not exist, the required one is missing, or the model cannot be loaded.
            SystemExit: the same, on lmms-eval's command line, after a line that says so.
        """
        with errors_end_evaluation():
            check_arguments(cls, arg_string, required=cls.REQUIRED, missing=cls.MISSING)
            return super().create_from_arg_string(arg_string, additional_config)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answer requests, in the order given; lmms-eval calls this.

        Raises:
            ArtQuantError: the requests cannot be answered, for a reason that is not one painting's.
            SystemExit: the same, on lmms-eval's command line, after a line that says so.
        """
        with errors_end_evaluation():
            return self.answer(requests)

    @abc.abstractmethod
    def answer(self, requests: list[Instance]) -> list[str]:
        """Answer requests, in the order given."""

    @property
    def device(self) -> torch.device:
        """The device that the model is on."""
        return self._device


def check_arguments(model: type[Any], arg_string: str, *, required: str, missing: str) -> None:
    """Check ``--model_args`` before anything is loaded.

    Args:
        model: the class whose `__init__` has the arguments.
        arg_string: the text that the user passed, ``NAME=VALUE,NAME=VALUE``; it may be empty.
        required: the name of the argument that has no default.
        missing: how the error goes on when that argument is missing, behind "--model_args names no".

    Raises:
        ArtQuantError: the text has another form, an argument does not exist, or the required one is missing.
    """
    from lmms_eval.utils import simple_parse_args_string

    known = list(inspect.signature(model).parameters)
    try:
        given = simple_parse_args_string(arg_string)
    except ValueError as error:
        raise ArtQuantError(f"--model_args {arg_string!r} is not of the form NAME=VALUE,NAME=VALUE") from error
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
            raise ArtQuantError(f"--model_args has no argument {name!r}; {hint}")
    if required not in given:
        raise ArtQuantError(f"--model_args names no {missing}")


def process_device(accelerator: Accelerator, device: str | None) -> str:
    """The device that this process computes on.

    Args:
        accelerator: accelerate's view of the process, which knows the number of processes and the device of this one.
        device: the device that the user or lmms-eval named; None where nobody did.

    Returns:
        The named device. It is accelerate's device instead where there are several processes or no device is named,
        and where CUDA is named and absent: lmms-eval passes its default, ``cuda:0``, on every machine.
    """
    if accelerator.num_processes > 1 or device is None:
        return str(accelerator.device)
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        return str(accelerator.device)
    return device
