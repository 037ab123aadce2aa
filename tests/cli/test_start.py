"""What a command imports and prints when it starts, seen from outside: real processes, their whole standard error."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from artquant_plugin.common.library_messages import leave_out_library_messages
from artquant_plugin.train.parts import choose_trained
from artquant_plugin.train.sections import TrainedSection
from artquant_plugin.train.tiny import build_tiny_model
from tests.backbones.families import family
from tests.paths import ROOT
from tests.tiny import SIZES, pictures, tiny_llava, tiny_texts
from tests.train.runs import write_config, write_small

# What scoring with a whole checkpoint of a model that is not our own has no use for.
UNNEEDED = {
    "bitsandbytes",
    "datasets",
    "deepspeed",
    "lmms_eval",
    "matplotlib",
    "openai",
    "pandas",
    "peft",
    "pyarrow",
    "ray",
    "scipy.stats",
    "sklearn",
    "tensorboard",
    "artquant_plugin.backbones.mplug_owl2.modeling",
    "artquant_plugin.backbones.mplug_owl2.processing",
    "artquant_plugin.prompting.soft_labels",
    "artquant_plugin.train",
}
NAMES_ITS_IMPORTS = """
import json, sys
from artquant_plugin.cli import main
code = main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump(sorted(sys.modules), file)
sys.exit(code)
"""
# Our own modules find none of these, as on Windows; libraries do, since they look at the platform before they import.
WITHOUT_POSIX = """
import builtins, importlib, sys
POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios"}
original = builtins.__import__
def limited(name, globals=None, *rest, **named):
    if name.split(".")[0] in POSIX and str((globals or {}).get("__name__")).startswith("artquant_plugin"):
        raise ModuleNotFoundError(f"No module named {name!r}")
    return original(name, globals, *rest, **named)
