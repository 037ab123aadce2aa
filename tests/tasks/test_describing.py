"""The description tasks through the real harness, and their metrics by hand."""

import json
import math

import pytest

from artquant_plugin.checkpoint import save_checkpoint
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.tasks import describing
from tests.evaluation import evaluate
from tests.tiny import pictures, tiny_checkpoint

DESCRIPTION = {"perception": "Warm reds.", "cognition": "A harbour.", "emotion": "Calm."}
JOINED = "Perception: Warm reds.\nCognition: A harbour.\nEmotion: Calm."


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """$ARTQUANT_DATA with `vaps`: a described painting, one with a comment, one without words, one cut off."""
    folder = tmp_path_factory.mktemp("home")
    rows = []
    for index, image in enumerate(pictures(4)):
        path = folder / f"p{index}.png"
        image.save(path)
        words = {"description": DESCRIPTION} if index == 0 else {"comment": "So calm!"} if index == 1 else {}
        rows.append(Painting(f"p{index}", path.name, sha256_file(path), 5.0, category="oil", **words))
    path.write_bytes(path.read_bytes()[:100])
    write_dataset(
        folder / "vaps",
        name="vaps",
        score_range=(0, 10),
        splits={"test": rows},
        image_root=str(folder),
        source="made up",
        license="CC0",
        missing={"test": {"missing": 2}},
    )
    return folder


@pytest.fixture
def evaluated(home, monkeypatch, tmp_path):
    monkeypatch.setenv("ARTQUANT_DATA", str(home))
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    def run(model, model_args, **options):
        results = evaluate(model, model_args, ["vaps_describe"], batch_size="auto", **options)
        metrics = {name.partition(",")[0]: value for name, value in results["results"]["vaps_describe"].items()}
        return metrics, results["samples"]["vaps_describe"]

    return run


def test_our_model_answers_its_own_description_question(evaluated, home, tmp_path):
    tiny = tiny_checkpoint()
    save_checkpoint(tmp_path / "model", tiny.model, tiny.processor, tiny.spec)
    metrics, samples = evaluated("artquant", f"pretrained={tmp_path / 'model'}", gen_kwargs="max_new_tokens=8")
    assert (metrics["described"], metrics["failed"], metrics["missing"], metrics["referenced"]) == (3, 1, 2, 2)
    expected = ArtQuantScorer(tiny).describe([home / f"p{index}.png" for index in range(3)], max_new_tokens=8)
    records = {sample["described"]["id"]: sample["described"] for sample in samples}
    assert [records[f"p{index}"]["description"] for index in range(3)] == [each.text.strip() for each in expected]
    assert records["p3"]["description"] is None
    assert "is cut short" in records["p3"]["reason"]


def test_another_model_gets_the_question_as_text(evaluated, home):
    import shutil

    pictures(4)[3].save(home / "p3.png")  # a model that is given images opens them all
    try:
        metrics, samples = evaluated("dummy", f"response={JOINED!r}".replace("'", "").replace("\\n", " "))
    finally:
        shutil.copy(home / "p0.png", home / "spare.png")
        (home / "p3.png").write_bytes((home / "spare.png").read_bytes()[:100])
    asked = json.dumps(samples[0], default=str)
    assert "on three levels: perception, cognition and emotion" in asked
    assert metrics["complete"] == 1.0
    assert metrics["words"] == 8
    assert metrics["failed"] == 0


DOCUMENT = {"id": "a", "category": "oil", "reference": JOINED, "missing": 1}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        (None, "empty"),
        ("<think>reds</think>", "empty"),
        ("[LMMS_EVAL_REQUEST_FAILED after 5 retries] timeout", "failed_request"),
        ('{"description": null, "reason": "image gone"}', "image gone"),
    ],
)
def test_what_is_no_description_is_counted_with_its_reason(reply, reason):
    entry = describing.process_results(DOCUMENT, [reply])
    assert entry["described"]["description"] is None
    assert entry["described"]["reason"] == reason
    assert entry["failed"]
    assert describing.described([entry["described"]]) == 0
    assert math.isnan(describing.mean([entry["complete"]]))
    assert math.isnan(describing.chrf([entry["chrf"]]))


def test_metrics_by_hand():
    replies = ["Perception: warm warm reds", JOINED, "", "nothing"]
    entries = [describing.process_results(DOCUMENT, [reply]) for reply in replies]
    assert describing.described([entry["described"] for entry in entries]) == 3
    assert describing.failed([entry["failed"] for entry in entries]) == 1
    assert describing.missing([entry["missing"] for entry in entries]) == 1
    assert describing.mean([entry["complete"] for entry in entries]) == pytest.approx(1 / 3)
    assert describing.mean([entry["words"] for entry in entries]) == pytest.approx((4 + 8 + 1) / 3)
    # perception: warm reds (3 + warm again), perception: warm reds. cognition: a harbour. emotion: calm., nothing
    assert describing.distinct_1([entry["distinct_1"] for entry in entries]) == pytest.approx(10 / 13)
    # Pairs: 3 of the first, 7 of the second, none of the third; "perception: warm" stands twice.
    assert describing.distinct_2([entry["distinct_2"] for entry in entries]) == pytest.approx(9 / 10)
    assert describing.chrf([entries[1]["chrf"]]) == pytest.approx(100)
    assert describing.referenced([entry["referenced"] for entry in entries]) == 4


def test_without_references_there_is_no_reference_metric():
    entry = describing.process_results({**DOCUMENT, "reference": ""}, [JOINED])
    assert math.isnan(describing.chrf([entry["chrf"]]))
    assert not entry["referenced"]


def test_every_scoring_task_has_its_description_task():
    from lmms_eval.tasks import TaskManager

    known = set(TaskManager(include_defaults=False).all_tasks)
    assert {"apdd_describe", "baid_describe", "vaps_describe", "artquant_demo_describe"} <= known
