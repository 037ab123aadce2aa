"""Training is killed at each of its file operations and resumed: it ends as a run does that nobody disturbed."""

import gc
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.config import TrainConfig, load_config
from artquant_plugin.train.run import train
from artquant_plugin.train.stages import RunFolder
from tests.kills import leftovers
from tests.tiny import pictures
from tests.train.runs import LORA, write_config, write_small

pytestmark = [pytest.mark.slow(seconds=200), pytest.mark.timeout(1200)]
MODEL = {"tiny": {"image_size": 16, "hidden": 16, "vision_layers": 1, "text_layers": 1, "heads": 2}}
STAGES = [
    {"name": "mat", "samples": ["describe", "score"], "epochs": 1},
    {"name": "sot", "samples": ["score"], "epochs": 1},
]
EVERY_STEP = {"save_steps": 1, "eval_steps": 1}
# What draws the curves fast: nobody looks at these pictures, and drawing took half of the drill's time.
ROUGH = {"savefig.dpi": 10, "xtick.bottom": False, "xtick.labelbottom": False, "ytick.left": False}
ROUGH |= {"ytick.labelleft": False, "axes.grid": False, "legend.loc": "upper left"}
TIMED = ("training.json", "training-curves.csv", "training-curves.png")  # which hold how long something took


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small", count=11, validation=5)


@pytest.fixture(scope="module")
def base(data, tmp_path_factory) -> Path:
    return train(configuration(tmp_path_factory.mktemp("base"), data, stages=STAGES[1:])).output


@pytest.fixture(autouse=True)
def short_collections() -> Iterator[None]:
    """What is in memory before a test is no garbage; accelerate looks for some after each stage, for a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def rough_pictures() -> Iterator[None]:
    with matplotlib.rc_context(ROUGH):
        yield


def configuration(folder: Path, data: Path, **changes: Any) -> TrainConfig:
    options = {"per_device_train_batch_size": 4, "learning_rate": 3e-2, "disable_tqdm": True}
    options |= changes.pop("train", {})
    return load_config(write_config(folder, data, **{"model": MODEL, "stages": STAGES, "train": options, **changes}))


def hashes(output: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder; of those whose content depends on the clock, the names alone."""
    files = sorted(path for path in output.rglob("*") if path.is_file())
    return {
        str(path.relative_to(output)): "" if path.name in TIMED else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def check_every_kill(config: TrainConfig, earlier: TrainConfig | None = None) -> list[str]:
    """Kill a run at each of its operations, resume it, and compare it with one that was not disturbed.

    Args:
        config: The run.
        earlier: A run that finished in the same output folder before, over which `config` is trained; None for none.

    Returns:
        The folders and files that the undisturbed run wrote, as its operations name them.
    """
    output, copies = config.output, config.output.with_name("copies")
    older = config.output.with_name("older")
    if earlier is not None:
        train(earlier)
        shutil.copytree(output, older)
    undisturbed = hashes(train(config, overwrite=earlier is not None).output)

    def start(folder: Path | None) -> None:
        shutil.rmtree(output, ignore_errors=True)
        if folder is not None:
            shutil.copytree(folder, output)

    start(None if earlier is None else older)
    copies.mkdir()
    action = lambda: train(config, overwrite=earlier is not None)  # noqa: E731
    seen = []
    for operation, side, copy in leftovers(action, output, copies):
        seen.append(operation.paths[-1])
        start(copy)
        where = f"{side} {operation}"
        if earlier is not None and not RunFolder(output).begun and hashes(output).keys() >= hashes(older).keys():
            with pytest.raises(ArtQuantError, match="was made from something else"):  # the new run had not begun
                train(config, resume=True)
            train(config, overwrite=True)
        else:
            train(config, resume=True)
        assert hashes(output) == undisturbed, where
    score = ArtQuantScorer.from_pretrained(str(output), device="cpu").score(pictures(1))[0].score
    assert 1 <= score <= 10
    return seen


def test_training_of_all_weights(data, tmp_path):
    """The best weights are written twice, and are not the last ones."""
    seen = check_every_kill(configuration(tmp_path, data, train=EVERY_STEP, seed=4))
    assert {"stages/mat/checkpoint-1", "stages/sot/done.json", "training.json", "training-curves.png"} <= set(seen)
    assert sum(path.startswith("stages/mat/.best.part-") and path.endswith("/old") for path in seen) == 1


def test_training_of_an_adapter_and_extra_weights_over_a_finished_run(data, base, tmp_path):
    earlier = configuration(tmp_path, data, seed=2)
    config = configuration(
        tmp_path, data, model={"pretrained": str(base)}, trained=LORA, train=EVERY_STEP | {"save_steps": 2}, seed=1
    )
    seen = check_every_kill(config, earlier)
    assert {"adapter_config.json", "extra_weights.safetensors"} <= set(seen)


def test_training_that_keeps_the_last_weights_and_evaluates_nothing(data, tmp_path):
    options = {"keep": "last", "eval_strategy": "no", "save_steps": 2}
    seen = check_every_kill(configuration(tmp_path, data, train=options))
    assert "stages/sot/final" in seen


def test_training_that_ends_early(data, tmp_path):
    """The evaluation after the end would find better weights."""
    options = EVERY_STEP | {"early_stopping_patience": 1}
    seen = check_every_kill(configuration(tmp_path, data, stages=STAGES[:1], train=options, seed=3))
    assert "stages/mat/checkpoint-1/whole" in seen and "stages/mat/checkpoint-3" not in seen
