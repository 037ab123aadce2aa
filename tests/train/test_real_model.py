"""The whole way with a real language model, its tokenizer and its 49,152 tokens, at the smallest size."""

import csv
import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import spearmanr
from transformers import AutoProcessor, LlavaForConditionalGeneration

from artquant_plugin import ArtQuantScorer
from artquant_plugin.checkpoint import load_checkpoint
from artquant_plugin.cli import main
from artquant_plugin.data.dataset import Dataset
from tests.evaluation import evaluate
from tests.paths import shared
from tests.real_model import real_model

pytestmark = [pytest.mark.slow(seconds=150), pytest.mark.xdist_group("real_model")]
VALUES = [10, 7.5, 5, 2.5, 0]
STAGES = [
    {"name": "mat", "samples": ["describe", "score"], "epochs": 1},
    {"name": "sot", "samples": ["score"], "epochs": 1},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The base model, sixteen training paintings of the demo, and a checkpoint of both stages."""
    built = real_model()
    folder = tmp_path_factory.mktemp("real")
    built.build_real_model(folder / "base", image_size=32, width=64, layers=1)
    demo = folder / "data" / "artquant_demo"
    counts = ("--train", "16", "--validation", "10", "--test", "10")
    assert main(("data", "demo", "--out", str(demo), *counts, "--workers", "1")) == 0
    config = built.write_config(
        folder / "demo.yaml",
        data=str(demo),
        values=VALUES,
        base=folder / "base",
        output=folder / "trained",
        stages=STAGES,
    )
    assert main(("train", str(config), "--set", "train.report_to=none")) == 0
    return folder


def test_scores_are_those_of_transformers_and_peft_and_the_levels_have_the_probability(folder):
    """LoRA leaves the output head as it is, which is the embedding as well: the adapter raises the words beside it."""
    change = json.loads((folder / "trained" / "training.json").read_text())["level_mass"]
    assert change["reason"] is None and change["before"] < 0.5 < 0.9 <= change["after"]

    dataset = Dataset.load(folder / "data" / "artquant_demo")
    pictures = [dataset.image_path(painting) for painting in dataset.split("test")[:3]]
    results = ArtQuantScorer(load_checkpoint(str(folder / "trained")), level_mass=True).score(pictures)
    base = LlavaForConditionalGeneration.from_pretrained(folder / "base")
    base.load_state_dict(load_file(folder / "trained" / "extra_weights.safetensors"), strict=False)
    plain = PeftModel.from_pretrained(base, str(folder / "trained")).eval()
    processor = AutoProcessor.from_pretrained(folder / "base")
    words = processor.tokenizer(" excellent good fair poor bad")["input_ids"]
    for path, result in zip(pictures, results, strict=True):
        text = (
            "<|im_start|>user\n<image>How would you rate the quality of this painting?<|im_end|>\n"
            "<|im_start|>assistant\nThe quality of the painting is"
        )
        with torch.inference_mode(), Image.open(path) as image:
            inputs = processor(images=image, text=text, return_tensors="pt")
            chances = plain(**inputs).logits[0, -1].softmax(dim=-1)[words]
        assert result.level_mass == pytest.approx(chances.sum().item(), abs=1e-4)
        assert result.level_mass >= 0.9
        expected = (chances / chances.sum()) @ torch.tensor(VALUES)
        assert result.score == pytest.approx(expected.item(), abs=1e-4)


def test_it_describes_and_lmms_eval_gives_the_correlation_of_its_scores(folder, capsys, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(folder / "data"))
    trained, dataset = str(folder / "trained"), Dataset.load(folder / "data" / "artquant_demo")
    paintings = dataset.split("test")
    picture = str(dataset.image_path(paintings[0]))
    assert main(("describe", picture, "--model", trained, "--max-new-tokens", "20")) == 0
    assert any(character.isalpha() for character in capsys.readouterr().out)

    out = folder / "scores.csv"
    assert main(("score", str(dataset.folder), "--model", trained, "--out", str(out))) == 0
    with out.open(newline="") as file:
        scores = {Path(row["path"]).name: float(row["score"]) for row in csv.DictReader(file)}
    expected = spearmanr(
        [painting.score for painting in paintings], [scores[Path(painting.image).name] for painting in paintings]
    ).statistic
    found = evaluate("artquant", f"pretrained={trained}", ["artquant_demo"], batch_size=8)
    assert found["results"]["artquant_demo"]["srocc,none"] == pytest.approx(expected, abs=1e-6)


def test_training_goes_on_with_real_paintings_that_people_rated(folder, monkeypatch):
    """Abstract paintings with the ratings of 49 people, which train one step from the adapter of the demo."""
    source = shared("data/sidhu2018/abstract")
    monkeypatch.setenv("ARTQUANT_DATA", str(folder / "data"))
    where = ("--annotations", str(source), "--images", str(source / "images"), "--allow-missing", "--workers", "1")
    assert main(("data", "import", "sidhu", *where)) == 0
    config = real_model().write_config(
        folder / "rated.yaml",
        data="sidhu_beauty",
        values=[9, 7, 5, 3, 1],
        base=folder / "trained",
        output=folder / "trained-rated",
        stages=[{"name": "sot", "samples": ["score"], "epochs": 1}],
        learning_rate=5e-4,
    )
    options = ("train.report_to=none", "train.max_steps=1", "data=[{name: sidhu_beauty, weight: 0.1}]")
    assert main(("train", str(config), *(word for option in options for word in ("--set", option)))) == 0
    record = json.loads((folder / "trained-rated" / "training.json").read_text())
    assert record["level_mass"]["after"] >= 0.9
