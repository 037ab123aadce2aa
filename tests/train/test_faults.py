"""What goes wrong in a run, and what is said and left behind."""

import csv
import json
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from artquant_plugin.checkpoint import load_checkpoint
from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec
from artquant_plugin.train.collate import REPORT, AnswerCollator, GuardedCollator, count_terms
from artquant_plugin.train.config import load_config
from artquant_plugin.train.data import MixedSamples, load_training_data
from artquant_plugin.train.run import train
from artquant_plugin.train.trainer import ArtQuantTrainer
from tests.paths import ROOT
from tests.tiny import tiny_llava
from tests.train.runs import LORA, write_config, write_small

ONE_STAGE = [{"name": "only", "samples": ["score"], "epochs": 1}]
BAD = 5  # odd: of 70 images, the check before the first step opens every second one


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture
def broken(tmp_path) -> Path:
    """70 paintings, of which one is cut short."""
    folder = write_small(tmp_path / "broken", count=70, validation=0)
    path = folder / f"{BAD}.png"
    path.write_bytes(path.read_bytes()[:200])
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_named_and_stops_the_run(workers, broken, tmp_path):
    config = write_config(
        tmp_path, broken, stages=ONE_STAGE, train={"dataloader_num_workers": workers, "per_device_train_batch_size": 8}
    )
    with pytest.raises(ArtQuantError, match=rf"sample score {BAD}: .*{BAD}\.png.*train.on_bad_sample=skip") as raised:
        train(load_config(config))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run" / "artquant.json").exists()


@pytest.mark.parametrize("batch_size", [8, 1])
def test_an_image_that_cannot_be_read_is_left_out_and_counted_when_asked(batch_size, broken, tmp_path):
    options = {"on_bad_sample": "skip", "per_device_train_batch_size": batch_size, "save_steps": 1000}
    config = write_config(tmp_path, broken, stages=ONE_STAGE, train=options)
    with pytest.warns(UserWarning, match=f"sample score {BAD} is left out: .*{BAD}.png"):
        summary = train(load_config(config))
    assert summary.skipped == 1
    assert "1 samples were left out" in "\n".join(summary.lines())
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert list(record["skipped"]) == [f"score {BAD}"]
    with (tmp_path / "run" / "training-curves.csv").open(newline="") as file:
        assert [line["skipped"] for line in csv.DictReader(file) if line["loss"]][-1] == "1"


def test_a_weight_that_leaves_no_sample_is_one_line(small, tmp_path):
    config = write_config(tmp_path, small, stages=ONE_STAGE, data=[{"name": str(small), "weight": 1e-4}])
    with pytest.raises(ArtQuantError, match="stage only has no sample at data weight 0.0001; raise the weight"):
        train(load_config(config))


def test_an_image_of_the_validation_split_is_left_out_and_counted_when_asked(tmp_path):
    data = write_small(tmp_path / "data", count=24, validation=8)
    (data / "20.png").write_bytes((data / "20.png").read_bytes()[:200])
    config = write_config(tmp_path, data, stages=ONE_STAGE, train={"on_bad_sample": "skip"})
    with pytest.warns(UserWarning, match="validation 20.png is left out: .*20.png"):
        summary = train(load_config(config))
    assert summary.skipped == 1
    assert "eval_srocc" in dict(summary.stages)["only"]
    assert list(json.loads((tmp_path / "run" / "training.json").read_text())["skipped"]) == ["validation 20.png"]


def guarded(data: Path) -> tuple[MixedSamples, GuardedCollator]:
    config = load_config(write_config(data.parent / "configs", data, stages=ONE_STAGE))
    prompter = Prompter(tiny_llava()[1], PromptSpec(), LevelScale())
    return load_training_data(config).mixed(("score",), 0), GuardedCollator(AnswerCollator(prompter))


def test_what_is_left_out_is_replaced_by_nothing(broken):
    samples, collator = guarded(broken)
    whole = collator([samples[index] for index in (3, BAD, 8)])
    without = collator([samples[index] for index in (3, 8)])
    assert whole[REPORT].names == without[REPORT].names == ("score 3", "score 8")
    assert [name for name, _ in whole[REPORT].unreadable] == [f"score {BAD}"]
    (one,), (other,) = whole["parts"], without["parts"]
    assert one["inputs"].keys() == other["inputs"].keys()
    assert all(torch.equal(one["inputs"][name], other["inputs"][name]) for name in one["inputs"])
    names = ("supervised", "next_ids", "is_level", "is_description", "level_targets")
    assert all(torch.equal(one[name], other[name]) for name in names)


