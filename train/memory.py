"""What to do when a training step needs more memory than there is."""

from artquant_plugin.common.device import is_out_of_memory
from artquant_plugin.common.errors import ArtQuantError

LESS_MEMORY = (
    "lower train.per_device_train_batch_size and raise train.gradient_accumulation_steps by as much, set "
    "train.gradient_checkpointing=true, model.dtype=bfloat16, or train parts by lora instead of full"
)


def raise_if_memory(error: BaseException) -> None:
    """Say what to lower when memory did not suffice; other errors pass.

    Args:
        error: What torch or Python raised during a step.

    Raises:
        ArtQuantError: The error is about memory.
    """
    if is_out_of_memory(error):
        raise ArtQuantError(f"the memory does not suffice for a training step; {LESS_MEMORY}") from error
