"""Scoring presets: each gives its peer's score, known checkpoints choose theirs, and wrong ones are one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from artquant_plugin.backbones.mplug_owl2.layout import is_original
from artquant_plugin.checkpoint import ScoringSpec, choose_scoring, load_checkpoint, save_checkpoint, shipped_presets
from artquant_plugin.checkpoint.known import known_checkpoint, known_checkpoints
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.questions import one_level
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.backbones.families import family
from tests.backbones.mplug_owl2.original_folders import CONFIG, write_base
from tests.paths import ROOT
from tests.tiny import pictures, tiny_checkpoint

WORDS = ["excellent", "good", "fair", "poor", "bad"]


@pytest.fixture
def one_align(tmp_path):
    """A tiny checkpoint in OneAlign's layout: pickles in two shards with an index, an auto_map, no artquant.json."""
    folder = write_base(tmp_path / "one-align")
    config = {key: value for key, value in CONFIG.items() if key != "score_weight"}
    code = {"AutoModelForCausalLM": "modeling_mplug_owl2.MPLUGOwl2LlamaForCausalLM"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": code}))
    (folder / "modeling_mplug_owl2.py").write_text("raise SystemExit('code of the repository was run')\n")
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    places = {}
    for number, part in enumerate((names[:50], names[50:]), 1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({name: weights[name] for name in part}, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


def owl_peer(folder: Path, image: Image.Image, prompt: str, values: list[float]) -> float:
    """The scorers of Q-Align @ 37cf54c and DeQA-Score @ 4768965, in their own steps on bare modules.

    The prompt is cut at the image, each piece is tokenised by itself with a beginning token that only the first one
    keeps; the image is pasted on a square of the mean colour, resized and normalised; the softmax runs over the first
    token behind the beginning of each word.
    """
    import numpy as np
    import sentencepiece

    checkpoint = load_checkpoint(str(folder), scoring="q-align")
    model, image_id = checkpoint.model, checkpoint.processor.image_token_id
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    before, after = (pieces.encode(part) for part in prompt.split("<|image|>"))
    ids = [pieces.bos_id(), *before, *[image_id] * 5, *after]  # four queries and the end of the image
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    mean, deviation = settings["image_mean"], settings["image_std"]
    side = max(image.size)
    square = Image.new("RGB", (side, side), tuple(int(part * 255) for part in mean))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    pixels = np.asarray(square.resize((28, 28), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    pixels = (pixels - np.float32(mean)) / np.float32(deviation)
    with torch.inference_mode():
        logits = model(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            pixel_values=torch.from_numpy(pixels).permute(2, 0, 1)[None],
        ).logits[0, -1]
    words = [pieces.encode(word)[0] for word in WORDS]
    return float(torch.softmax(logits[words], -1) @ torch.tensor(values))


@pytest.mark.parametrize(
    ("preset", "asked", "values"),
    [
        ("q-align", "quality", [1.0, 0.75, 0.5, 0.25, 0.0]),
        ("q-align-aesthetic", "aesthetics", [1.0, 0.75, 0.5, 0.25, 0.0]),
        ("deqa", "quality", [5.0, 4.0, 3.0, 2.0, 1.0]),
    ],
)
def test_a_preset_of_mplug_owl2_gives_its_peers_scores(preset, asked, values, one_align):
    prompt = f"USER: How would you rate the {asked} of this image?\n<|image|>\nASSISTANT: The {asked} of the image is"
    images = pictures(3)
    scorer = ArtQuantScorer.from_pretrained(str(one_align), scoring=preset, device="cpu", batch_size=2)
    found = [result.score for result in scorer.score(images)]
    assert found == pytest.approx([owl_peer(one_align, image, prompt, values) for image in images], abs=1e-6)
    assert len(set(found)) == 3
    assert scorer.checkpoint.spec.name == preset


@pytest.mark.parametrize(("preset", "asked"), [("q-realign", "quality"), ("q-realign-aesthetic", "aesthetics")])
def test_a_preset_of_qwen3_5_gives_its_peers_scores(preset, asked, tmp_path):
    """The ten lines of Q-ReAlign's README @ 0d111e4, with thoughts off, as the checkpoints were trained."""
    model, processor = family("qwen3_5")
    save_checkpoint(tmp_path / "mini", model, processor, ScoringSpec())
    (tmp_path / "mini" / "artquant.json").unlink()
    images = pictures(3, size=(96, 128))
    expected = []
    for image in images:
        content = [{"type": "image"}, {"type": "text", "text": f"How would you rate the {asked} of this image?"}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, enable_thinking=False
        )
        text += f"The {asked} of the image is"
        inputs = processor(text=[text], images=[image], return_tensors="pt")
        ids = [processor.tokenizer(f" {word}", add_special_tokens=False).input_ids[0] for word in WORDS]
        with torch.inference_mode():
            probabilities = model(**inputs).logits[0, -1, ids].softmax(-1)
        expected.append(float(probabilities @ torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0])))
    scorer = ArtQuantScorer.from_pretrained(str(tmp_path / "mini"), scoring=preset, device="cpu", batch_size=2)
    assert [result.score for result in scorer.score(images)] == pytest.approx(expected, abs=1e-6)
    assert len(set(expected)) == 3


def test_the_preset_artquant_is_what_training_writes_and_what_the_paper_asks(one_align):
    preset = shipped_presets()["artquant"]
    assert preset.spec_for({"model_type": "llava"}, "x") == ScoringSpec()
    paper = preset.spec_for({"model_type": "mplug_owl2", "score_weight": [9, 7, 5, 3, 2]}, "x")
    assert (paper.images, paper.prompt.image_first, paper.scale.values) == ("as_stored", False, (9, 7, 5, 3, 2))
    # A checkpoint of the paper's own code is told by the values in its config.json.
    config = json.loads((one_align / "config.json").read_text())
    (one_align / "config.json").write_text(json.dumps(config | {"score_weight": [9, 7, 5, 3, 2]}))
    assert choose_scoring(None, str(one_align), one_align) == paper


def test_every_known_checkpoint_has_a_preset_that_fits_it(one_align):
    presets = shipped_presets()
    for known in known_checkpoints():
        assert presets[known.scoring].takes(known.architecture), known.id
        assert known.trained_on and "@" in known.source
    assert {name for name, preset in presets.items() if " @ " not in preset.source} == {"zero-shot"}  # ours alone
    assert known_checkpoint("q-future/one-align@main").scoring == "q-align"
    assert known_checkpoint("Zhiyuanyou/DeQA-Score-Mix3").scoring == "deqa"
    assert known_checkpoint("Liuuuu123/ArtQuant").scoring == "artquant"
    assert known_checkpoint("q-future/Q-ReAlign-Pro-9B").scoring == "q-realign"
    assert known_checkpoint("me/other") is None
    assert choose_scoring(None, "q-future/one-align", one_align).name == "q-align"


def test_the_users_choice_goes_before_the_scoring_file_and_that_before_the_hub_id(tmp_path, one_align):
    spec = ScoringSpec(prompt=shipped_presets()["deqa"].spec.prompt)
    spec.save(one_align)
    found = choose_scoring(None, "q-future/one-align", one_align)
    assert (found, found.name) == (spec, "own")
    assert choose_scoring("deqa", "q-future/one-align", one_align).scale.values == (5, 4, 3, 2, 1)
    by_folder = choose_scoring(str(one_align), "x", None)
    assert (by_folder, by_folder.name) == (spec, "one-align")
    assert choose_scoring(spec, "x", None) is spec


def test_a_file_of_the_users_may_be_yaml_or_json(tmp_path):
    content = {"form_version": 1, "levels": {"fine": 2, "bad": 1}, "prompt": {"question": "Well?"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (tmp_path / "mine.json").write_text(json.dumps(content))
    for name in ("mine.yaml", "mine.json"):
        spec = choose_scoring(str(tmp_path / name), "x", None)
        assert (spec.scale.names, spec.prompt.question, spec.name) == (("fine", "bad"), "Well?", name)


def test_a_converted_checkpoint_keeps_the_presets_conversation(one_align, tmp_path, capsys):
    from artquant_plugin.cli import main

    direct = ArtQuantScorer.from_pretrained(str(one_align), scoring="deqa", device="cpu").score(pictures(2))
    assert main(["convert", str(one_align), str(tmp_path / "out"), "--scoring", "deqa"]) == 0
    shutil.rmtree(one_align)
    assert not is_original(tmp_path / "out")
    assert ArtQuantScorer.from_pretrained(str(tmp_path / "out"), device="cpu").score(pictures(2)) == direct
    assert json.loads((tmp_path / "out" / "conversion.json").read_text())["scoring"] == "deqa"


def test_zero_shot_asks_what_the_tasks_ask_other_models(plain):
    """The question of `tasks/_levels_yaml`, with the level words and values of training."""
    task = yaml.safe_load((ROOT / "tasks" / "_levels_yaml").read_text(encoding="utf-8"))
    question = task["lmms_eval_specific_kwargs"]["default"]["prompt"]
    spec = choose_scoring("zero-shot", str(plain), plain)
    assert spec.prompt.question == question.replace("{one_level}", one_level(WORDS))
    assert spec.scale == ScoringSpec().scale
    scores = ArtQuantScorer.from_pretrained(str(plain), scoring="zero-shot", device="cpu").score(pictures(2))
    assert all(1 < score.score < 10 and list(score.levels) == WORDS for score in scores)


@pytest.fixture
def plain(tmp_path):
    """A LLaVA without a scoring file, as any other tool saves one."""
    tiny = tiny_checkpoint()
    save_checkpoint(tmp_path / "plain", tiny.model, tiny.processor, tiny.spec)
    (tmp_path / "plain" / "artquant.json").unlink()
    return tmp_path / "plain"


def test_without_file_and_preset_the_error_lists_the_presets(plain, one_align):
    for folder in (plain, one_align):
        with pytest.raises(ArtQuantError, match="nothing says what checkpoint .* is asked") as raised:
            load_checkpoint(str(folder))
        assert str(raised.value).endswith(
            "name a preset or a file with scoring=NAME (--scoring NAME): artquant (any model); deqa (mplug_owl2); "
            "q-align (mplug_owl2); q-align-aesthetic (mplug_owl2); q-realign (qwen3_5); q-realign-aesthetic (qwen3_5)"
            "; zero-shot (any model)"
        )
    assert load_checkpoint(str(plain), scoring="artquant").spec == ScoringSpec()


MINE = "form_version: 1\nlevels: {fine: 2, bad: 1}\nprompt: {question: 'Well?'}\n"


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        ("q-aling", "scoring 'q-aling' is no preset and no file; did you mean 'q-align'? presets: artquant, deqa, "),
        ("xyz", "scoring 'xyz' is no preset and no file; presets: artquant"),
        (
            "deqa",
            "scoring 'deqa' is made for mplug_owl2, and checkpoint .* the architecture 'llava'; .* "
            "(artquant, zero-shot)",
        ),
        (MINE + "levls: 3\n", "unknown key 'levls', known: .*, did you mean 'levels'?"),
        (
            MINE + "zzz: 3\n",
            "unknown key 'zzz', known: form_version, levels, prompt, images, chat_template, attributes",
        ),
        (MINE.replace("question", "qestion"), "prompt has the unknown key 'qestion', did you mean 'question'?"),
        (
            MINE + "by_architecture: {llava: {image_frist: true}}\n",
            "'image_frist', known: image_first",
        ),
        (MINE + "by_architecture: {llava: {image_first: 3}}\n", "prompt.image_first is 3; it must be true or false"),
        (MINE + "by_architecture: {llava: {images: x}}\n", "images 'x'; use one of as_shown, as_stored"),
        (MINE + "by_architecture: [llava]\n", "has by_architecture ['llava']; write a mapping for each model type"),
        (MINE + "architectures: llava\n", "has architectures 'llava'; write a list of model types"),
        (MINE + "images: as_stored\nimages: as_shown\n", "the key 'images' stands twice"),
        (
            MINE.replace("fine: 2", "no: 2"),
            "the level word is False, which is no text; write it as text",
        ),
        ("form_version: [\n", "mine.yaml is not YAML"),
        ("- 1\n", "mine.yaml holds no mapping"),
        (MINE + "chat_template: 3\n", "chat_template is 3, which is no text"),
        (
            MINE.replace("{fine: 2, bad: 1}", "{good X: 2, good Y: 1, good Z: 0}") + "chat_template: '{{ zzz }}'\n",
            "scoring 'mine.yaml' does not go with",
        ),
        (
            MINE.replace("{fine: 2, bad: 1}", "{bad bad: 3, bad good: 2, fair: 1}"),
            "scoring 'mine.yaml' does not go with .* the tokenizer does not tell the level words apart by one token",
        ),
    ],
)
def test_what_is_wrong_with_a_preset_is_one_line(scoring, message, plain, tmp_path):
    if "\n" in scoring:
        (tmp_path / "mine.yaml").write_text(scoring)
        scoring = str(tmp_path / "mine.yaml")
    with pytest.raises(ArtQuantError) as raised:
        ArtQuantScorer.from_pretrained(str(plain), scoring=scoring, device="cpu")
    text = str(raised.value)
    position = 0
    for part in message.split(".*"):
        position = text.find(part, position) + len(part)
        assert part in text, text
    assert text.isprintable()
    assert len(text) < 700
