"""What lmms-eval's user reads where a package does not suit it."""

import os
import subprocess
import sys

import pytest

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.environment.startup import errors_end_evaluation, is_evaluation
from tests.environment.distributions import write_filelock_without_api, write_metadata

LINE = (
    "filelock 4.3.1 is installed, artquant-plugin needs filelock<4.3: lmms-eval cannot evaluate without its module "
    "filelock._api; mend it with `pip install 'filelock<4.3'`"
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/venv/bin/lmms-eval", "--model", "artquant", "--tasks", "baid"], True),
        (["/venv/lib/lmms_eval/__main__.py", "--config", "run.yaml"], True),
        (["lmms-eval", "eval", "--tasks", "baid"], True),
        (["lmms-eval", "--tasks", "list"], False),
        (["lmms-eval", "--tasks=list_groups"], False),
        (["lmms-eval", "--help"], False),
        (["lmms-eval", "models"], False),
        (["lmms-eval"], False),
        (["mine.py", "--model", "artquant"], False),
        (["/home/me/__main__.py", "--model", "artquant"], False),
        ([""], False),
    ],
)
def test_an_evaluation_is_known_by_its_command_line(arguments, expected):
    assert is_evaluation(arguments) is expected


def run(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_an_evaluation_that_must_fail_ends_with_one_line_and_exit_code_1(tmp_path):
    write_filelock_without_api(tmp_path)
    done = run(tmp_path, "-m", "lmms_eval", "--model", "artquant", "--model_args", "pretrained=x", "--tasks", "baid")
    assert done.returncode == 1
    ours = [line for line in done.stderr.splitlines() if "artquant" in line]
    assert ours == [f"artquant: error: {LINE}"]
    assert "Traceback" not in done.stderr


def test_a_program_that_imports_lmms_eval_is_only_warned(tmp_path):
    write_filelock_without_api(tmp_path)
    done = run(tmp_path, "-c", "import lmms_eval.models as m; print('artquant' in m.list_available_models())")
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert f"artquant: warning: {LINE}" in done.stderr.splitlines()


def test_a_version_that_may_work_is_a_warning_also_on_the_command_line(tmp_path):
    write_metadata(tmp_path, "sacrebleu", "2.0")
    program = "import sys; sys.argv = ['lmms-eval', '--tasks', 'baid']; import lmms_eval.models; print('went on')"
    done = run(tmp_path, "-c", program)
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert "artquant: warning: sacrebleu 2.0 is installed, artquant-plugin needs sacrebleu>=2.4: " in done.stderr
    assert "mend it with `pip install 'sacrebleu>=2.4'`" in done.stderr


def test_bounds_that_cannot_be_read_stop_nothing(tmp_path):
    write_metadata(tmp_path, "artquant-plugin", "9", "Requires-Dist: no requirement at all !!")
    done = run(
        tmp_path, "-c", "from artquant_plugin.harness.plugin import model_manifest; print(len(model_manifest()))"
    )
    assert (done.returncode, done.stdout) == (0, "2\n")


@pytest.mark.parametrize("program", ["lmms-eval", "/x/lmms_eval/__main__.py"])
def test_an_error_ends_an_evaluation_with_one_line(program, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [program, "--model", "artquant", "--tasks", "baid"])
    for error in (ArtQuantError, MachineError):  # lmms-eval would print a traceback and exit with 0
        with pytest.raises(SystemExit) as ended, errors_end_evaluation():
            raise error("dataset 'baid' is not there;\nmake it")
        assert ended.value.code == 1
        assert capsys.readouterr().err == "artquant: error: dataset 'baid' is not there; make it\n"


def test_an_interruption_ends_an_evaluation_as_it_ends_a_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lmms-eval", "--model", "artquant", "--tasks", "baid"])
    with pytest.raises(SystemExit) as ended, errors_end_evaluation():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == "artquant: interrupted\n"


def test_a_program_gets_the_error_itself(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mine.py", "--model", "artquant"])
    with pytest.raises(ArtQuantError, match="not there"), errors_end_evaluation():
        raise ArtQuantError("not there")
    assert not capsys.readouterr().err
