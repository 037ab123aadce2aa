"""Checks of packages: whether they are installed, within the bounds of our metadata, and in the tested versions."""

import platform
import sys
from collections.abc import Mapping
from importlib import metadata

from artquant_plugin.environment.findings import Finding
from artquant_plugin.environment.requirements import (
    CONSTRAINTS_FILE,
    DISTRIBUTION,
    Requirement,
    canonical,
    extras,
    installed_version,
    pinned_versions,
    reinstall_command,
    requirements,
)

# Packages that the product uses and that come with others; our metadata has no bounds for them.
_INDIRECT = ("numpy", "torchvision", "safetensors", "tokenizers")
_PURPOSES = {
    "quantized": "quantization=4bit and 8bit, and QLoRA",
    "kernels": "the fast linear attention of Qwen3.5 on GPUs",
    "ray": "artquant score --engine ray",
    "deepspeed": "training with configs/accelerate/deepspeed.yaml",
    "pyiqa": "lmms-eval --model pyiqa; for non-commercial use only",
}


def check_python() -> list[Finding]:
    """The finding about Python's version, which our metadata bounds; it shows the platform, too."""
    from packaging.specifiers import SpecifierSet

    found = f"{platform.python_version()}, {platform.platform()}"
    wanted = (metadata.metadata(DISTRIBUTION).get_all("Requires-Python") or [""])[0]
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        return [Finding("ok", "python", sys.implementation.name, found, wanted)]
    message = f"Python {platform.python_version()} is outside {wanted}, the versions that {DISTRIBUTION} supports"
    remedy = f"make an environment with a Python {wanted}, and install {DISTRIBUTION} there"
    return [Finding("problem", "python", sys.implementation.name, found, wanted, message, remedy)]


def check_packages(pins: Mapping[str, str] | None = None) -> list[Finding]:
    """One finding for each package that our metadata requires, and for some that come with those.

    Args:
        pins: the tested versions by `canonical` name; None for those that `pinned_versions` reads.
    """
    try:
        wanted = requirements()
    except metadata.PackageNotFoundError:
        message = f"{DISTRIBUTION} itself is not installed, so that lmms-eval does not know its model and tasks"
        remedy = reinstall_command()
        return [Finding("problem", "package", DISTRIBUTION, "missing", message=message, remedy=remedy)]
    pins = pinned_versions() if pins is None else pins
    found = [Finding("ok", "package", DISTRIBUTION, installed_version(DISTRIBUTION) or "missing")]
    if not pins:
        message = f"the versions that were tested are not known, since {CONSTRAINTS_FILE} is absent"
        found.append(Finding("note", "package", CONSTRAINTS_FILE, "absent", message=message))
    found += [_of_package(requirement, pins) for requirement in wanted]
    named = {canonical(requirement.package) for requirement in wanted}
    for package in _INDIRECT:
        version = installed_version(package)
        if version is not None and package not in named:
            found.append(_of_package(Requirement(package, "", version, None), pins))
    return found


def check_extras() -> list[Finding]:
    """The findings about our extras: a note for one that is not installed, else a finding for each of its packages.

    An extra counts as installed where the first package that it names is installed; its other packages may have come
    with something else.
    """
    pins = pinned_versions()
    found = []
    for extra in extras():
        wanted = requirements(extra)
        if not wanted:
            continue
        if wanted[0].installed is None:
            purpose = _PURPOSES.get(extra, f"the extra {extra}")
            message = f"{wanted[0].package} is not installed; it is for {purpose}"
            remedy = f"pip install '{DISTRIBUTION}[{extra}]'"
            found.append(Finding("note", "extra", wanted[0].package, "absent", message=message, remedy=remedy))
        else:
            found += [_of_package(requirement, pins, area="extra") for requirement in wanted]
    return found


def _of_package(requirement: Requirement, pins: Mapping[str, str], area: str = "package") -> Finding:
    """The finding about a package: a problem outside the bounds, a note for a version that was not tested."""
    package = requirement.package
    pin = pins.get(canonical(package), "")
    found = requirement.installed or "missing"
    if requirement.broken is not None:
        return Finding("problem", area, package, found, pin, requirement.complaint, requirement.remedy)
    # Behind a plus stands the build, such as cpu or cu130, which is none of ours.
    if pin and found.partition("+")[0] != pin.partition("+")[0]:
        message = f"{package} {found} is within the bounds, and is not the version that was tested, {pin}"
        return Finding("note", area, package, found, pin, message, f"pip install '{package}=={pin}'")
    return Finding("ok", area, package, found, pin)
