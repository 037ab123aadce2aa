"""Checks of the machine: GPUs and what they can do, fast kernels, a C++ compiler."""

import importlib.util
import json
import os
import platform
import shutil
from typing import Any

from artquant_plugin.common.kernel_packages import (
    CAUSAL_CONV1D,
    FLASH_ATTENTION,
    FLASH_LINEAR_ATTENTION,
    TRITON,
    KernelPackage,
)
from artquant_plugin.environment.findings import Finding
from artquant_plugin.environment.probes import ProbeError, probe
from artquant_plugin.environment.requirements import installed_version, reinstall_command

KERNELS = (FLASH_ATTENTION, FLASH_LINEAR_ATTENTION, CAUSAL_CONV1D, TRITON)


def check_machine() -> list[Finding]:
    """Findings about GPUs, and about the kernels that only GPUs need."""
    try:
        (line,) = probe("probe_torch")
    except ProbeError as error:
        message = f"torch cannot be used ({error})"
        return [Finding("problem", "gpu", "torch", "failed", "", message, reinstall_command())]
    answer = json.loads(line)
    found = [device_finding(device) for device in answer["devices"]] or [no_device_finding(answer["cuda_build"])]
    cuda = any(device["place"].startswith("cuda") for device in answer["devices"])
    return found + [kernel_finding(kernel, cuda) for kernel in KERNELS]


def device_finding(device: dict[str, Any]) -> Finding:
    """The finding about a GPU: whether torch computes on it, and whether it has fast bfloat16.

    Args:
        device: what `probe_torch` prints about the GPU, under the keys ``place`` (torch's name), ``name``,
            ``capability`` (None for Apple's), ``memory`` in bytes, ``failure`` (None where torch computes on it) and
            ``bfloat16`` (whether it is fast).
    """
    capability = "" if device["capability"] is None else f", capability {device['capability']}"
    found = f"{device['name']}{capability}, {device['memory'] / 2**30:.1f} GiB, bfloat16 "
    found += "yes" if device["bfloat16"] else "no"
    place = device["place"]
    if device["failure"]:
        message = f"torch cannot compute on {device['name']} ({device['failure']})"
        remedy = "install a torch that is built for this GPU: https://pytorch.org/get-started/locally"
        return Finding("problem", "gpu", place, found, "", message, remedy)
    if not device["bfloat16"]:
        message = f"{device['name']} has no fast bfloat16, in which most models are published"
        return Finding("note", "gpu", place, found, "", message, "pass dtype=float16 or dtype=float32")
    return Finding("ok", "gpu", place, found)


def no_device_finding(cuda_build: str | None) -> Finding:
    """The note that models compute on the CPU, with reason and remedy where an NVIDIA GPU seems to be there.

    Args:
        cuda_build: the CUDA version that torch is built for, such as ``13.0``; None for a torch without CUDA.
    """
    if shutil.which("nvidia-smi") is None:
        message = "there is no GPU that torch can use, so that models compute on the CPU"
        return Finding("note", "gpu", "none", "CPU", "", message)
    if cuda_build is None:
        message = "nvidia-smi is here, and torch is built without CUDA, so that models compute on the CPU"
        remedy = "install a torch with CUDA: https://pytorch.org/get-started/locally"
    else:
        message = f"nvidia-smi is here, and torch, built for CUDA {cuda_build}, finds no GPU that it can use"
        remedy = "nvidia-smi  # shows whether the driver is as new as that CUDA; CUDA_VISIBLE_DEVICES may hide GPUs"
    return Finding("note", "gpu", "none", "CPU", "", message, remedy)


def kernel_finding(kernel: KernelPackage, cuda: bool) -> Finding:
    """The finding about a kernel: a note where it is absent and would be of use.

    Args:
        kernel: the kernel to look for, which is not imported.
        cuda: whether the machine has a CUDA device, without which kernels are of no use.
    """
    if importlib.util.find_spec(kernel.module) is not None:
        return Finding("ok", "kernel", kernel.package, installed_version(kernel.package) or "present")
    if not cuda:
        return Finding("ok", "kernel", kernel.package, "absent (of use on CUDA alone)")
    message = f"{kernel.package} is not installed: {kernel.cost}"
    return Finding("note", "kernel", kernel.package, "absent", "", message, kernel.remedy)


def check_compiler() -> list[Finding]:
    """The finding about the C++ compiler, which is the one that $CXX names, or ``c++`` on the PATH."""
    program = os.environ.get("CXX") or "c++"
    path = shutil.which(program)
    if path:
        return [Finding("ok", "compiler", "C++", path)]
    message = f"there is no C++ compiler {program!r}: DeepSpeed's operators and compile=True fail"
    remedies = {"Linux": "sudo apt-get install g++", "Darwin": "xcode-select --install"}
    remedy = remedies.get(platform.system(), "install one, and name it in the environment variable CXX")
    return [Finding("note", "compiler", "C++", "absent", "", message, remedy)]