def test_a_batch_of_which_nothing_can_be_read_moves_no_weight(broken, tmp_path):
    samples, collator = guarded(broken)
    batch = collator([samples[BAD]])
    assert batch[REPORT].names == ()
    assert count_terms(batch).tolist() == [0, 0, 0, 0]

    from artquant_plugin.train.config import ArtQuantConfig
    from artquant_plugin.train.tiny import build_tiny_model
    from tests.tiny import SIZES, tiny_texts

    model, processor = build_tiny_model(SIZES, tiny_texts(), seed=0)
    trainer = ArtQuantTrainer(
        model,
        ArtQuantConfig(output_dir=str(tmp_path / "out"), report_to="none", use_cpu=True, on_bad_sample="skip"),
        samples,
        processing_class=processor,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (checked,), items = trainer.get_batch_samples(iter([batch]), 1, torch.device("cpu"))
    assert trainer.training_step(model, checked, items).item() == 0
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients and not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_disk_that_fails_stops_the_run_also_where_bad_images_are_left_out(workers, tmp_path):
    data = write_small(tmp_path / "small", count=70, validation=0)
    (data / f"{BAD}.png").unlink()
    (data / f"{BAD}.png").symlink_to("/proc/self/mem")  # reading it fails with EIO
    options = {"on_bad_sample": "skip", "dataloader_num_workers": workers, "per_device_train_batch_size": 8}
    with pytest.raises(MachineError, match=rf"{BAD}\.png' cannot be read: Input/output error; look for") as raised:
        train(load_config(write_config(tmp_path, data, stages=ONE_STAGE, train=options)))
    assert "\n" not in str(raised.value)


def test_an_image_that_the_first_check_finds_stops_before_the_model_is_trained(tmp_path):
    data = write_small(tmp_path / "data")
    (data / "0.png").write_text("no image")
    with pytest.raises(ArtQuantError, match=r"0\.png.* is no image .*train.on_bad_sample=skip"):
        train(load_config(write_config(tmp_path, data, stages=ONE_STAGE)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_full_disk_leaves_the_checkpoint_of_before(kind, small, tmp_path, monkeypatch):
    """A limit on the size of files stands in for the full disk: writing fails in the middle of a file."""
    changes = {"stages": ONE_STAGE, "trained": LORA if kind == "lora" else {}}
    config = write_config(tmp_path, small, train={"save_steps": 1}, **changes)
    step = ArtQuantTrainer.training_step
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(self, *args, **options):
        if self.state.global_step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        return step(self, *args, **options)

    monkeypatch.setattr(ArtQuantTrainer, "training_step", filling)
    folder = tmp_path / "run" / "stages" / "only"
    try:
        with pytest.raises(ArtQuantError) as raised:
            train(load_config(config))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    message = str(raised.value)
    assert message.startswith(f"checkpoint {folder}/checkpoint-3 could not be written")
    assert message.endswith(f"{folder}/checkpoint-2 is whole: make room on the disk and go on with --resume")
    assert "\n" not in message
    assert not (folder / "checkpoint-3").exists()
    monkeypatch.undo()
    if kind == "full":
        load_checkpoint(str(folder / "checkpoint-2"))
    assert train(load_config(config), resume=True).output == tmp_path / "run"


def test_a_loss_that_is_not_finite_names_the_batch(small, tmp_path):
    config = write_config(tmp_path, small, stages=ONE_STAGE, train={"learning_rate": 1e30})
    with pytest.raises(ArtQuantError, match=r"the loss became \w+ at step \d+ with \d+, \d+, .*; lower train"):
        train(load_config(config))


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import torch
from artquant_plugin.cli import main
import artquant_plugin.train.run

torch.set_num_threads(1)
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 700 * 2**20, resource.RLIM_INFINITY))
sys.exit(main(["train", *sys.argv[1:]]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the size of the process from /proc")
def test_too_little_memory_says_what_to_lower(small, tmp_path):
    model = {"tiny": {"image_size": 128, "patch_size": 4, "hidden": 256, "vision_layers": 4, "text_layers": 4}}
    config = write_config(tmp_path, small, stages=ONE_STAGE, model=model, train={"per_device_train_batch_size": 16})
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(config)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr[-3000:]
    assert "the memory does not suffice for a training step; lower train.per_device_train_batch_size" in done.stderr
    assert "Traceback" not in done.stderr
