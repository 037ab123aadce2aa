"""What tables and the page say of published checkpoints: the scoring preset, and training data that are tested on."""

import json
from pathlib import Path

import pytest

from artquant_plugin.checkpoint import known_checkpoints
from artquant_plugin.cli import main
from artquant_plugin.report.analysis import analyse
from artquant_plugin.report.board_tables import comparisons_table, leaderboard, model_cautions
from artquant_plugin.report.boards import read_boards
from artquant_plugin.report.model_predictions import PredictionColumns
from artquant_plugin.report.prediction_sources import parse_prediction_source
from artquant_plugin.report.site.build import build_site
from artquant_plugin.report.training_data import seen_in_training
from tests.report.results import DATE, write_paintings, write_samples

SEEN = "its training data are AVA, so it may have seen pictures of this test"


def write_run(folder: Path, dataset, *, pretrained: str, preset: str | None, name: str = "") -> None:
    """A run of this package's model, as lmms-eval writes it."""
    truths = {row.id: row.score for row in dataset.split("test")}
    task = dataset.info.name
    sign = -1 if preset else 1
    write_samples(folder, dataset, {key: sign * value for key, value in truths.items()}, truths, task=task)
    file = folder / f"{DATE}_samples_{task}.jsonl"
    checkpoint = {"name": name or pretrained, "revision": None, "weights": "0" * 64}
    checkpoint |= {"scoring": preset} if preset else {}
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["scored"]["checkpoint"] = checkpoint
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = folder / f"{DATE}_results.json"
    content = json.loads(results.read_text())
    content |= {"model_source": "artquant", "model_name": pretrained}
    content["config"] = {"model": "artquant", "model_args": f"pretrained={pretrained}"}
    content["configs"][task]["metadata"] |= {"artquant": "score"}
    results.write_text(json.dumps(content))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """On a dataset that is called AVA: a model that was trained on AVA, and one that was not."""
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    dataset = write_paintings(tmp_path / "ava", 12, name="ava")
    folder = tmp_path / "results"
    write_run(
        folder / "q-future__q-align-aesthetic",
        dataset,
        pretrained="q-future/q-align-aesthetic",
        preset="q-align-aesthetic",
    )
    write_run(folder / "runs__own", dataset, pretrained="runs/own", preset=None)
    return folder


def analysis_of(runs: Path):
    (board,) = read_boards([parse_prediction_source(str(runs))], PredictionColumns())
    return analyse(board, resamples=20, pair_resamples=20)


@pytest.mark.parametrize(
    ("names", "dataset", "expected"),
    [
        (["Q-Future/q-align-aesthetic@v1"], "AVA", SEEN),
        (["q-future/q-align-aesthetic:mine.yaml"], "ava", SEEN),
        (["mine", "q-future/q-align-aesthetic"], "ava", SEEN),  # the folder was renamed; the samples know the id
        (["q-future/q-align-iqa"], "ava", ""),
        (["q-future/q-align-aesthetic"], "baid", ""),
        (["q-future/q-align-aesthetic"], "av", ""),
        (["q-future/q-align-aesthetic"], "", ""),
        (["runs/own", ""], "ava", ""),
        (["q-future/q-align-iqa"], "koniq10k", SEEN.replace("AVA", "KonIQ-10k")),
    ],
)
def test_training_data_are_told_by_hub_id_and_name_of_the_dataset(names, dataset, expected):
    assert seen_in_training(names, dataset) == expected


@pytest.mark.parametrize("dataset", ["apdd", "baid", "vaps"])
def test_the_papers_checkpoint_may_have_seen_each_of_its_datasets(dataset):
    (entry,) = next(known.trained_on for known in known_checkpoints() if known.id == "Liuuuu123/ArtQuant")
    found = seen_in_training(["Liuuuu123/ArtQuant"], dataset)
    assert found == f"its training data are {entry}, so it may have seen pictures of this test"


def test_tables_say_which_model_was_trained_on_the_dataset(runs, capsys):
    analysis = analysis_of(runs)
    names = [evaluation.model.name for evaluation in analysis.evaluations]
    trained = next(name for name in names if "q-align" in name)
    for notes in (
        leaderboard(analysis).all_notes,
        comparisons_table("ava", analysis.comparisons, model_cautions(analysis)).all_notes,
    ):
        assert [note for note in notes if "training data" in note] == [f"{trained}: {SEEN}."]
    for options in ([], ["--format", "markdown"]):
        assert main(["compare", str(runs), *options]) == 0
        told = [line for line in capsys.readouterr().out.splitlines() if "training data" in line]
        assert told == [f"{trained}: {SEEN}."]
    assert main(["results", str(runs), "--resamples", "0"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "training data" in line]
    assert told == [f"{trained} on ava: {SEEN}"]


def test_the_page_shows_the_preset_and_the_training_data(runs, tmp_path):
    build_site(tmp_path / "site", [analysis_of(runs)], title="t", workers=1)
    page = (tmp_path / "site" / "ava.html").read_text()
    assert page.count("Scoring preset") == 1  # the run without a preset has no such line
    line = page[page.index("Scoring preset") :][:120]
    assert ">q-align-aesthetic<" in line.replace("</dt>", "").replace("\n", "")
    assert SEEN in page
