"""`artquant models`: the known checkpoints and the presets, as a table and as JSON."""

import json

from artquant_plugin.checkpoint import known_checkpoints, shipped_presets
from artquant_plugin.cli import main


def test_the_tables_hold_every_checkpoint_and_preset(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.startswith("q-future/one-align "))
    for part in ("q-align", "0 to 1", "8.2 B", "KonIQ-10k, SPAQ, KADID-10k, AVA, LSVQ", "MIT by its card"):
        assert part in line
    # Two headers, and an empty line between the tables.
    assert len(lines) == len(known_checkpoints()) + len(shipped_presets()) + 3


def test_json_holds_the_whole_presets_and_their_sources(capsys):
    assert main(["models", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    models = {model["id"]: model for model in content["models"]}
    assert models["zhiyuanyou/DeQA-Score-Mix3"]["scale"] == [1, 5]
    assert models["q-future/Q-ReAlign-Mini-0.8B"]["trained_on"][3] == "AGIQA-20K"
    deqa = content["presets"]["deqa"]
    assert deqa["source"] == "zhiyuanyou/DeQA-Score @ 4768965, src/evaluate/scorer.py"
    assert list(deqa["levels"].values()) == [5, 4, 3, 2, 1]
