"""Models whose weights are spread over processes (FSDP2): what accelerate 1.15 and torch leave undone."""

from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict
from torch.distributed.tensor import DTensor


def name_layers(plugin: Any, model: Any) -> None:
    """Tell accelerate which layers to spread over the processes.

    Left to itself, accelerate takes all of the model's `_no_split_modules` and fails where one is missing, although an
    architecture names layers that only some of its models have.

    Args:
        plugin: The FSDP plugin of accelerate's state; layers that a user named in it stay.
        model: The transformers model without wrappers, before its weights are spread.
    """
    if plugin.transformer_cls_names_to_wrap is None:
        there = {type(module).__name__ for module in model.modules()}
        plugin.transformer_cls_names_to_wrap = sorted(there & set(model._no_split_modules or ()))


def whole_tensors(state: dict[str, Any]) -> dict[str, Any]:
    """A state dictionary on the CPU whose spread tensors are put together; every process has to take part.

    Args:
        state: What accelerate gathered, in which it may leave tensors in pieces.
    """
    return {name: value.full_tensor().cpu() if isinstance(value, DTensor) else value for name, value in state.items()}


def load_optimizer(model: Any, optimizer: Any, folder: Path, *, is_main_process: bool) -> None:
    """Load the state of a spread optimizer, in which some trained weights may have none.

    Weights that nothing reads, such as a vision tower's last norm, get no gradient, and so no state in the optimizer.
    torch refuses to load such a file unless it is told not to, for which accelerate has no option.

    Args:
        model: The model whose weights are spread over the processes.
        optimizer: The optimizer of these weights.
        folder: Checkpoint whose ``optimizer.bin`` holds the whole state, as accelerate saves it.
        is_main_process: Whether this process reads the file and sends it to the others.
    """
    whole = torch.load(folder / "optimizer.bin", map_location="cpu", weights_only=True) if is_main_process else {}
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, broadcast_from_rank0=True, strict=False)
    set_optimizer_state_dict(model, optimizer, whole, options=options)
