"""Adapters in the folders that other trainers write: scored as transformers and peft alone score the same folder.

The layouts are those of ms-swift 3, LLaMA-Factory, unsloth and axolotl: which files lie beside the adapter, where the
base model is named, and which tokenizer and chat template come along. The adapters are peft's own.
"""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint, save_checkpoint, shipped_presets
from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.tiny import build_tiny_model
from tests.tiny import SIZES, pictures, tiny_llava, tiny_texts

IMAGES = pictures(2)
LORA = {"r": 4, "target_modules": r".*language_model.*\.(q|v)_proj", "init_lora_weights": False}
GONE = "/root/.cache/modelscope/hub/models/tiny/base"


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('state of the training was unpickled')",))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_checkpoint(folder, *tiny_llava(), ScoringSpec())
    (folder / "artquant.json").unlink()
    return folder


def write_adapter(folder: Path, base: Path, *, added: int = 0, **lora: Any) -> Any:
    """An adapter as `save_pretrained` of peft writes it; returns the processor that it was trained with."""
    model = AutoModelForImageTextToText.from_pretrained(base)
    processor = build_tiny_model(SIZES, tiny_texts(), seed=0)[1]
    torch.manual_seed(0)
    if added:
        processor.tokenizer.add_tokens([f"<added{index}>" for index in range(added)])
        model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
    get_peft_model(model, LoraConfig(**{**LORA, **lora})).save_pretrained(folder)
    return processor


def write_state(folder: Path, step: int) -> None:
    """What the Trainer and DeepSpeed leave in a checkpoint; unpickling any of it ends the test."""
    for name in ("optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    (folder / f"global_step{step}").mkdir()
    (folder / f"global_step{step}" / "zero_pp_rank_0_mp_rank_00_model_states.pt").write_bytes(pickle.dumps(Bomb()))
    (folder / "latest").write_text(f"global_step{step}")
    (folder / "zero_to_fp32.py").write_text("raise SystemExit('was run')\n")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "best_model_checkpoint": None}))


def change(path: Path, **content: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **content}))


def peer_scores(folder: Path, base: Path, processor: Any, rows: int | None = None) -> list[float]:
    """The expectation over the five level words, from bare transformers and peft."""
    model = AutoModelForImageTextToText.from_pretrained(base)
    if rows is not None:
        model.resize_token_embeddings(rows, mean_resizing=False)
    return scores_of(PeftModel.from_pretrained(model, folder).eval(), processor)


