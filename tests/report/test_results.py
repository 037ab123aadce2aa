import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.agreement import evaluate
from artquant_plugin.report.prediction_sources import parse_prediction_source
from artquant_plugin.report.results_table import ResultRow, markdown_table, text_table
from artquant_plugin.report.run_details import read_details
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


def test_runs_of_one_checkpoint_with_several_presets_are_told_apart(tmp_path):
    for date, preset in (("20260101", "q-align"), ("20260102", "mine/own.yaml"), ("20260103", None)):
        line = sample("a", 9.0, 1.0)
        line["scored"]["checkpoint"] = {"name": "m", "revision": None, "weights": "0"}
        if preset:
            line["scored"]["checkpoint"]["scoring"] = preset.rpartition("/")[2]
        write_samples(tmp_path, date, "baid", [line])
        content = {
            "model_name": "m",
            "model_source": "artquant",
            "config": {"model_args": "pretrained=m" + (f",scoring={preset},dtype=float32" if preset else "")},
            "configs": {"baid": {"metadata": {"prompt": "plain-1", "artquant": "score"}}},
        }
        (tmp_path / f"{date}_results.json").write_text(json.dumps(content))
    name = tmp_path.name
    assert [(run.model, run.prompt, run.older) for run in read_runs([tmp_path])] == [
        (name, "own", 0),
        (f"{name}:own.yaml", "own: own.yaml", 0),
        (f"{name}:q-align", "own: q-align", 0),
    ]


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "d_samples_baid.jsonl",
            '{"doc_id": 0, "bypass": [[1.0], ["x"]]}\n',
            "holds a run with --predict_only, which",
        ),
        (
            "d_samples_baid_describe.jsonl",
            '{"described": {"id": "a"}}\n',
            "holds descriptions .'d_samples_baid_describe",
        ),
        (
            "d_samples_mme.jsonl",
            '{"mme_score": 1}\n',
            "holds no samples of a scoring task, only others such as 'd_sam",
        ),
        ("d_samples_baid.jsonl", "", "only others such as 'd_samples_baid.jsonl' .it is empty.; run lmms-eval with"),
        ("d_results.json", "{}", "holds results without samples .'d_results.json'.; run lmms-eval with --log_samples"),
    ],
)
def test_the_cause_is_named_where_there_is_no_run(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ArtQuantError, match=message):
        read_runs([tmp_path])


def test_a_file_or_an_absent_folder_is_named(tmp_path, capsys):
    write_samples(tmp_path / "m", "d", "baid", [sample("a", 9.0, 1.0)])
    samples = tmp_path / "m" / "d_samples_baid.jsonl"
    with pytest.raises(ArtQuantError, match="d_samples_baid.jsonl' is a file; name the folder .*, such as '.*/m'"):
        read_runs([samples])
    with pytest.raises(ArtQuantError, match="absent' does not exist; name the folder that lmms-eval's --output_path"):
        read_runs([tmp_path / "absent"])
    with pytest.raises(ArtQuantError, match="is a file of samples that lmms-eval logged; name its folder '.*/m'"):
        parse_prediction_source(str(samples))


@pytest.mark.parametrize("prediction", ["NaN", "Infinity", "-Infinity", "1e400", '"four"', "true", "[1]"])
def test_a_prediction_that_is_no_number_is_a_failure(prediction, tmp_path):
    lines = [json.dumps(sample("a", 2.0, 1.0)), json.dumps(sample("b", 9.5, 1.5)).replace("9.5", prediction)]
    (tmp_path / "d_samples_baid.jsonl").write_text("\n".join(lines))
    (run,) = read_runs([tmp_path])
    assert (run.ids, run.failures, run.unscored) == (["a"], {"not_finite": 1}, {"b": 1.5})


