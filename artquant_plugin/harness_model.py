"""What our lmms-eval models share: the check of their arguments, and the device that they run on."""

import difflib
import inspect
from typing import Any

import torch
from accelerate import Accelerator

from artquant_plugin.errors import ArtQuantError


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
    """The process's own GPU where there are several processes or none is named; a CPU where no GPU is."""
    if accelerator.num_processes > 1 or device is None:
        return str(accelerator.device)
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        return "cpu"  # the harness passes its default, cuda:0, on machines without a GPU, too
    return device
