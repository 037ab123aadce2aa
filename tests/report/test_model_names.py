import json

import pytest

from artquant_plugin.cli import main
from artquant_plugin.report.boards import read_boards
from artquant_plugin.report.model_names import folder_name, full_name, readable_names
from artquant_plugin.report.model_predictions import PredictionColumns
from artquant_plugin.report.prediction_sources import parse_prediction_source
from artquant_plugin.report.task_runs import read_runs
from tests.report.results import write_samples

TRUTHS = {f"p{i}": float(i) for i in range(12)}


def write_run(folder, name, **more):
    """A run in the folder that lmms-eval makes for a model of this name."""
    date = more.pop("date", "20260101_000000")
    path = write_samples(folder / folder_name(name), "baid", dict(TRUTHS), TRUTHS, date=date)
    results = path / f"{date}_results.json"
    content = json.loads(results.read_text()) | {"model_name": name, "model_source": "artquant"} | more
    results.write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["runs/demo", "/home/you/runs/demo", "a/b/c/", "gpt-4o", "~/m", "C:\\m", "x@main"])
def test_folders_are_named_as_lmms_eval_names_them(name):
    from lmms_eval.utils import sanitize_model_name

    assert folder_name(name) == sanitize_model_name(name)


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["runs/demo", "gpt-4o-2024-08-06"], None),
        (["Liuuuu123/ArtQuant", "Qwen/Qwen2.5-VL-7B-Instruct@abc"], None),
        (["exp/one/runs/demo"], None),
        (["/data/runs/demo", "~/runs/other", "../m"], ["runs/demo", "runs/other", "../m"]),
        (["/h/a/runs/demo", "/h/b/runs/demo", "/h/c/runs/x"], ["a/runs/demo", "b/runs/demo", "runs/x"]),
        (["runs/demo", "/h/a/runs/demo"], ["runs/demo", "a/runs/demo"]),
        (["/runs/demo", "runs/demo"], None),
        (["./runs/demo", "runs/demo"], None),
        ([], []),
    ],
)
def test_names_are_short_and_tell_models_apart(names, short):
    assert list(readable_names(names).values()) == (names if short is None else short)


def test_the_name_is_what_model_args_names():
    assert full_name({"model_name": "runs/demo", "model_source": "artquant"}, "runs__demo") == "runs/demo"
    assert full_name({"model_name": "./runs/demo"}, "runs__demo") == "runs/demo"
    assert full_name({"model_name": "", "model_source": "dummy"}, "results") == "dummy"
    assert full_name({}, "runs__demo") == "runs__demo"
    assert full_name({"model_name": "runs/demo"}, "named by me") == "named by me"
    pyiqa = {"model_source": "pyiqa", "model_name": "", "config": {"model_args": "metric=qalign,task=aesthetic"}}
    assert full_name(pyiqa, "results") == "pyiqa:qalign:aesthetic"


def test_a_key_is_no_part_of_a_name():
    config = {"model_args": "model=http://host/?api_key=sk-0123456789abcdef"}
    name = "http://host/?api_key=sk-0123456789abcdef"
    assert "0123456789abcdef" not in full_name({"model_name": name, "config": config}, folder_name(name))


def test_two_checkpoints_whose_paths_end_alike_are_two_models(tmp_path, monkeypatch, capsys):
    """lmms-eval puts both into one folder, `runs__demo`, of which the newer run alone was shown."""
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))
    write_run(tmp_path / "r", "/seeds/one/runs/demo")
    write_run(tmp_path / "r", "/seeds/two/runs/demo", date="20260102_000000")
    assert [(run.model, run.older) for run in read_runs([tmp_path / "r"])] == [
        ("one/runs/demo", 0),
        ("two/runs/demo", 0),
    ]
    assert main(["compare", str(tmp_path / "r")]) == 0
    assert capsys.readouterr().out.startswith("baid: A = one/runs/demo, B = two/runs/demo\n")


def test_names_are_unique_over_all_sources_of_a_page(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))
    write_run(tmp_path / "a", "/seeds/one/runs/demo")
    write_run(tmp_path / "b", "/seeds/two/runs/demo")
    sources = [parse_prediction_source(str(tmp_path / name)) for name in "ab"]
    (board,) = read_boards(sources, PredictionColumns())
    assert [model.name for model in board.models] == ["one/runs/demo", "two/runs/demo"]
