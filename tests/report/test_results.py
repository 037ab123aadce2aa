import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.agreement import evaluate
from artquant_plugin.report.results_table import ResultRow, markdown_table, text_table
from artquant_plugin.report.scatter import draw_scatter
from artquant_plugin.report.task_runs import read_runs


def sample(name: str, prediction: float | None, truth: float, reason: str | None = None, missing: int = 0) -> dict:
    return {
        "doc_id": 0,
        "scored": {"id": name, "prediction": prediction, "reason": reason, "truth": truth, "category": None},
        "missing": missing,
    }


def write_samples(folder: Path, date: str, task: str, samples: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{date}_samples_{task}.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples))


def test_the_newest_run_of_each_model_and_task_is_read(tmp_path):
    write_samples(tmp_path / "one", "20260101_000000", "baid", [sample("a", 9.0, 1.0)])
    write_samples(
        tmp_path / "one",
        "20260201_000000",
        "baid",
        [sample("a", 2.0, 1.0, missing=3), sample("b", None, 4.0, "empty", 3), sample("c", None, 4.0, "empty", 3)],
    )
    write_samples(tmp_path / "two", "20260101_000000", "apdd", [sample("a", 5.0, 5.0)])
    write_samples(tmp_path / "two", "20260101_000000", "mme", [{"doc_id": 0, "mme_score": 1}])
    first, second = read_runs([tmp_path])
    assert (first.task, first.model, first.older) == ("apdd", "two", 0)
    assert (second.task, second.model, second.older, second.date) == ("baid", "one", 1, "20260201_000000")
    assert (second.ids, second.predictions, second.truths) == (["a"], [2.0], [1.0])
    assert (second.failures, second.missing) == ({"empty": 2}, 3)
    assert second.unscored == {"b": 4.0, "c": 4.0}


@pytest.mark.parametrize(
    ("results", "models"),
    [
        ([{"model_name": "", "model_source": "dummy"}, {"model_name": "", "model_source": "vllm"}], ["dummy", "vllm"]),
        ([{"model_name": "runs/demo", "model_source": "artquant"}, {}], ["out"]),
    ],
)
def test_models_that_share_a_folder_are_told_apart(results, models, tmp_path):
    for date, content in zip(("20260101_000000", "20260102_000000"), results, strict=True):
        write_samples(tmp_path / "out", date, "baid", [sample("a", 9.0, 1.0)])
        (tmp_path / "out" / f"{date}_results.json").write_text(json.dumps(content))
    assert [run.model for run in read_runs([tmp_path])] == models


@pytest.mark.parametrize(
    ("model", "metadata", "prompt"),
    [
        ("openai", {"prompt": "plain-1", "artquant": "score"}, "plain-1"),
        ("openai", {"prompt": "cot-1"}, "cot-1"),
        ("artquant", {"prompt": "plain-1", "artquant": "score"}, "own"),
        ("artquant", {"prompt": "cot-1"}, "cot-1"),
        ("openai", None, ""),
    ],
)
def test_results_say_which_prompt_made_them(model, metadata, prompt, tmp_path):
    write_samples(tmp_path, "d", "baid", [sample("a", 9.0, 1.0)])
    content = {"model_name": "m", "model_source": model, "configs": {"baid": {"metadata": metadata}}}
    (tmp_path / "d_results.json").write_text(json.dumps(content))
    assert read_runs([tmp_path])[0].prompt == prompt


@pytest.mark.parametrize("content", [None, '{"doc_id": 0, "mme_score": 1}\n', "nonsense\n", ""])
def test_a_folder_without_our_samples_says_how_to_get_them(content, tmp_path):
    if content is not None:
        (tmp_path / "d_samples_mme.jsonl").write_text(content)
    with pytest.raises(ArtQuantError, match="run lmms-eval with --log_samples --output_path"):
        read_runs([tmp_path])


def test_a_sample_cut_short_is_named_by_file_and_line(tmp_path):
    write_samples(tmp_path, "d", "baid", [sample("a", 1.0, 1.0)])
    with (tmp_path / "d_samples_baid.jsonl").open("a") as file:
        file.write('{"scored": {"id"')
    with pytest.raises(ArtQuantError, match="d_samples_baid.jsonl:2: not a sample"):
        read_runs([tmp_path])


def rows() -> list[ResultRow]:
    agreement = evaluate(["a", "b", "c"], [1.0, 2.0, 4.0], [1.0, 3.0, 2.0], resamples=0)
    filled = evaluate(["a", "b", "c", "d"], [1.0, 2.0, 4.0, 2.0], [1.0, 3.0, 2.0, 9.0], resamples=0)
    failures = {"empty": 2, "no_number": 1}
    return [
        ResultRow("baid", "x|y", failures, 5, agreement, filled, "plain-1"),
        ResultRow("vaps", "m", {}, 0, None),
    ]


def test_a_table_shows_counts_before_figures():
    header, first, second = text_table(rows()).splitlines()
    assert header.split()[:7] == ["task", "model", "prompt", "n", "scored", "failed", "missing"]
    # SROCC of ranks 123 and 132 is 0.5; deviations (-4, -1, 5)/3 and (-1, 1, 0): 1 / sqrt(42/9 · 2) = 0.327.
    # Filled: deviations of ranks 1, 2.5, 4, 2.5 and 1, 3, 2, 4 have products of sum 1.5; 1.5 / sqrt(4.5 · 5) = 0.316.
    # Deviations of the values, -5/4, -1/4, 7/4, -1/4 and -11/4, -3/4, -7/4, 21/4: -0.75 / sqrt(4.75 · 38.75) = -0.055.
    for part in ("plain-1  6  3  ", "3 (2 empty, 1 no_number)", "  5  ", " 0.500 ", " 0.327 ", " 0.316 ", " -0.055 "):
        assert part in first
    assert first.split()[-2:] == ["1.000", "1.291"]
    assert second.split() == ["vaps", "m", "-", "0", "0", "0", "0", "-", "-", "-", "-", "-", "-"]


def test_markdown_escapes_bars_in_names():
    lines = markdown_table(rows()).splitlines()
    assert lines[1].count("---") == 13
    assert "x\\|y" in lines[2]


def test_an_interval_stands_beside_its_value():
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    agreement = evaluate([str(i) for i in range(50)], x, x + 1, resamples=100)
    assert "1.000 [1.000, 1.000]" in text_table([ResultRow("t", "m", {}, 0, agreement)])


def test_a_scatter_plot_has_a_dot_where_a_painting_is(tmp_path):
    truths, predictions = [0.0, 10.0, 10.0], [0.0, 0.0, 10.0]
    agreement = evaluate(["a", "b", "c"], predictions, truths, resamples=0)
    path = tmp_path / "plots" / "a.png"
    draw_scatter(path, predictions, truths, title="t", agreement=agreement)
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    blue = np.argwhere((image[..., 2] - image[..., 0]) > 40)
    assert len(blue) > 50
    low, high = blue.min(axis=0), blue.max(axis=0)
    middle = (low + high) / 2
    in_upper_left = (blue[:, 0] < middle[0]) & (blue[:, 1] < middle[1])
    assert not in_upper_left.any()  # truth 0 and prediction 10: none


def test_one_painting_can_be_drawn(tmp_path):
    with pytest.warns(UserWarning):
        agreement = evaluate(["a"], [5.0], [5.0], resamples=0)
    assert math.isnan(agreement.srocc.value)
    draw_scatter(tmp_path / "a.png", [5.0], [5.0], title="t", agreement=agreement)
    assert (tmp_path / "a.png").stat().st_size > 1000
