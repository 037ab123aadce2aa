"""The packages: installed, within the bounds of our metadata, and as tested."""

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

# Packages that the product leans on through others; they have no bounds of ours.
_INDIRECT = ("numpy", "torchvision", "safetensors", "tokenizers")
_PURPOSES = {
    "quantized": "quantization=4bit and 8bit, and QLoRA",
    "ray": "artquant score --engine ray",
    "deepspeed": "training with configs/accelerate/deepspeed.yaml",
    "pyiqa": "lmms-eval --model pyiqa; for non-commercial use only",
}


def check_python() -> list[Finding]:
    """Python's version against the one that our metadata asks for, and the platform."""
    from packaging.specifiers import SpecifierSet

    found = f"{platform.python_version()}, {platform.platform()}"
    wanted = (metadata.metadata(DISTRIBUTION).get_all("Requires-Python") or [""])[0]
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        return [Finding("ok", "python", sys.implementation.name, found, wanted)]
    message = f"Python {platform.python_version()} is outside {wanted}, the versions that {DISTRIBUTION} supports"
    remedy = f"make an environment with a Python {wanted}, and install {DISTRIBUTION} there"
    return [Finding("problem", "python", sys.implementation.name, found, wanted, message, remedy)]


def check_packages(pins: Mapping[str, str] | None = None) -> list[Finding]:
    """One finding for each package that our metadata asks for, and for some that come with those.

    Args:
        pins: the tested version by canonical name; those of `pinned_versions` when None.
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
    """The packages of our extras: a note where an extra is not installed, findings as of any package where it is.

    An extra counts as installed where the first package that it names is; the others may be there for other reasons.
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
    """A package's finding: a problem outside of the bounds, a note at a version that was not tested."""
    package = requirement.package
    pin = pins.get(canonical(package), "")
    found = requirement.installed or "missing"
    if requirement.broken is not None:
        return Finding("problem", area, package, found, pin, requirement.complaint, requirement.remedy)
    if (
        pin and found.partition("+")[0] != pin.partition("+")[0]
    ):  # behind a plus stands the build, such as cpu or cu130
        message = f"{package} {found} is within the bounds, and is not the version that was tested, {pin}"
        return Finding("note", area, package, found, pin, message, f"pip install '{package}=={pin}'")
    return Finding("ok", area, package, found, pin)
