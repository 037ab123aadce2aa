"""What a result was made with: the versions of packages, and the commit of this package's source."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "artquant-plugin",
    "lmms-eval",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "numpy",
    "scipy",
)


def versions() -> dict[str, str]:
    """The versions of Python and of those of `PACKAGES` that are installed, by name."""
    by_package = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            by_package[package] = version(package)
        except PackageNotFoundError:
            continue
    return by_package


def git_commit() -> str | None:
    """The commit of the checkout that this package runs from.

    Returns:
        40 hexadecimal digits, with ``-dirty`` appended where tracked files were changed; None where the package does
        not run from a checkout, or git cannot be run.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
