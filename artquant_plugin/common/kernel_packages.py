"""Packages with fast GPU code: what each is for, what its absence costs, and how it is installed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KernelPackage:
    """A package with fast GPU code.

    Args:
        package: the name by which pip installs it.
        module: the name by which Python imports it.
        cost: what is slower or impossible without it, and by how much where that is known, to stand behind a colon.
        remedy: the command that installs it.
    """

    package: str
    module: str
    cost: str
    remedy: str


FLASH_LINEAR_ATTENTION = KernelPackage(
    "flash-linear-attention",
    "fla",
    "Qwen3.5's linear attention runs through transformers' plain PyTorch code, with the same results; a training step "
    "of Qwen3.5 9B on B200s took 1.22 s with that code and 0.70 s with the package (huggingface/transformers issue "
    "48718)",
    "pip install 'artquant-plugin[kernels]'",
)
CAUSAL_CONV1D = KernelPackage(
    "causal-conv1d",
    "causal_conv1d",
    "the convolutions of Qwen3.5's linear attention run through PyTorch's own, with the same results; how much slower "
    "that is was not measured",
    "pip install causal-conv1d --no-build-isolation  # compiles with nvcc",
)
FLASH_ATTENTION = KernelPackage(
    "flash-attn",
    "flash_attn",
    "attn=flash_attention_2 fails; the default, attn=sdpa, does without",
    "pip install flash-attn --no-build-isolation  # compiles with nvcc",
)
TRITON = KernelPackage(
    "triton", "triton", "compile=True and flash-linear-attention fail on a GPU", "pip install triton"
)
