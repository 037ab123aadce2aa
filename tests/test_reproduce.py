"""The paper's runs as docs/reproduce.md shows them: their lines go together, and run."""

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from artquant_plugin.train.sections import read_sections
from tests.paths import ROOT
from tests.reproduce import evaluated, page_lines, run_page, trains

DATASETS = ("apdd", "baid", "vaps")
PER_PROCESS = {1: 16, 4: 4}  # accumulated batches of 4, so that a step has 64 samples


def processes(line: str) -> int:
    found = re.search(r"--nproc_per_node (\d+)", line)
    return int(found[1]) if found else 1


def output(line: str) -> str:
    """The folder that a line that trains writes its checkpoint to."""
    words = shlex.split(line)
    config = next(word for word in words if word.endswith(".yaml"))
    overrides = [value for flag, value in zip(words, words[1:], strict=False) if flag == "--set"]
    return str(read_sections(Path(config), overrides)[0].output)


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_is_imported_trained_on_one_and_on_four_gpus_and_evaluated(name):
    lines = page_lines()
    imported = next(index for index, line in enumerate(lines) if line.startswith(f"artquant data import {name} "))
    assert "--descriptions RAD/" in lines[imported]
    one, four, evaluation, table = lines[imported + 1 : imported + 5]
    assert [processes(line) for line in (one, four)] == [1, 4]
    assert output(one) == output(four) == evaluated(evaluation) == f"runs/{name}"
    assert f"--tasks {name} " in evaluation
    assert table == "artquant results results"


def test_every_checkpoint_that_is_evaluated_was_trained_before_and_every_trained_one_is_evaluated():
    trained: set[str] = set()
    tested = []
    for line in page_lines():
        if trains(line):
            trained.add(output(line))
        elif (checkpoint := evaluated(line)) is not None:
            assert checkpoint in trained, line
            tested.append(checkpoint)
    assert Counter(tested) == Counter(trained)


def test_make_and_the_readme_name_the_page():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^reproduce-dry: .*\n\t\$\(BIN\)/python -m tests.reproduce$", makefile, re.MULTILINE)
    assert "docs/reproduce.md" in (ROOT / "README.md").read_text()


@pytest.mark.slow(seconds=360)
def test_the_lines_of_the_page_run(tmp_path):
    done = list(run_page(tmp_path))
    assert [command.removesuffix(" --dry-run") for command, _ in done] == page_lines()
    assert [command.endswith(" --dry-run") for command, _ in done] == [trains(line) for line in page_lines()]
    for command, out in done:
        if not trains(command):
            continue
        count = processes(command)
        shares = f"{count} process{'es' * (count > 1)} × {PER_PROCESS[count]} micro-batches of 4\n"
        assert out.count(f"batch: 64 samples in an optimisation step: {shares}") == 1  # one process speaks
        described = re.findall(r"Describe the aesthetics[^\[]*\[\[(.*?)<?/?s?>?\]\]", out, re.DOTALL)
        levels = {tuple(re.findall(r"Perception|Cognition|Emotion|A quiet picture", text)) for text in described}
        if "descriptions=comment" in command:
            assert levels == {("A quiet picture",)}
        elif "[perception]" in command:
            assert levels == {("Perception",)}
        elif "[perception, cognition]" in command:
            assert levels == {("Perception", "Cognition")}
        elif "stages=" in command:
            assert not levels and "describe" not in out
        else:
            assert levels == {("Perception", "Cognition", "Emotion")}
    table = done[-1][1]
    assert len(re.findall(r"^(?:apdd|baid|vaps) ", table, re.MULTILINE)) == len(DATASETS) + 3 + 3
