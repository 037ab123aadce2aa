"""lmms-eval's cache of responses (`--use_cache`) never answers with another painting's response, or other weights'."""

import base64
import inspect
import json
import sqlite3
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from artquant_plugin.checkpoint.identity import files_hash
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.tasks import describing, scoring
from artquant_plugin.train.tiny import build_tiny_model
from tests.evaluation import evaluate
from tests.peers.local_llm import LocalLLM
from tests.tiny import SIZES, pictures, tiny_texts

TASKS = ["baid", "baid_levels", "baid_describe"]


@pytest.fixture
def images(tmp_path, monkeypatch) -> Path:
    """Six pictures; $ARTQUANT_DATA is an empty folder beside them."""
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, image in enumerate(pictures(6)):
        image.save(folder / f"p{index}.png")
    return folder


def import_paintings(images: Path, names: list[str]) -> None:
    """Write the dataset `baid` with these paintings in its test split."""
    rows = [
        Painting(name, f"{name}.png", sha256_file(images / f"{name}.png"), float(int(name[1:]) + 1)) for name in names
    ]
    write_dataset(
        images.parent / "data" / "baid",
        name="baid",
        score_range=(0, 10),
        splits={"test": rows},
        image_root=str(images),
        source="made up",
        license="CC0",
    )


def save_tiny(folder: Path, seed: int, spec: ScoringSpec | None = None) -> None:
    model, processor = build_tiny_model(SIZES, tiny_texts(), seed=seed)
    save_checkpoint(folder, model.eval(), processor, spec or ScoringSpec())


def responses(results: dict, task: str = "baid") -> dict[str, str]:
    """The response to each painting, by its id."""
    record = "described" if task.endswith("describe") else "scored"
    return {sample[record]["id"]: sample["filtered_resps"][0] for sample in results["samples"][task]}


def cached(cache: Path) -> int:
    """The number of responses in a cache."""
    with sqlite3.connect(cache / "cache.db") as connection:
        return connection.execute("SELECT COUNT(*) FROM responses").fetchone()[0]


def run(checkpoint: Path, tasks: list[str] = TASKS, **options) -> dict:
    return evaluate(
        "artquant", f"pretrained={checkpoint}", tasks, batch_size="3", gen_kwargs="max_new_tokens=4", **options
    )


@pytest.mark.slow
def test_another_import_and_other_weights_are_asked_anew(images, tmp_path):
    checkpoint, cache = tmp_path / "checkpoint", tmp_path / "cache"
    save_tiny(checkpoint, seed=0)
    import_paintings(images, ["p0", "p1", "p2", "p3", "p4", "p5"])
    first = run(checkpoint, use_cache=str(cache))
    assert cached(cache) == 3 * 6
    again = run(checkpoint, use_cache=str(cache))
    assert cached(cache) == 3 * 6  # all come out of the cache
    assert [responses(again, task) for task in TASKS] == [responses(first, task) for task in TASKS]

    import_paintings(images, ["p1", "p3", "p4", "p5"])
    with_cache, without = run(checkpoint, use_cache=str(cache)), run(checkpoint)
    assert cached(cache) == 3 * (6 + 4)
    assert [responses(with_cache, task) for task in TASKS] == [responses(without, task) for task in TASKS]
    assert responses(with_cache)["p1"] != responses(first)["p0"]  # the row that "p1" has now

    save_tiny(checkpoint, seed=1)
    with_cache, without = run(checkpoint, use_cache=str(cache)), run(checkpoint)
    assert cached(cache) == 3 * (6 + 4 + 4)
    assert [responses(with_cache, task) for task in TASKS] == [responses(without, task) for task in TASKS]
    assert responses(with_cache)["p1"] != responses(first)["p1"]


@pytest.mark.slow
def test_a_picture_that_was_replaced_and_another_scoring_file_are_asked_anew(images, tmp_path):
    checkpoint, cache = tmp_path / "checkpoint", tmp_path / "cache"
    save_tiny(checkpoint, seed=0)
    import_paintings(images, ["p0", "p1"])
    run(checkpoint, ["baid"], use_cache=str(cache))
    pictures(1, seed=9)[0].save(images / "p0.png")  # without another import
    with_cache, without = run(checkpoint, ["baid"], use_cache=str(cache)), run(checkpoint, ["baid"])
    assert responses(with_cache) == responses(without)
    content = json.loads((checkpoint / "artquant.json").read_text())
    content["levels"] = {word: value / 2 for word, value in content["levels"].items()}
    (checkpoint / "artquant.json").write_text(json.dumps(content))
    with_cache, without = run(checkpoint, ["baid"], use_cache=str(cache)), run(checkpoint, ["baid"])
    assert responses(with_cache) == responses(without)
    assert cached(cache) == 3 * 2


@pytest.mark.slow
def test_another_model_is_asked_anew_about_other_rows(images, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    cache = tmp_path / "cache"
    asked = []

    def answer(body: dict) -> str:
        picture = body["messages"][0]["content"][0]["image_url"]["url"]
        shown = float(np.mean(Image.open(BytesIO(base64.b64decode(picture.partition(",")[2])))))
        asked.append(shown)
        return f'{{"score": {shown / 25.6:.3f}}}'

    with LocalLLM(answer) as llm:
        arguments = f"model_version=scripted,base_url={llm.url},api_key=none,max_retries=1"
        import_paintings(images, ["p0", "p1", "p2"])
        first = evaluate("openai", arguments, ["baid"], use_cache=str(cache))
        evaluate("openai", arguments, ["baid"], use_cache=str(cache))
        assert len(asked) == 3
        import_paintings(images, ["p1", "p2"])
        second = evaluate("openai", arguments, ["baid"], use_cache=str(cache))
    assert responses(second) == {name: responses(first)[name] for name in ("p1", "p2")}


def test_the_paintings_stand_in_the_configuration_of_every_task(images):
    """A task of a user's own that names our functions has them as well."""
    import_paintings(images, ["p0", "p1"])
    before = [str(module.baid_docs) for module in (scoring, describing)]
    assert [str(module.baid_docs) for module in (scoring, describing)] == before
    import_paintings(images, ["p1", "p0"])
    after = [str(module.baid_docs) for module in (scoring, describing)]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_all_files_of_a_checkpoint_and_of_its_base_count(tmp_path):
    folders = [tmp_path / "adapter", tmp_path / "base"]
    for folder in folders:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"1")
    before = files_hash(folders)
    (folders[1] / "model.safetensors").write_bytes(b"2")
    assert files_hash(folders) != before
    (folders[1] / "model.safetensors").write_bytes(b"1")
    assert files_hash(folders) == before
    (folders[0] / "preprocessor_config.json").write_bytes(b"{}")
    assert files_hash(folders) != before


def test_lmms_eval_still_keys_responses_as_we_rely_on():
    from lmms_eval.caching.response_cache import ResponseCache

    parameters = inspect.signature(ResponseCache.execute).parameters
    assert list(parameters) == ["self", "lm", "reqtype", "requests"]
    source = inspect.getsource(ResponseCache.execute.__wrapped__)
    assert source.count("model_fingerprint_hash=self._model_fingerprint_hash") == 3
    assert source.count("self._task_fingerprints.get(req.task_name") == 2
    assert "dump_config()" in inspect.getsource(ResponseCache.create)
