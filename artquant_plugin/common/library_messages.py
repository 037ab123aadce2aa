"""Messages of libraries that our commands do not show, because they say nothing about what the user does.

Each entry names the library, its release and why the message is of no use to our users. All other messages of a
library, errors above all, are shown.
"""

import logging
import warnings

# By the name of a library's logger: the beginnings of the messages that are not shown.
_BEGINNINGS = {
    # bitsandbytes 0.50.2, backends/cpu/ops.py: on CPUs with AVX512-BF16 it looks for a faster kernel in the package
    # kernels whenever it is imported, which peft does even where nothing is quantised.
    "bitsandbytes.backends.cpu.ops": ("Failed to load CPU gemm_4bit_forward from kernels-community",),
    # deepspeed 0.19.8, accelerator/real_accelerator.py: accelerate imports it wherever it is installed, also for a
    # training that does not use it.
    "DeepSpeed": ("Setting ds_accelerator to", "Setting accelerator to CPU."),
    # transformers 5.24, integrations/hub_kernels.py: `warn_of_missing_packages` says it with the remedy.
    "transformers.integrations.hub_kernels": (
        "`chunk_gated_delta_rule` is falling back",
        "`fused_recurrent_gated_delta_rule` is falling back",
        "`causal_conv1d_fn` is falling back",
        "`causal_conv1d_update` is falling back",
    ),
}
# transformers 5.24: peft 0.21.2 reads the attribute, under its old name, of every model that it puts an adapter on.
_DEPRECATED = "`is_gradient_checkpointing` is deprecated"


def leave_out_library_messages() -> None:
    """Stop showing these messages in this process; a second call changes nothing.

    Our command and our lmms-eval models call it. The Python interface does not, because there the user decides what is
    logged.
    """
    for name in _BEGINNINGS:
        logging.getLogger(name).addFilter(_is_shown)  # the logger adds a filter once only
    warnings.filterwarnings("ignore", message=_DEPRECATED, category=FutureWarning)


def _is_shown(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_BEGINNINGS[record.name])
