"""Results on a card: from results files alone, of these weights alone."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from artquant_plugin.checkpoint import ScoringSpec
from artquant_plugin.checkpoint.identity import weights_hash
from artquant_plugin.metrics.agreement import evaluate
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import PromptSpec
from artquant_plugin.publish.hub_errors import Target
from artquant_plugin.publish.model_card import License, ModelCardFields, _batch, model_card
from tests.publish.test_checkpoint_files import TRAINED

N = 40


def write_results(folder: Path, weights: str | None, *, task: str = "baid", limit: float | None = None) -> Path:
    """Write what lmms-eval leaves of a run; the predictions are the human scores with an error that grows."""
    folder.mkdir(parents=True)
    truths = [1 + 8 * index / N for index in range(N)]
    predictions = [truth + math.sin(index) * index / N for index, truth in enumerate(truths)]
    checkpoint = {"name": "x", "revision": None, "weights": weights} if weights else None
    with (folder / f"20261124_120000_samples_{task}.jsonl").open("w") as file:
        for index in range(N):
            scored = {"id": str(index), "prediction": predictions[index], "truth": truths[index], "reason": None}
            file.write(json.dumps({"scored": scored | {"checkpoint": checkpoint}, "missing": 2}) + "\n")
        scored = {"id": "x", "prediction": None, "truth": 5.0, "reason": "unscored", "checkpoint": None}
        file.write(json.dumps({"scored": scored, "missing": 2}) + "\n")
    results = {"model_name": "x", "config": {"limit": limit}}
    (folder / "20261124_120000_results.json").write_text(json.dumps(results))
    return folder


def published(desk, name: str, *options) -> tuple[dict, str, dict]:
    desk.done("base", f"me/{name}", "--license", "mit", *options)
    files = desk.files(f"me/{name}")
    text = files["README.md"].decode()
    return yaml.safe_load(text.split("---")[1]), text, files


@pytest.fixture
def weights(desk) -> str:
    return weights_hash(desk.root / "base")


def test_a_result_becomes_metadata_a_table_and_a_plot(desk, tmp_path, weights):
    results = write_results(tmp_path / "results", weights)
    data, text, files = published(desk, "measured", "--results", results)
    rows = [json.loads(line)["scored"] for line in next(results.glob("*.jsonl")).read_text().splitlines()[:N]]
    truth = evaluate([row["id"] for row in rows], [row["prediction"] for row in rows], [row["truth"] for row in rows])
    (result,) = data["model-index"][0]["results"]
    assert result["dataset"] == {"name": "BAID", "type": "baid", "split": "test"}
    found = {metric["type"]: metric for metric in result["metrics"]}
    assert list(found) == ["srocc", "plcc", "mae", "rmse"]
    assert found["srocc"]["value"] == truth.srocc.value
    assert found["srocc"]["args"] == {
        "interval_95": [truth.srocc.low, truth.srocc.high],
        "n": N,
        "failed": 1,
        "missing": 2,
    }
    assert f"| {N + 1} | {N} | 1 (1 unscored) | 2 | {truth.srocc.value:.3f} [{truth.srocc.low:.3f}," in text
    assert "![Predicted against human scores](scatter.png)" in text
    assert files["scatter.png"].startswith(b"\x89PNG")
    assert set(data["tags"]) >= {"lmms-eval", "image-aesthetics"}
    assert ModelCard(text).data.eval_results[0].metric_value == truth.srocc.value  # the Hub's own reading of it


def test_the_same_results_make_the_same_card(desk, tmp_path, weights):
    results = write_results(tmp_path / "results", weights)
    published(desk, "same", "--results", results)
    desk.done("base", "me/same", "--license", "mit", "--results", results)
    assert desk.commits("me/same") == 2


def test_without_results_none_are_claimed(desk):
    data, text, files = published(desk, "unmeasured")
    assert "model-index" not in data and "scatter.png" not in files
    assert "None was published with these weights." in text and "SROCC" not in text


def test_results_beside_the_checkpoint_are_found(desk, tmp_path, weights):
    folder = shutil.copytree(desk.root / "base", tmp_path / "model")
    write_results(folder / "results" / "x", weights)
    desk.done(folder, "me/beside-results", "--license", "mit")
    files = desk.files("me/beside-results")
    assert b"model-index" in files["README.md"] and not [name for name in files if name.startswith("results")]


def test_a_part_of_the_split_is_said_to_be_one(desk, tmp_path, weights):
    data, text, _ = published(desk, "part", "--results", write_results(tmp_path / "r", weights, limit=40.0))
    assert "Not the whole split: baid (--limit 40)." in text
    assert data["model-index"][0]["results"][0]["metrics"][0]["args"]["limit"] == 40.0


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ("0" * 64, "the result of 'x' on 'baid' was measured on other weights than those of 'base'"),
        (None, "the samples of 'x' on 'baid' do not say which weights they are of; evaluate 'base' with this"),
    ],
)
def test_results_of_other_weights_are_refused(measured, message, desk, tmp_path):
    results = write_results(tmp_path / "x", measured)
    assert message in desk.publish("base", "me/x", "--license", "mit", "--results", results).error


def test_samples_without_their_results_file_are_refused(desk, tmp_path, weights):
    results = write_results(tmp_path / "x", weights)
    (results / "20261124_120000_results.json").unlink()
    error = desk.publish("base", "me/x", "--license", "mit", "--results", results).error
    assert "is missing or no results file of lmms-eval; no result is published without it" in error


def test_a_model_of_rad_names_its_repository_and_its_sources_terms(desk, tmp_path):
    folder = shutil.copytree(desk.root / "base", tmp_path / "model")
    record = {**TRAINED, "data": {"rad-apdd": {}}}
    record["config"] = {**TRAINED["config"], "data": [{"name": "me/RAD@v1:apdd", "weight": 1.0}]}
    (folder / "training.json").write_text(json.dumps(record))
    desk.done(folder, "me/of-rad", "--license", "mit")
    text = desk.files("me/of-rad")["README.md"].decode()
    assert yaml.safe_load(text.split("---")[1])["datasets"] == ["me/RAD"]
    assert "- Terms of the data, which forbid commercial use: APDDv2: CC BY-NC-ND 4.0" in text


@pytest.mark.parametrize(
    ("processes", "said"),
    [(1, "64 in a step, 4 at once in each of 1 process"), (4, "64 in a step, 4 at once in each of 4 processes")],
)
def test_the_recipe_tells_the_batch_of_a_step(processes, said):
    train = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": None, "global_batch_size": 64}
    record = {"config": {"train": train}, "made_from": {"processes": processes, "global_batch": 64}}
    assert _batch(record) == said


def test_the_recipe_of_an_earlier_releases_record_tells_the_batch_of_a_process():
    train = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    assert _batch({"config": {"train": train}, "made_from": {"processes": 8}}) == "4 x 2 per process"


def test_texts_of_a_checkpoint_stay_texts_on_the_card():
    hostile = "fine ``` [x](http://evil)<script>|`"
    scale = LevelScale(("good", hostile), (2.0, 1.0))
    question = hostile.replace(" ", "\n")  # line breaks are allowed in questions alone
    spec = ScoringSpec(scale, PromptSpec(question=question, answer_prefix=hostile))
    fields = ModelCardFields(Target("me/x"), None, None, False, License("mit"), spec, None, (), "print(1)", True)
    text = model_card(fields)
    shown = r"fine \`\`\` \[x](http://evil)\<script>\|\`"
    assert f"(good 2, {shown} 1)" in text and f'the question "{shown}"' in text
    assert "\n```\n[x]" not in text and "<script>" not in text.replace(r"\<script>", "")


def test_a_card_reads_well(desk, tmp_path, weights):
    """The card has no traces of its template: no empty items, no doubled blank lines, no marks of Jinja."""
    _, text, _ = published(desk, "reading", "--results", write_results(tmp_path / "r", weights))
    body = text.split("---", 2)[2]
    assert not re.search(r"\n\n\n|\{\{|\{%|\\\n|None |^- $", body, re.MULTILINE)
    assert body.count("```") == 2 and "lmms-eval --model artquant --model_args pretrained=me/reading" in body