def scores_of(model: Any, processor: Any) -> list[float]:
    spec = shipped_presets()["artquant"].spec
    content = [{"type": "image"}, {"type": "text", "text": spec.prompt.question}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    found = []
    for image in IMAGES:
        answers = [f"{prompt}{spec.prompt.answer_prefix} {word}" for word in spec.scale.names]
        ids = [processor(text=[text], images=[image], return_tensors="pt")["input_ids"][0] for text in answers]
        place = next(at for at in range(len(ids[0])) if len({int(row[at]) for row in ids}) > 1)
        inputs = processor(text=[answers[0]], images=[image], return_tensors="pt")
        with torch.inference_mode():
            logits = model(**inputs).logits[0, place - 1]
        weights = torch.softmax(logits[[int(row[place]) for row in ids]].double(), -1)
        found.append(float(weights @ torch.tensor(spec.scale.values, dtype=torch.float64)))
    return found


def scores(folder: Path) -> list[float]:
    scorer = ArtQuantScorer.from_pretrained(str(folder), scoring="artquant", device="cpu")
    return [result.score for result in scorer.score(IMAGES)]


def ms_swift(run: Path, base: Path, step: int) -> Path:
    """A checkpoint of ms-swift: no tokenizer; the base is named by a cache of the training machine."""
    folder = run / f"checkpoint-{step}"
    write_adapter(folder, base)
    write_state(folder, step)
    change(folder / "adapter_config.json", base_model_name_or_path=GONE)
    more = {"lora_dtype": None, "lorap_lr_ratio": None, "lorap_emb_lr": 1e-06}
    (folder / "additional_config.json").write_text(json.dumps(more))
    arguments = {"model": str(base), "model_revision": None, "template": "llava1_5_hf", "system": None}
    for place in (run, folder):
        (place / "args.json").write_text(json.dumps(arguments))
    (run / "logging.jsonl").write_text("{}\n")
    return folder


def test_ms_swift(base, tmp_path):
    folder = ms_swift(tmp_path / "v0-20261128-010203", base, 10)
    expected = peer_scores(folder, base, AutoProcessor.from_pretrained(base))
    assert scores(folder) == pytest.approx(expected, abs=1e-6)
    assert scores(folder.parent) == pytest.approx(expected, abs=1e-6)  # it holds this one checkpoint alone


def test_llama_factory_with_added_tokens(base, tmp_path):
    """`resize_vocab` trains the whole embeddings; the output folder holds the last adapter and its checkpoints."""
    processor = write_adapter(tmp_path / "saves", base, added=3, modules_to_save=["embed_tokens", "lm_head"])
    processor.save_pretrained(tmp_path / "saves")
    for name in ("all_results.json", "train_results.json"):
        (tmp_path / "saves" / name).write_text("{}")
    (tmp_path / "saves" / "trainer_log.jsonl").write_text("{}\n")
    shutil.copytree(tmp_path / "saves", tmp_path / "checkpoint-7")
    shutil.move(tmp_path / "checkpoint-7", tmp_path / "saves")
    write_state(tmp_path / "saves" / "checkpoint-7", 7)
    expected = peer_scores(tmp_path / "saves", base, processor, rows=len(processor.tokenizer))
    assert scores(tmp_path / "saves") == pytest.approx(expected, abs=1e-6)
    assert scores(tmp_path / "saves" / "checkpoint-7") == pytest.approx(expected, abs=1e-6)


def test_unsloth(base, tmp_path):
    """Targets as one pattern over parts and kinds of modules, rank-stabilised, with the class of the base beside."""
    pattern = r"(?:.*?(?:vision|language|text).*?(?:self_attn|mlp).*?(?:q_proj|v_proj|down_proj).*?)"
    processor = write_adapter(tmp_path / "lora", base, target_modules=pattern, use_rslora=True)
    processor.save_pretrained(tmp_path / "lora")
    owner = {
        "base_model_class": "LlavaForConditionalGeneration",
        "parent_library": "transformers",
        "unsloth_fixed": True,
    }
    change(tmp_path / "lora" / "adapter_config.json", auto_mapping=owner)
    assert scores(tmp_path / "lora") == pytest.approx(peer_scores(tmp_path / "lora", base, processor), abs=1e-6)


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
def test_axolotl_with_a_chat_template_of_its_own(place, base, tmp_path):
    """The base's config.json and the tokenizer lie beside the adapter, and no processor."""
    folder = tmp_path / "outputs"
    processor = write_adapter(folder, base, use_dora=True)
    shutil.copy(base / "config.json", folder)
    template = AutoProcessor.from_pretrained(base).chat_template.replace("<assistant>", "<assistant> Well.")
    processor.tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    if place == "chat_template.jinja":
        (folder / place).write_text(template)
    else:
        change(folder / place, chat_template=template)
    found = scores(folder)
    processor.chat_template = template
    assert found == pytest.approx(peer_scores(folder, base, processor), abs=1e-6)
    processor.chat_template = AutoProcessor.from_pretrained(base).chat_template
    assert found != pytest.approx(peer_scores(folder, base, processor), abs=1e-3)


def test_a_chat_template_alone_replaces_that_of_the_base(base, tmp_path):
    write_adapter(tmp_path, base)
    processor = AutoProcessor.from_pretrained(base)
    processor.chat_template = processor.chat_template.replace("<assistant>", "<assistant> Well.")
    (tmp_path / "chat_template.jinja").write_text(processor.chat_template)
    assert scores(tmp_path) == pytest.approx(peer_scores(tmp_path, base, processor), abs=1e-6)


def test_a_processor_whose_template_is_the_tokenizers(base, tmp_path):
    processor = write_adapter(tmp_path, base)
    template = processor.chat_template
    processor.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    change(tmp_path / "tokenizer_config.json", chat_template=template)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == template
    assert scores(tmp_path) == pytest.approx(peer_scores(tmp_path, base, processor), abs=1e-6)


@pytest.mark.parametrize("pattern", [r"^(language_model.*\.(q_proj|v_proj))$", r".*language_model.*\.(q|v)_proj"])
def test_names_of_older_transformers(pattern, base, tmp_path):
    """Before 4.52, a LLaVA's language model was `language_model.model`; peft alone refuses the first pattern."""
    processor = write_adapter(tmp_path, base)
    expected = peer_scores(tmp_path, base, processor)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    old = {
        name.replace("model.model.language_model.", "model.language_model.model."): weights[name] for name in weights
    }
    assert not set(old) & set(weights)
    save_file(old, tmp_path / "adapter_model.safetensors")
    change(tmp_path / "adapter_config.json", target_modules=pattern)
    assert scores(tmp_path) == pytest.approx(expected, abs=1e-6)


def test_the_command_scores_an_adapter(base, tmp_path):
    folder = ms_swift(tmp_path / "run", base, 10)
    (tmp_path / "images").mkdir()
    for index, image in enumerate(IMAGES):
        image.save(tmp_path / "images" / f"{index}.png")
    out = tmp_path / "scores.jsonl"
    options = ["--model", str(folder), "--scoring", "artquant", "--device", "cpu", "--out", str(out), "--workers", "1"]
    assert main(["score", str(tmp_path / "images"), *options]) == 0
    found = [json.loads(line)["score"] for line in out.read_text().splitlines()]
    assert found == pytest.approx(peer_scores(folder, base, AutoProcessor.from_pretrained(base)), abs=1e-4)


def refused(folder: Path, message: str) -> str:
    with pytest.raises(ArtQuantError, match=message) as raised:
        load_checkpoint(str(folder), scoring="artquant")
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_of_several_checkpoints_the_newest_and_the_best_are_named(base, tmp_path):
    run = tmp_path / "run"
    for step in (9, 10):
        ms_swift(run, base, step)
    refused(run, r"and no adapter_config.json; name one of its 2 checkpoints: the newest is '.*/run/checkpoint-10'$")
    change(run / "checkpoint-10" / "trainer_state.json", best_model_checkpoint="/root/run/checkpoint-9")
    refused(run, r"newest is '.*/checkpoint-10', the best by its trainer_state.json '.*/run/checkpoint-9'$")


def test_an_interrupted_run_names_its_checkpoint(base, tmp_path):
    """Axolotl writes the adapter's configuration into the output folder before it trains."""
    ms_swift(tmp_path / "run", base, 10)
    shutil.copy(tmp_path / "run" / "checkpoint-10" / "adapter_config.json", tmp_path / "run")
    refused(tmp_path / "run", r"holds no adapter_model.safetensors; name its checkpoint '.*/run/checkpoint-10'$")


def test_shards_of_deepspeed_alone(base, tmp_path):
    folder = ms_swift(tmp_path, base, 10)
    (folder / "adapter_model.safetensors").unlink()
    refused(folder, r"DeepSpeed's shards \(global_step10\); gather them there with python zero_to_fp32.py . gathered")
    shutil.copytree(base, tmp_path / "full")
    (tmp_path / "full" / "model.safetensors").unlink()
    write_state(tmp_path / "full", 5)
    refused(tmp_path / "full", r"global_step5\); gather them there with python zero_to_fp32.py \. \. --safe_serial")


def test_a_pickled_adapter_is_converted_by_the_line_that_its_error_names(base, tmp_path):
    processor = write_adapter(tmp_path, base)
    expected = peer_scores(tmp_path, base, processor)
    torch.save(load_file(tmp_path / "adapter_model.safetensors"), tmp_path / "adapter_model.bin")
    (tmp_path / "adapter_model.safetensors").unlink()
    message = refused(
        tmp_path, "holds no adapter_model.safetensors; save it as safetensors, .*: in that folder, python"
    )
    code = message.partition('python -c "')[2].rstrip('"')
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert scores(tmp_path) == pytest.approx(expected, abs=1e-6)


def test_weights_beside_the_adapter_that_would_be_passed_over_are_refused(base, tmp_path):
    processor = write_adapter(tmp_path, base)
    save_file({"v_head.summary.weight": torch.zeros(1, 32)}, tmp_path / "value_head.safetensors")
    assert scores(tmp_path) == pytest.approx(peer_scores(tmp_path, base, processor), abs=1e-6)
    save_file({"model.vision_tower.x": torch.zeros(1)}, tmp_path / "vit.safetensors")
    refused(tmp_path, "has vit.safetensors beside it, weights that are not read; merge all of it into its base")


def test_a_base_that_is_named_nowhere_on_this_machine_is_one_line(base, tmp_path):
    folder = ms_swift(tmp_path, base, 10)
    change(folder / "args.json", model="/also/gone")
    refused(folder, "no folder and no Hub id; mend base_model_name_or_path")
    (folder / "args.json").write_text("{")
    refused(folder, "args.json")
