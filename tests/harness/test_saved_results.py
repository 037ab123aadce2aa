"""Results that do not reach the disk end a run of lmms-eval with an error, and leave nothing that reads as whole."""

import json
import resource
from contextlib import contextmanager

import pytest

evaluation_tracker = pytest.importorskip("lmms_eval.loggers.evaluation_tracker")

from artquant_plugin.common.errors import ArtQuantError  # noqa: E402
from artquant_plugin.harness.saved_results import patch_evaluation_tracker  # noqa: E402

DATE = "20260101_000000"


@pytest.fixture
def tracker(tmp_path):
    patch_evaluation_tracker(evaluation_tracker)
    tracker = evaluation_tracker.EvaluationTracker(output_path=str(tmp_path))
    tracker.general_config_tracker.model_name_sanitized = "m"
    (tmp_path / "m").mkdir()
    return tracker


@contextmanager
def no_room():
    """Files take 2 MB: a limit of file sizes stands for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def sample():
    row = {"doc_hash": "h", "arguments": ["p"], "resps": [["7"]], "filtered_resps": ["7"], "target": 7, "doc": {}}
    return {**row, "scored": {"id": "a"}}


def test_what_is_whole_stays(tracker, tmp_path):
    tracker.save_results_aggregated({"results": {}}, {"t": [sample()]}, DATE)
    tracker.save_results_samples("t", [sample(), sample()])
    assert "task_hashes" in json.loads((tmp_path / "m" / f"{DATE}_results.json").read_text())
    assert len((tmp_path / "m" / f"{DATE}_samples_t.jsonl").read_text().splitlines()) == 2


def test_samples_on_a_full_disk_are_an_error_and_no_file(tracker, tmp_path):
    tracker.date_id = DATE
    with (
        pytest.raises(ArtQuantError, match=r"samples_t.jsonl' could not be written whole, and was removed"),
        no_room(),
    ):
        tracker.save_results_samples("t", [sample() | {"doc_hash": "h" * 3_000_000}])
    assert not list((tmp_path / "m").iterdir())


def test_figures_that_cannot_be_saved_are_printed(tracker, tmp_path, capsys):
    results = {
        "results": {"t": {"srocc,none": 0.7969, "alias": "t"}},
        "configs": {},
        "long": "x" * 3_000_000,
        "versions": {"t": 1},
        "n-shot": {"t": 0},
        "higher_is_better": {"t": {"srocc": True}},
    }
    with pytest.raises(ArtQuantError, match="could not be written whole"), no_room():
        tracker.save_results_aggregated(results, {"t": [sample()]}, DATE)
    assert "0.7969" in capsys.readouterr().out
    assert not list((tmp_path / "m").iterdir())
