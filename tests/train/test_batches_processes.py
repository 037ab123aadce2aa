"""Two processes against one with the same global batch; run as a module, this file is one of the processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.paths import ROOT
from tests.train.launching import free_port
from tests.train.trainers import pairs, samples, tiny_trainer

# In steps of four the processes get: unequal numbers of tokens; one kind each; both kinds on one side alone.
KINDS = ["score", "describe", "describe", "score"] * 2 + ["score", "score", "describe", "describe"] * 3


def stream(folder: Path) -> datasets.IterableDataset:
    """Ten rows of two samples each, of which the processes take their own."""
    made = pairs(folder, 10)
    content = {
        "image": [str(sample.image) for sample in made[:10]],
        "score": [1.5 + index for index in range(8)] + [2.0, 9.0],
        "description": [sample.description for sample in made[10:]],
    }
    return datasets.Dataset.from_dict(content).to_iterable_dataset()


def run(folder: Path, *, batch: int, accumulation: int, kind: str, **options: str) -> None:
    """Two epochs, or as many steps of a stream; leaves weights and log of the first process."""
    chosen = {
        "apart": lambda: samples(folder / "data", KINDS),
        "share": lambda: pairs(folder / "data", 10)[:-4],
        "stream": lambda: stream(folder / "data"),
    }
    trainer = tiny_trainer(
        folder,
        chosen[kind](),
        batch=batch,
        share_images=kind == "share",
        gradient_accumulation_steps=accumulation,
        num_train_epochs=2,
        max_steps=10 if kind == "stream" else -1,
        learning_rate=0.05,
        **options,
    )
    trainer.train()
    if trainer.is_world_process_zero():
        save_file(trainer.accelerator.unwrap_model(trainer.model).state_dict(), folder / "weights.safetensors")
        (folder / "log.json").write_text(json.dumps(trainer.state.log_history))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "accumulation", "kind"), [(2, 1, "apart"), (1, 2, "apart"), (2, 1, "share"), (2, 1, "stream")]
)
def test_two_processes_give_the_losses_and_weights_of_one(tmp_path, batch, accumulation, kind):
    run(tmp_path / "one", batch=4, accumulation=1, kind=kind)
    two = tmp_path / "two"
    two.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port"]
    command += [str(free_port()), "-m", "tests.train.test_batches_processes", str(two)]
    command += [str(batch), str(accumulation), kind]
    env = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    logs = [json.loads((tmp_path / name / "log.json").read_text()) for name in ("one", "two")]
    steps = [[line for line in log if "loss" in line] for log in logs]
    assert len(steps[0]) == len(steps[1]) == (8 if kind == "share" else 10)
    for one, other in zip(*steps, strict=True):
        for name in ("loss", "ce_description", "ce_answer", "kl"):
            assert (name in one) == (name in other)  # a step may have no score or no description
            assert other.get(name, 0) == pytest.approx(one.get(name, 0), rel=1e-5), name
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-5, atol=1e-6, msg=name)


if __name__ == "__main__":
    place, size, steps, kind = sys.argv[1:]
    run(Path(place), batch=int(size), accumulation=int(steps), kind=kind, ddp_backend="gloo")
