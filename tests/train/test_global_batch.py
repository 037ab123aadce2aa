"""`global_batch_size` says how many samples an optimisation step has, whatever the number of processes."""

import json
import re

import pytest

from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train.config import ArtQuantConfig, accumulation_steps, load_config
from artquant_plugin.train.run import train
from tests.kills import killed
from tests.train.runs import same, write_config, write_small

STAGES = [{"name": "sot", "samples": ["score"], "epochs": 1}]


def values(size: int, wanted: int | None, accumulation: int | None = None) -> dict:
    return {
        "per_device_train_batch_size": size,
        "global_batch_size": wanted,
        "gradient_accumulation_steps": accumulation,
    }


@pytest.mark.parametrize(
    ("size", "wanted", "processes", "steps"),
    [(4, 64, 1, 16), (4, 64, 4, 4), (4, 64, 16, 1), (1, 64, 4, 16), (12, 12, 1, 1), (5, 30, 3, 2)],
)
def test_every_process_accumulates_until_the_step_is_whole(size, wanted, processes, steps):
    assert accumulation_steps(values(size, wanted), processes) == steps
    assert size * processes * steps == wanted


def test_without_a_global_batch_each_process_accumulates_as_often_as_it_is_told():
    assert accumulation_steps(values(4, None), 8) == 1
    assert accumulation_steps(values(4, None, 3), 8) == 3


@pytest.mark.parametrize(
    ("size", "wanted", "processes", "message"),
    [
        (4, 64, 3, "64 is no multiple of 12, the samples that 3 processes of per_device_train_batch_size 4 take at "
         "once; set it to 60 or 72,"),
        (4, 66, 1, "66 is no multiple of 4, the samples that 1 process of .* take at once; set it to 64 or 68,"),
        (4, 64, 32, "64 is no multiple of 128, .* 32 processes .* set it to 128, or change one of the other two"),
        (4, 0, 1, "0 is no multiple of 4, .* set it to 4,"),
        (4, -8, 1, "-8 is no multiple of 4, .* set it to 4,"),
    ],
)  # fmt: skip
def test_a_batch_that_does_not_divide_is_refused_with_the_nearest_ones(size, wanted, processes, message):
    with pytest.raises(ArtQuantError, match=f"^global_batch_size {message}"):
        accumulation_steps(values(size, wanted), processes)


def test_both_ways_to_say_it_are_refused_in_a_file_and_on_top_of_one(tmp_path):
    path = write_config(tmp_path, tmp_path / "data", train={"global_batch_size": 16})
    both = "train: global_batch_size 16 and gradient_accumulation_steps 4 both say how many samples an"
    with pytest.raises(ArtQuantError, match=both):
        load_config(path, ["train.gradient_accumulation_steps=4"])
    other = ["train.gradient_accumulation_steps=4", "train.global_batch_size=null"]
    assert accumulation_steps(dict(load_config(path, other).train), 2) == 4
    again = ["train.gradient_accumulation_steps=null"]
    assert accumulation_steps(dict(load_config(path, again).train), 2) == 16 / 4 / 2
    for wrong in ("0", "-4", "2.5", "many"):
        with pytest.raises(ArtQuantError, match="train.global_batch_size: Input should be"):
            load_config(path, [f"train.global_batch_size={wrong}"])


def test_the_arguments_of_the_trainer_take_it_as_well(tmp_path):
    args = ArtQuantConfig(output_dir=str(tmp_path), per_device_train_batch_size=2, global_batch_size=8)
    assert args.gradient_accumulation_steps == 4
    same_again = {**args.to_dict(), "output_dir": str(tmp_path)}
    assert (same_again["global_batch_size"], same_again["gradient_accumulation_steps"]) == (8, 4)
    given = {"output_dir": str(tmp_path), "per_device_train_batch_size": 2, "global_batch_size": 8}
    assert ArtQuantConfig(**given, gradient_accumulation_steps=4).gradient_accumulation_steps == 4
    with pytest.raises(ArtQuantError, match="global_batch_size 8 and gradient_accumulation_steps 2 both say"):
        ArtQuantConfig(**given, gradient_accumulation_steps=2)
    with pytest.raises(ArtQuantError, match="global_batch_size 9 is no multiple of 2"):
        ArtQuantConfig(**given | {"global_batch_size": 9})
    with pytest.raises(ArtQuantError, match="per_device_train_batch_size 0 is no number of samples; set it to 1 or"):
        ArtQuantConfig(**given | {"per_device_train_batch_size": 0})


class OneOfFour(ArtQuantConfig):
    """Arguments of one of four processes, started by a launcher that does not set WORLD_SIZE, such as mpirun."""

    world_size = 4


def test_a_number_of_processes_that_the_launcher_does_not_tell_is_no_guess(tmp_path):
    options = {"output_dir": str(tmp_path), "per_device_train_batch_size": 2}
    with pytest.raises(ArtQuantError, match="16 was divided among 1 processes, as WORLD_SIZE says, and 4 train; "):
        OneOfFour(**options, global_batch_size=16)
    assert OneOfFour(**options, gradient_accumulation_steps=3).gradient_accumulation_steps == 3


def test_a_batch_that_does_not_divide_stops_a_run_before_its_data_is_read(tmp_path, capsys):
    path = write_config(tmp_path, write_small(tmp_path / "data"), train={"global_batch_size": 6})
    assert main(["train", str(path), "--dry-run"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "global_batch_size 6 is no multiple of 4" in err and "set it to 4 or 8" in err


def test_a_global_batch_gives_the_weights_of_the_accumulation_that_follows_from_it(tmp_path):
    data = write_small(tmp_path / "data")
    lines: list[str] = []
    by_batch = write_config(tmp_path / "a", data, stages=STAGES, train={"global_batch_size": 8})
    by_steps = write_config(tmp_path / "b", data, stages=STAGES, train={"gradient_accumulation_steps": 2})
    first = train(load_config(by_batch), say=lines.append).output
    assert same(first, train(load_config(by_steps)).output)
    assert "batch: 8 samples in an optimisation step: 1 process × 2 micro-batches of 4" in lines
    assert any(re.match(r"stage sot: 2 steps", line) for line in lines)  # 16 samples
    made_from = json.loads((first / "training.json").read_text())["made_from"]
    assert (made_from["processes"], made_from["global_batch"]) == (1, 8)
    # What a run writes down is a configuration that can be trained with.
    again = load_config(first / "config.train.yaml", [f"output={tmp_path / 'c'}"])
    assert accumulation_steps(dict(again.train), 1) == 2


@pytest.mark.parametrize(
    "change", ["train.global_batch_size=16", "train.global_batch_size=null", "train.per_device_train_batch_size=8"]
)
def test_a_run_is_not_resumed_with_another_batch(change, tmp_path):
    path = write_config(tmp_path, write_small(tmp_path / "data"), stages=STAGES, train={"global_batch_size": 8})
    run = load_config(path)
    killed(lambda: train(run), run.output / "stages" / "sot", 3, "after")
    record = run.output / "stages" / "run.json"
    content = json.loads(record.read_text())
    assert content["global_batch"] == 8
    name = change.partition("=")[0]
    with pytest.raises(ArtQuantError, match=rf"was made from something else: {name} \d+ -> \w+"):
        train(load_config(path, [change]), resume=True)
    record.write_text(json.dumps(content | {"global_batch": 32}))
    with pytest.raises(ArtQuantError, match="was made from something else: global_batch 32 -> 8"):
        train(run, resume=True)
    del content["global_batch"]  # as an earlier release wrote it
    record.write_text(json.dumps(content))
    assert train(run, resume=True).output == run.output
