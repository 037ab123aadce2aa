"""The lmms-eval model `pyiqa`, with the real library where it is installed: it is no part of the dev extra."""

import importlib.util
import json
import re
import sys

import numpy as np
import pytest
import torch

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.harness.pyiqa import PyIQA
from artquant_plugin.metrics.agreement import srocc
from artquant_plugin.replies import Measurement
from artquant_plugin.report.task_runs import read_runs
from tests.evaluation import evaluate
from tests.tiny import pictures

INSTALLED = importlib.util.find_spec("pyiqa") is not None
needs_pyiqa = pytest.mark.skipif(not INSTALLED, reason="pyiqa is not installed (its licence is non-commercial)")


def test_without_the_library_the_error_names_the_extra_and_its_licence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ArtQuantError) as raised:
        PyIQA.create_from_arg_string("metric=laion_aes", {"device": "cpu", "batch_size": "1"})
    assert "artquant-plugin[pyiqa]" in str(raised.value)
    assert "PolyForm Noncommercial 1.0.0" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "names no metric; give metric=NAME, such as laion_aes"),
        ("metrics=niqe", "no argument 'metrics'; did you mean 'metric'?"),
        ("niqe", "'niqe' is not of the form NAME=VALUE"),
        ("metric=niqe,batch_size=4", "batch size 4: model 'pyiqa' takes images one by one"),
    ],
)
def test_arguments_are_checked_first(arguments, message):
    with pytest.raises(ArtQuantError, match=re.escape(message)):
        PyIQA.create_from_arg_string(arguments)


def test_the_default_installation_does_not_bring_it():
    from importlib.metadata import requires

    lines = [line for line in requires("artquant-plugin") or [] if line.startswith("pyiqa")]
    assert all("extra ==" in line for line in lines)


@needs_pyiqa
@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("piqee", "no no-reference metric 'piqee'; did you mean 'piqe'?"),
        ("psnr", "no no-reference metric 'psnr'"),
        ("fid", "no no-reference metric 'fid'"),
        ("entropy,task=aesthetic", "metric 'entropy' of pyiqa has one task only; leave task=aesthetic out"),
    ],
)
def test_metrics_that_measure_no_single_image_are_refused(metric, message):
    with pytest.raises(ArtQuantError, match=re.escape(message)):
        PyIQA.create_from_arg_string(f"metric={metric}", {"device": "cpu"})


@pytest.fixture
def home(tmp_path, monkeypatch):
    """$ARTQUANT_DATA with a `baid` of six paintings of several sizes, the last one broken."""
    rows = []
    for index, size in enumerate([(64, 80), (90, 64), (64, 64), (100, 120), (80, 80), (64, 64)]):
        path = tmp_path / f"p{index}.png"
        pictures(6, size=size)[index].save(path)
        rows.append(Painting(f"p{index}", path.name, sha256_file(path), float(index + 1)))
    path.write_bytes(path.read_bytes()[:100])
    write_dataset(
        tmp_path / "baid",
        name="baid",
        score_range=(0, 10),
        splits={"test": rows},
        image_root=str(tmp_path),
        source="made up",
        license="CC0",
    )
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path


@needs_pyiqa
@pytest.mark.parametrize("metric", ["piqe", "entropy"])  # those without weights: lower is better, and higher is
def test_a_metric_through_the_harness(home, metric):
    import pyiqa
    from PIL import Image

    results = evaluate("pyiqa", f"metric={metric}", ["baid"], batch_size="1")
    found = {name.partition(",")[0]: value for name, value in results["results"]["baid"].items()}
    own = pyiqa.create_metric(metric, device=torch.device("cpu"))
    values = []
    for index in range(5):
        pixels = np.asarray(Image.open(home / f"p{index}.png"))
        values.append(float(own(torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None] / 255)))
    records = {sample["scored"]["id"]: sample["scored"] for sample in results["samples"]["baid"]}
    sign = -1 if metric == "piqe" else 1
    assert [records[f"p{index}"]["prediction"] for index in range(5)] == pytest.approx([sign * v for v in values])
    assert [records[f"p{index}"]["measurement"]["value"] for index in range(5)] == pytest.approx(values)
    assert records["p5"]["reason"] == "unscored"
    assert "is broken" in records["p5"]["detail"]
    assert (found["scored"], found["failed"]) == (5, 1)
    assert found["srocc"] == pytest.approx(srocc([sign * value for value in values], [1, 2, 3, 4, 5]))
    assert np.isnan(found["mae"])


@needs_pyiqa
def test_a_task_that_asks_in_words_is_refused(home):
    with pytest.raises(ArtQuantError, match="answers no questions, as task 'baid_cot' asks them; use --tasks apdd"):
        evaluate("pyiqa", "metric=entropy", ["baid_cot"], batch_size="1")


@needs_pyiqa
def test_a_metric_that_cannot_take_an_image_leaves_it_unscored():
    model = PyIQA.create_from_arg_string("metric=piqe", {"device": "cpu", "batch_size": "1"})
    with pytest.raises(ArtQuantError, match="piqe failed on 0 x 0 pixels"):
        model._value(torch.zeros(1, 3, 0, 0))
    with pytest.raises(ArtQuantError, match="piqe gave nan|piqe failed on"):
        model._value(torch.full((1, 3, 64, 64), float("nan")))


def test_two_metrics_in_one_folder_are_two_models(tmp_path):
    for date, metric in (("20260101_000000", "niqe"), ("20260102_000000", "laion_aes")):
        measured = {"metric": metric, "value": 5.0, "lower_better": metric == "niqe"}
        record = {"id": "a", "prediction": Measurement(**measured).prediction, "truth": 5.0, "reason": None}
        record["measurement"] = measured
        (tmp_path / f"{date}_samples_baid.jsonl").write_text(json.dumps({"scored": record, "missing": 0}) + "\n")
        config = {"model": "pyiqa", "model_args": f"metric={metric}"}
        content = {"model_name": "", "model_source": "pyiqa", "config": config}
        content["configs"] = {"baid": {"metadata": {"prompt": "plain-1", "artquant": "score"}}}
        (tmp_path / f"{date}_results.json").write_text(json.dumps(content))
    runs = {run.model: run for run in read_runs([tmp_path])}
    assert set(runs) == {"pyiqa:niqe", "pyiqa:laion_aes"}
    assert runs["pyiqa:niqe"].predictions == [-5.0]
    assert all(run.has_own_unit and run.prompt == "own" for run in runs.values())
