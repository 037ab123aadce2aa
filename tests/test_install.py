"""The wheel in a clean environment, as a user gets it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.paths import ROOT

# One process makes the wheel and the environment for all of these tests.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("install")]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=CLEAN, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    (ROOT / "build").mkdir(exist_ok=True)
    with FileLock(ROOT / "build" / "wheel.lock"):  # setuptools builds in this folder, also for another test process
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def clean_venv(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel; its dependencies are those of this one, linked instead of copied."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    site = next(folder.glob("lib/python*/site-packages"))
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    for item in Path(ours).iterdir():
        if "artquant" not in item.name.lower() and not (site / item.name).exists():
            (site / item.name).symlink_to(item)
    run(folder / "bin/python", "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=folder)
    for script in ("lmms-eval",):
        source = Path(sys.executable).parent / script
        text = source.read_text().replace(str(source.parent), str(folder / "bin"))
        (folder / "bin" / script).write_text(text)
        (folder / "bin" / script).chmod(0o755)
    return folder


def test_the_wheel_holds_one_top_level_package(wheel):
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"artquant_plugin"}
    for needed in (
        "tasks/baid.yaml",
        "tasks/_scoring_yaml",
        "tasks/_cot_yaml",
        "configs/demo.yaml",
        "configs/constraints.txt",
        "data/importers/baid.py",
        "py.typed",
        "report/published_figures.yaml",
        "report/site/assets/page.css",
        "report/site/templates/board.html.j2",
        "train/rad/report/page.css",
    ):
        assert f"artquant_plugin/{needed}" in names


def test_the_wheel_registers_its_tasks_from_any_folder(clean_venv, tmp_path):
    listed = run(clean_venv / "bin/lmms-eval", "--tasks", "list", cwd=tmp_path)
    assert "baid" in listed
    assert "vaps" in listed


def test_the_wheel_works_from_a_checkout_that_shadows_it(clean_venv):
    program = "import artquant_plugin, artquant_plugin.tasks.scoring; print(artquant_plugin.tasks.__file__)"
    assert str(ROOT / "tasks") in run(clean_venv / "bin/python", "-c", program, cwd=ROOT)


def test_the_command_runs_from_any_folder(clean_venv, tmp_path):
    assert "artquant 0." in run(clean_venv / "bin/artquant", "--version", cwd=tmp_path)
    assert "hf://" in run(clean_venv / "bin/artquant", "score", "--help", cwd=tmp_path)
    assert "import" in run(clean_venv / "bin/artquant", "data", "--help", cwd=tmp_path)
