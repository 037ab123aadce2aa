"""The fast kernels of linear attention (Qwen3.5, Qwen3-Next): which are missing, and where they can run."""

import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from artquant_plugin.common.errors import ArtQuantWarning
from artquant_plugin.common.kernel_packages import CAUSAL_CONV1D, FLASH_LINEAR_ATTENTION, KernelPackage

# Devices for which the packages have kernels; on any other, such as a CPU, only the reference code runs.
_KERNEL_DEVICES = ("cuda", "xpu")


# The functions of transformers' modules that each package replaces.
_FUNCTIONS = {
    FLASH_LINEAR_ATTENTION: ("torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule"),
    CAUSAL_CONV1D: ("causal_conv1d_fn", "causal_conv1d_update"),
}


def use_kernels_by_device(model: Any) -> None:
    """Have a model with linear attention call fast kernels for tensors on a GPU alone, and its own code elsewhere.

    transformers 5.24 decides once, when it imports a model's module, whether a package computes a function for every
    device (`use_kernel_func_from_hub_with_fallback` in integrations/hub_kernels.py). Where the package is installed, a
    model on a CPU would then fail in a kernel that has no code for it. There is no option for that, so that the
    functions in the model's module are replaced by ones that look at the device of their first tensor.

    Args:
        model: a `transformers` model. One without such functions is left as it is, and a second call changes nothing.
    """
    for module, package in _modules_and_packages(model):
        for name in _FUNCTIONS[package]:
            function = getattr(module, name, None)
            if hasattr(function, "__wrapped__") and not hasattr(function, "by_device"):
                setattr(module, name, _by_device(function))


def missing_packages(model: Any) -> list[KernelPackage]:
    """The packages that would compute parts of a model's linear attention on a GPU, and that cannot be imported.

    Args:
        model: a `transformers` model, in a peft wrapper or without one.
    """
    used = {package.package: package for _, package in _modules_and_packages(model)}
    return [package for package in used.values() if not _importable(package.module)]


def warn_of_missing_packages(model: Any) -> None:
    """Warn once per process of each package whose fast kernels a model on a GPU has to do without.

    On other devices nothing is said, because there the packages would not help.

    Args:
        model: a `transformers` model, in a peft wrapper or without one, on its device.
    """
    if model.device.type in _KERNEL_DEVICES:
        for package in missing_packages(model):
            _warn_once(package)


@functools.cache
def _warn_once(package: KernelPackage) -> None:
    warnings.warn(
        f"{package.package} is not installed: {package.cost}; install it with `{package.remedy}`",
        ArtQuantWarning,
        stacklevel=4,
    )


def _by_device(function: Any) -> Callable[..., Any]:
    """A function that calls the given one for tensors on a GPU, and the reference code inside of it for others."""
    reference = function.__wrapped__

    @functools.wraps(reference)
    def by_device(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        chosen = function if tensor.device.type in _KERNEL_DEVICES else reference
        return chosen(tensor, *args, **kwargs)

    by_device.by_device = True  # type: ignore[attr-defined]
    return by_device


def _modules_and_packages(model: Any) -> Iterator[tuple[Any, KernelPackage]]:
    """The Python modules with a model's classes, each with every package that replaces functions of it."""
    for name in dict.fromkeys(type(part).__module__ for part in model.modules()):
        module = sys.modules.get(name)
        for package, functions in _FUNCTIONS.items():
            if any(hasattr(module, function) for function in functions):
                yield module, package


def _importable(module: str) -> bool:
    """Whether a module can be imported, as transformers tried when it imported the model's module."""
    try:
        importlib.import_module(module)
    except Exception:  # a package that was compiled for another torch raises whatever it likes
        return False
    return True
