"""Folders that Python takes for installed packages."""

import shutil
from pathlib import Path

import filelock


def write_metadata(folder: Path, name: str, version: str, *lines: str) -> None:
    """Make a folder on `sys.path` say that a package is installed in a version, whatever is."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    (info / "METADATA").write_text("\n".join([*head, *lines]) + "\n")


def write_filelock_without_api(folder: Path) -> None:
    """The installed filelock as 4.3.1, its private module `_api` renamed, as that release has done."""
    write_metadata(folder, "filelock", "4.3.1")
    package = folder / "filelock"
    shutil.copytree(Path(filelock.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "_api.py").rename(package / "_core.py")
    for path in package.rglob("*.py"):
        path.write_text(path.read_text().replace("._api", "._core"))
