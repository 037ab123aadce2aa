"""The check before the first step, and `--dry-run`."""

import re
from pathlib import Path

import pytest

from artquant_plugin.cli import main
from artquant_plugin.train.config import load_config
from artquant_plugin.train.run import dry_run, train
from tests.train.runs import LORA, write_config, write_small


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small")


def test_what_is_said_before_the_first_step(data, tmp_path):
    lines: list[str] = []
    train(load_config(write_config(tmp_path, data, trained=LORA)), say=lines.append)
    text = "\n".join(lines)
    assert lines[0] == "small: 16 describe, 16 score samples, 8 paintings for validation"
    assert re.search(r"^images: 24 of 24 opened, \d+ ms each$", text, re.MULTILINE)
    assert "labels: sbde; scores from 1 to 9, levels' range [1, 10]" in text
    assert re.search(r"^language: [\d,]+ of [\d,]+ weights trained$", text, re.MULTILINE)
    vision = re.search(r"^vision: ([\d,]+) of ([\d,]+) weights trained$", text, re.MULTILINE)
    assert vision and vision[1] == vision[2]
    assert re.search(r"^level tokens: excellent '.+', good '.+', fair '.+', poor '.+', bad '.+'$", text, re.MULTILINE)
    # 32 samples in batches of 4, then 16.
    assert re.search(r"^stage mat: 8 steps, [\d.]+ s each$", text, re.MULTILINE)
    assert re.search(r"^in all: 12 steps, about \d+ seconds$", text, re.MULTILINE)
    assert re.search(r"^memory: [\d.]+ MiB of weights, [\d.]+ MiB of gradients", text, re.MULTILINE)


def test_the_number_of_steps_is_the_trainers(data, tmp_path):
    import csv

    options = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2}
    stages = [{"name": "mat", "samples": ["describe", "score"], "epochs": 1.5}]
    lines: list[str] = []
    train(load_config(write_config(tmp_path, data, train=options, stages=stages)), say=lines.append)
    said = int(re.search(r"stage mat: (\d+) steps", "\n".join(lines))[1])
    with (tmp_path / "run" / "training-curves.csv").open(newline="") as file:
        assert said == max(int(line["step"]) for line in csv.DictReader(file))


def test_a_dry_run_shows_a_batch_with_what_is_supervised_and_leaves_nothing(data, tmp_path, capsys):
    config = write_config(tmp_path, data)
    before = sorted(tmp_path.rglob("*"))
    assert main(["train", str(config), "--dry-run"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    text = capsys.readouterr().out
    assert "first batch of stage mat:" in text and "first batch of stage sot:" in text
    scored = re.findall(r"^(<user>.*)$", text.partition("first batch of stage sot:")[2], re.MULTILINE)
    assert len(scored) == 4
    for line in scored:
        # The whole answer in brackets, with the level's word in braces, and nothing else.
        assert re.fullmatch(
            r"<user><image>×16[^\[\]{}]*<assistant>\[\[The quality of the painting is\]\]"
            r"\{\{ (excellent|good|fair|poor|bad)\}\}\[\[\.<end>\]\]",
            line,
        ), line
    described = re.findall(r"<assistant>\[\[Perception: Warm reds\.\n[^\[\]{}]*Emotion: [^\[\]{}]*<end>\]\]\n", text)
    assert len(described) == text.count("Describe the aesthetics") > 0


def test_a_dry_run_changes_nothing_of_the_run_that_follows(data, tmp_path):
    from tests.train.runs import same

    lines: list[str] = []
    config = load_config(write_config(tmp_path / "a", data))
    dry_run(config, lines.append)
    assert same(train(config).output, train(load_config(write_config(tmp_path / "b", data))).output)
