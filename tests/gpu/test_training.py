"""Training on a GPU: in half precision, with recomputed activations, and resumed."""

import csv
import os
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from artquant_plugin.train.config import load_config
from artquant_plugin.train.run import train
from tests.train.runs import LORA, same, weights, write_config
from tests.train.test_resume import begin

pytestmark = pytest.mark.gpu

ONE_STAGE = [{"name": "mat", "samples": ["describe", "score"], "epochs": 1}]
# torch takes algorithms of which each gives the same sums in each run, and refuses those without one.
DETERMINISTIC = {"full_determinism": True}


def losses(folder: Path, data: Path, **given) -> list[float]:
    """The losses of a short run's steps; accelerate would keep the device of the process's first run."""
    AcceleratorState._reset_state(reset_partial_state=True)
    output = train(load_config(write_config(folder, data, stages=ONE_STAGE, train={"max_steps": 3, **given}))).output
    with (output / "training-curves.csv").open(newline="") as file:
        return [float(line["loss"]) for line in csv.DictReader(file) if line["loss"]]


def test_losses_are_those_of_the_cpu(data, options, tmp_path, exact_float32):
    on_cpu = losses(tmp_path / "cpu", data, use_cpu=True)
    assert len(on_cpu) == 3
    assert losses(tmp_path / "gpu", data, **options) == pytest.approx(on_cpu, rel=1e-3)


@pytest.mark.parametrize("half", ["bf16", "fp16"])
def test_half_precision_changes_losses_by_its_rounding_alone(half, data, options, on_gpu, tmp_path):
    if half == "fp16" and not on_gpu:
        pytest.skip("float16 is refused on a CPU")
    whole = losses(tmp_path / "float32", data, **options)
    found = losses(tmp_path / half, data, **options, **{half: True})
    assert found != whole
    assert found == pytest.approx(whole, rel=2e-2)


def test_recomputed_activations_give_the_same_losses(data, options, tmp_path):
    kept = losses(tmp_path / "kept", data, **options)
    assert losses(tmp_path / "again", data, **options, gradient_checkpointing=True) == pytest.approx(kept, rel=1e-4)


def test_a_compiled_model_has_the_same_losses(data, options, on_gpu, tmp_path):
    """Through the compiler that users get; on a CPU it would call a C++ compiler for minutes."""
    plain = losses(tmp_path / "plain", data, **options)
    backend = "inductor" if on_gpu else "eager"
    found = losses(tmp_path / "compiled", data, **options, torch_compile=True, torch_compile_backend=backend)
    torch._dynamo.reset()
    assert found == pytest.approx(plain, rel=1e-3)


@pytest.fixture
def algorithms():
    """full_determinism holds for the rest of the process; this ends it."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.timeout(900)  # five runs, one of them in a process of its own
@pytest.mark.parametrize("given", [DETERMINISTIC, {}], ids=["deterministic", "as it is"])
def test_a_killed_run_goes_on(given, data, options, on_gpu, algorithms, tmp_path, record_property, monkeypatch):
    """Bit for bit where the algorithms are; else with the same weights but for rounding."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # torch asks for it before the first product of a process
    changes = {
        "train": {"save_steps": 1, **options, **given},
        "stages": ONE_STAGE,
        "trained": LORA,
        "model": {"pretrained": str(base(data, options, tmp_path))},
    }
    through = train(load_config(write_config(tmp_path / "through", data, **changes))).output
    config = write_config(tmp_path / "cut", data, **changes)
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "0") if on_gpu else ""
    process = begin(config, tmp_path, "mat", 3, devices=devices)
    process.kill()
    process.communicate()
    assert (tmp_path / "cut" / "run" / "stages" / "mat" / "checkpoint-3" / "whole").is_file()
    resumed = train(load_config(config), resume=True).output
    record_property("bit_for_bit", same(resumed, through))
    if given:
        assert same(resumed, through)
    found, expected = weights(resumed), weights(through)
    assert set(found) == set(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)


def base(data: Path, options: dict, folder: Path) -> Path:
    """A trained model on which an adapter is put."""
    stages = [{"name": "none", "samples": ["describe", "score"], "epochs": 0.25}]
    return train(load_config(write_config(folder / "base", data, stages=stages, train=options))).output
