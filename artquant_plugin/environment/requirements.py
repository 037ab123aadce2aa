"""The versions of packages that our metadata requires, those that were tested, and those that are installed."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from pathlib import Path

DISTRIBUTION = "artquant-plugin"
CONSTRAINTS_FILE = "constraints.txt"
_DEVELOPMENT = "dev"  # the extra of people who work on this package; users lack nothing without it


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that our metadata requires, and its installed version.

    Args:
        package: the package's name, as our metadata spells it.
        specifier: the versions that are allowed, such as ``<4.3,>=3.16``; empty where any is.
        installed: the installed version; None where the package is absent.
        broken: the part of the specifier that the installed version does not meet, such as ``<4.3``; the whole
            specifier where the package is absent; None where everything is met.
    """

    package: str
    specifier: str
    installed: str | None
    broken: str | None

    @property
    def complaint(self) -> str:
        """What is wrong, as the beginning of a sentence; it is meaningful only for a requirement that is not met."""
        state = "is not installed" if self.installed is None else f"{self.installed} is installed"
        return f"{self.package} {state}, {DISTRIBUTION} needs {self.package}{self.broken}"

    @property
    def remedy(self) -> str:
        """The command that installs a version within the bounds."""
        return f"pip install '{self.package}{self.specifier if self.broken is None else self.broken}'"


def installed_version(package: str) -> str | None:
    """The version of an installed package by its metadata, without importing it; None where it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def requirements(extra: str = "") -> list[Requirement]:
    """The packages that our metadata requires on this platform, in the metadata's order.

    Args:
        extra: the name of an extra, for the packages that it alone requires; empty for those that are always required.

    Raises:
        importlib.metadata.PackageNotFoundError: artquant-plugin itself is not installed.
    """
    texts = metadata.requires(DISTRIBUTION) or []
    from packaging.requirements import Requirement as Parsed  # imported here, so that its absence becomes a finding

    required = []
    for text in texts:
        parsed = Parsed(text)
        always = parsed.marker is None or parsed.marker.evaluate({"extra": ""})
        applies = always if not extra else not always and parsed.marker and parsed.marker.evaluate({"extra": extra})
        if applies:
            installed = installed_version(parsed.name)
            whole = str(parsed.specifier)
            missed = [
                str(clause)
                for clause in parsed.specifier
                if installed is not None and not clause.contains(installed, prereleases=True)
            ]
            broken = whole if installed is None else ",".join(sorted(missed)) or None
            required.append(Requirement(parsed.name, whole, installed, broken))
    return required


def extras() -> list[str]:
    """The names of the extras that users install, which are all but the one for development."""
    names = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    return [name for name in names if name != _DEVELOPMENT]


def constraints_file() -> Path | None:
    """The file with the versions that were tested: at a checkout's root, else among the installed configurations.

    Returns:
        The file's path; None where it is at neither place.
    """
    root = Path(__file__).resolve().parents[2]
    candidates = [root / CONSTRAINTS_FILE] if (root / "setup.cfg").is_file() else []
    candidates.append(Path(str(files("artquant_plugin.configs"))) / CONSTRAINTS_FILE)
    return next((path for path in candidates if path.is_file()), None)


def pinned_versions(path: Path | None = None) -> dict[str, str]:
    """Read the versions that were tested.

    Args:
        path: a file with lines of the form ``name==version``; None for that of `constraints_file`. Other lines are
            ignored, and so is a condition behind a semicolon.

    Returns:
        The versions by `canonical` name; empty where there is no file.
    """
    path = path or constraints_file()
    if path is None:
        return {}
    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, version = line.partition("#")[0].partition(";")[0].partition("==")
        if equals:
            pins[canonical(name.partition("[")[0])] = version.strip()
    return pins


def canonical(name: str) -> str:
    """A package's name in lower case with hyphens, which is the same for all spellings of a name."""
    return name.strip().lower().replace("_", "-").replace(".", "-")


def unmet(required: Sequence[Requirement]) -> list[Requirement]:
    """The requirements that are not met, in the order given."""
    return [requirement for requirement in required if requirement.broken is not None]


def reinstall_command() -> str:
    """The command that installs the tested versions, or where these are not known, versions within the bounds."""
    root = Path(__file__).resolve().parents[2]
    target = f"-e '{root}'" if (root / "setup.cfg").is_file() else DISTRIBUTION
    path = constraints_file()
    return f"pip install --constraint '{path}' {target}" if path else f"pip install {target}"