builtins.__import__ = limited
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def run(*arguments: str, home: Path, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own that finds no dataset and asks no Hub."""
    start = ["-c", code] if code else ["-m", "artquant_plugin.cli"]
    environment = os.environ | {
        "ARTQUANT_DATA": str(home / "data"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    environment.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)  # this process may have set it for itself
    command = [sys.executable, *start, *arguments]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with an image, a whole checkpoint, and an adapter to it."""
    folder = tmp_path_factory.mktemp("start")
    pictures(1)[0].save(folder / "a.png")
    save_checkpoint(folder / "whole", *tiny_llava(), ScoringSpec())
    model, processor = build_tiny_model(SIZES, tiny_texts(), seed=0)
    model.name_or_path = str(folder / "whole")
    adapted = choose_trained(
        model,
        TrainedSection.model_validate(
            {"language": {"method": "lora"}, "vision": {"method": "frozen"}, "projector": {"method": "frozen"}}
        ),
    )
    save_checkpoint(folder / "adapter", adapted, processor, ScoringSpec())
    return folder


@pytest.mark.slow
def test_scoring_with_a_whole_checkpoint_imports_only_what_it_needs(home):
    done = run(str(home / "modules.json"), "score", "a.png", "--model", "whole", home=home, code=NAMES_ITS_IMPORTS)
    assert done.stderr == "scored 1, failed 0\n"
    assert UNNEEDED & set(json.loads((home / "modules.json").read_text())) == set()


@pytest.mark.slow
def test_scoring_with_mplug_owl2_imports_its_modules(home):
    save_checkpoint(home / "owl", *family("mplug_owl2"), ScoringSpec())
    Image.new("RGB", (64, 64), "red").save(home / "red.png")
    done = run(str(home / "owl.json"), "score", "red.png", "--model", "owl", home=home, code=NAMES_ITS_IMPORTS)
    assert done.stderr == "scored 1, failed 0\n"
    found = set(json.loads((home / "owl.json").read_text()))
    assert UNNEEDED & found == {name for name in UNNEEDED if "mplug_owl2" in name}


@pytest.mark.slow
def test_scoring_with_an_adapter_says_nothing_but_our_own(home):
    done = run("score", "a.png", "--model", "adapter", home=home)
    assert (done.returncode, done.stderr) == (0, "scored 1, failed 0\n")


@pytest.mark.slow
def test_describing_says_nothing_but_our_own(home):
    done = run("describe", "a.png", "--model", "adapter", "--max-new-tokens", "2", home=home)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_training_says_nothing_of_a_librarys_before_the_first_step(home):
    config = write_config(
        home / "training",
        write_small(home / "small"),
        model={"pretrained": str(home / "whole")},
        trained={"language": {"method": "lora"}},
    )
    done = run("train", str(config), "--dry-run", home=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("small: ")
    assert "accelerator" not in done.stdout  # DeepSpeed logs to standard output


def test_training_without_its_data_is_refused_before_anything_heavy_is_imported(home):
    done = run(str(home / "modules.json"), "train", "baid.yaml", home=home, code=NAMES_ITS_IMPORTS)
    assert done.returncode == 2
    assert done.stderr == (
        f"artquant: error: dataset 'baid' is not in '{home / 'data'}'; make it with `artquant data import baid "
        "--annotations FILE_OR_FOLDER --images FOLDER`\n"
    )
    found = set(json.loads((home / "modules.json").read_text()))
    assert {"torch", "transformers", "accelerate", "peft"} & found == set()


def test_metrics_say_nothing_but_our_own(home):
    (home / "p.csv").write_text("image,prediction\na,5\nb,5\n")
    (home / "t.csv").write_text("image,score\na,1\nb,2\n")
    done = run("metrics", "p.csv", "--truth", "t.csv", "--resamples", "0", home=home)
    assert done.stderr.splitlines() == [
        "artquant: warning: SROCC is NaN: all 2 predictions equal 5",
        "artquant: warning: PLCC is NaN: all 2 predictions equal 5",
    ]


def test_a_librarys_warning_is_shown_with_its_place_and_not_as_ours(home):
    code = """
import sys, warnings
from artquant_plugin import cli
def warn(args):
    warnings.warn_explicit("the disk is slow", UserWarning, "library.py", 7)
cli.results.run = warn
sys.exit(cli.main(["results", "nowhere"]))
"""
    done = run(home=home, code=code)
    assert (done.returncode, done.stderr) == (0, "library.py:7: UserWarning: the disk is slow\n")


@pytest.mark.parametrize(
    ("logger", "said", "shown"),
    [
        ("bitsandbytes.backends.cpu.ops", "Failed to load CPU gemm_4bit_forward from kernels-community: x", False),
        ("bitsandbytes.backends.cpu.ops", "Failed to load the library", True),
        ("DeepSpeed", "Setting ds_accelerator to cpu (auto detect)", False),
        ("DeepSpeed", "Setting accelerator to CPU. If you have GPU or other accelerator, we were", False),
        ("DeepSpeed", "an operator could not be built", True),
    ],
)
def test_one_message_of_a_library_is_left_out_and_no_other(logger, said, shown):
    leave_out_library_messages()
    leave_out_library_messages()
    source = logging.getLogger(logger)
    record = source.makeRecord(logger, logging.WARNING, __file__, 1, "%s", (said,), None)
    assert bool(source.filter(record)) == shown


@pytest.mark.slow
def test_every_module_is_imported_without_those_that_windows_lacks(home):
    files = [path for part in ("artquant_plugin", "tasks", "train") for path in sorted((ROOT / part).rglob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if path.stem != "__main__"]
    names = [name.removesuffix(".__init__").removeprefix("artquant_plugin.") for name in names]
    modules = [name if name == "artquant_plugin" else f"artquant_plugin.{name}" for name in names]
    assert "artquant_plugin.train.callbacks" in modules
    done = run(*modules, home=home, code=WITHOUT_POSIX)
    assert done.returncode == 0, done.stderr
