"""`python -m tests.train.fsdp_on_cpu CONFIG` is `python -m artquant_plugin.train CONFIG` with FSDP on the CPU.

accelerate 1.15 offers FSDP on accelerators alone: `AcceleratorState.__init__` (accelerate/state.py, line 1010) looks
for it where processes are of MULTI_GPU and the like, never of MULTI_CPU, and has no public switch for that. torch has
no such limit. So processes on the CPU are declared to be of MULTI_GPU, with gloo between them; the variable
ACCELERATE_TORCH_DEVICE, which accelerate reads itself, keeps their tensors on the CPU.
"""

import os
import runpy

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType


def declare_gpus() -> None:
    """Have accelerate take this process for one of several with a GPU each."""

    def prepare_backend(self: PartialState, *_: object) -> tuple[str, DistributedType]:
        return "gloo", DistributedType.MULTI_GPU

    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    torch.distributed.init_process_group("gloo")
    PartialState._prepare_backend = prepare_backend


if __name__ == "__main__":
    declare_gpus()
    runpy.run_module("artquant_plugin.train", run_name="__main__", alter_sys=True)
