"""Checks of what shows plots and pages: fonts, and a browser."""

import importlib.util
import platform
import shutil
import subprocess
from pathlib import Path

from artquant_plugin.environment.findings import Finding

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def check_fonts() -> list[Finding]:
    """The findings about the font of plots, which comes with matplotlib, and the system's fonts, for browsers."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return []  # matplotlib's absence is a finding about packages
    name = "DejaVu Sans"
    font = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    if font.is_file():
        findings = [Finding("ok", "font", name, "present")]
    else:
        message = f"'{font}' is absent, and plots are drawn in its font"
        remedy = "pip install --force-reinstall --no-deps matplotlib"
        findings = [Finding("problem", "font", name, "absent", "", message, remedy)]
    if platform.system() == "Linux" and shutil.which("fc-list"):
        listed = subprocess.run(["fc-list"], capture_output=True, text=True, timeout=30).stdout.splitlines()
        if listed:
            findings.append(Finding("ok", "font", "system fonts", f"{len(listed)} files"))
        else:
            message = "the system has no fonts: a browser on this machine shows pages without text"
            remedy = "sudo apt-get install fonts-dejavu"
            findings.append(Finding("note", "font", "system fonts", "none", "", message, remedy))
    return findings


def find_browser() -> str | None:
    """The path of the first of `BROWSERS` on the PATH; None where there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def check_browser() -> list[Finding]:
    """The finding about the browser that our tests of pages drive; nothing else needs one."""
    path = find_browser()
    if path:
        return [Finding("ok", "browser", "Chromium", path)]
    message = f"none of {', '.join(BROWSERS)} is on the PATH: the tests of pages in a browser are skipped"
    remedy = "sudo apt-get install chromium" if platform.system() == "Linux" else "install Chromium or Chrome"
    return [Finding("note", "browser", "Chromium", "absent", "", message, remedy)]