@pytest.mark.parametrize("truth", ["NaN", "Infinity", "1e400", "null", '"x"', "{}"])
def test_a_human_score_that_is_no_number_is_named_by_file_and_line(truth, tmp_path):
    lines = [json.dumps(sample("a", 2.0, 1.0)), json.dumps(sample("b", 2.0, 9.5)).replace("9.5", truth)]
    (tmp_path / "d_samples_baid.jsonl").write_text("\n".join(lines))
    with pytest.raises(
        ArtQuantError, match="baid.jsonl:2: not a sample of a scoring task .the human score .* is no fin"
    ):
        read_runs([tmp_path])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"scored": {"id": "a", "id": "b"}}', "baid.jsonl:2: not a sample .*the key 'id' stands twice"),
        ('{"scored": {"id": "b"}}', "baid.jsonl:2: not a sample of a scoring task .lacks 'prediction'"),
        ('{"scored": []}', "baid.jsonl:2: not a sample"),
        ("[]", "baid.jsonl:2: not a sample"),
        ("[" * 100_000, "baid.jsonl:2: not a sample"),
        (json.dumps(sample("a", 3.0, 1.0)), "baid.jsonl:2: not a sample .*painting 'a' stands twice"),
        (
            json.dumps(sample("b", 3.0, 1.0)).replace('"missing": 0', '"missing": Infinity'),
            "baid.jsonl:2: not a sample",
        ),
    ],
)
def test_a_line_that_is_no_sample_is_named(line, message, tmp_path):
    (tmp_path / "d_samples_baid.jsonl").write_text(json.dumps(sample("a", 2.0, 1.0)) + "\n" + line + "\n")
    with pytest.raises(ArtQuantError, match=message) as raised:
        read_runs([tmp_path])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("results", ["[]", '"x"', "[" * 100_000, '{"config": 1, "configs": [], "model_source": {}}'])
def test_a_results_file_of_another_form_is_as_none(results, tmp_path):
    write_samples(tmp_path / "m", "d", "baid", [sample("a", 9.0, 1.0)])
    (tmp_path / "m" / "d_results.json").write_text(results)
    (run,) = read_runs([tmp_path])
    assert (run.model, run.prompt) == ("m", "")
    assert read_details(run).arguments == ""


def test_few_scores_are_called_too_few(tmp_path, capsys):
    write_samples(tmp_path / "m", "d", "baid", [sample(name, float(i), float(i)) for i, name in enumerate("abc")])
    for options in ([], ["--markdown"]):
        assert main(["results", str(tmp_path), *options]) == 0
        printed = capsys.readouterr().out
        assert "1.000 (too few)" in printed
        assert "m on baid: 3 pairs are too few for intervals and tests, which take 10 or more" in printed
    assert main(["results", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["scores"]["srocc"] == {"value": 1.0, "low": None, "high": None}
    assert row["scores"]["cautions"][0].startswith("3 pairs are too few")


def test_names_of_folders_control_no_terminal(tmp_path, capsys):
    write_samples(tmp_path / "\x1b[2Jm", "d", "baid", [sample("a", 9.0, 1.0), sample("b", 8.0, 2.0)])
    write_samples(tmp_path / "\x1b[2Jm", "e", "baid", [sample("a", 9.0, 1.0), sample("b", 8.0, 2.0)])
    for options in ([], ["--markdown"], ["--json"]):
        assert main(["results", str(tmp_path), *options]) == 0
        assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("scores", [[5.0, 5.0 + 1e-15, 5.0], [1e300, 0.0, -1e300], [1e-320, 2e-320, 0.0]])
def test_scores_of_any_size_are_drawn_or_named(scores, tmp_path):
    agreement = evaluate(["a", "b", "c"], scores, [1.0, 3.0, 2.0], resamples=0)
    try:
        draw_scatter(tmp_path / "a.png", scores, [1.0, 3.0, 2.0], title="$x \\frac", agreement=agreement)
    except ArtQuantError as error:
        assert "scores up to 1e+300 cannot be drawn; leave out --plot, or mend the scores" in str(error)


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
