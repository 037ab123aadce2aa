"""What to do when a training step needs more memory than there is."""

from artquant_plugin.common.device import is_out_of_memory
from artquant_plugin.common.errors import ArtQuantError

_IN_RUN = (
    "lower train.per_device_train_batch_size (and raise train.gradient_accumulation_steps by as much, where "
    "train.global_batch_size does not keep the size of a step), set "
    "train.gradient_checkpointing=true, model.dtype=bfloat16, or train parts by lora instead of full"
)
_IN_PYTHON = (
    "lower per_device_train_batch_size (and raise gradient_accumulation_steps by as much, where global_batch_size "
    "does not keep the size of a step), set "
    "gradient_checkpointing=True, model_dtype='bfloat16', or pass a peft_config"
)


def raise_if_memory(error: BaseException, *, in_run: bool) -> None:
    """Say what to lower when memory did not suffice; other errors pass.

    Args:
        error: What torch or Python raised during a step.
        in_run: Whether a run of a YAML file trains, whose keys the message then names; else it names the fields of
            `ArtQuantConfig`.

    Raises:
        ArtQuantError: The error is about memory.
    """
    if is_out_of_memory(error):
        remedy = _IN_RUN if in_run else _IN_PYTHON
        raise ArtQuantError(f"the memory does not suffice for a training step; {remedy}") from error
