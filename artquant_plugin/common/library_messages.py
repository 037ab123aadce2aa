"""Messages that libraries print at start, about themselves and not about what the user does, and that are left out.

Each entry names the library, its release and why the message tells our users nothing. Whatever else a library says,
errors above all, is shown.
"""

import logging
import warnings

# The logger of a library, and how its messages begin that are left out.
_BEGINNINGS = {
    # bitsandbytes 0.50.2, backends/cpu/ops.py: on CPUs with AVX512-BF16 it looks for a faster kernel in the package
    # kernels whenever it is imported, which peft does even where nothing is quantised.
    "bitsandbytes.backends.cpu.ops": ("Failed to load CPU gemm_4bit_forward from kernels-community",),
    # deepspeed 0.19.8, accelerator/real_accelerator.py: accelerate imports it wherever it is installed, also for a
    # training that does not use it.
    "DeepSpeed": ("Setting ds_accelerator to", "Setting accelerator to CPU."),
}
# transformers 5.24: peft 0.21.2 reads the attribute, under its old name, of every model that it puts an adapter on.
_DEPRECATED = "`is_gradient_checkpointing` is deprecated"


def leave_out_library_messages() -> None:
    """Leave these messages out in this process; doing it again changes nothing.

    Our command and our lmms-eval models call it. The Python interface does not: logging is its user's own.
    """
    for name in _BEGINNINGS:
        logging.getLogger(name).addFilter(_is_shown)  # a filter that is there already is not added twice
    warnings.filterwarnings("ignore", message=_DEPRECATED, category=FutureWarning)


def _is_shown(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_BEGINNINGS[record.name])
