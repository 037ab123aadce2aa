import importlib.util
import json
import shutil
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText

from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.common import device
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.backbones.families import family
from tests.tiny import tiny_llava

HEAD = "language_model.lm_head.weight"  # in the file, where transformers keeps LLaVA's first names


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, *tiny_llava(), ScoringSpec())
    return folder


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


def refused(folder: Path, message: str, **options) -> None:
    with pytest.raises(ArtQuantError, match=message) as raised:
        ArtQuantScorer(load_checkpoint(str(folder), **options))
    assert "\n" not in str(raised.value)


def test_weights_that_are_missing_are_an_error_and_not_random(copy):
    weights = load_file(copy / "model.safetensors")
    del weights[HEAD], weights["multi_modal_projector.linear_1.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    refused(copy, "lacks lm_head.weight, model.multi_modal_projector.linear_1.weight; save or fetch it again, whole")


def test_weights_of_another_shape_are_one_line(copy):
    weights = load_file(copy / "model.safetensors")
    weights[HEAD] = weights[HEAD][:, :8].contiguous()
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    refused(copy, r"lm_head.weight has shape \[\d+, 8\], its config.json asks for \[\d+, 32\]; save or fetch it again")


def test_weights_that_are_cut_short_are_one_line(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    refused(
        copy, "cannot be loaded: .*model.safetensors is cut off: 1,000 bytes are there, its header alone has 4,312"
    )


def test_pickled_weights_are_not_read(copy):
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    refused(copy, "cannot be loaded .*no file named model.safetensors")


@pytest.mark.parametrize(
    "missing",
    [
        ["processor_config.json"],
        ["processor_config.json", "chat_template.jinja"],
        ["tokenizer.json"],
        ["tokenizer.json", "tokenizer_config.json"],
    ],
)
def test_a_missing_processor_file_is_one_line(missing, copy):
    for name in missing:
        (copy / name).unlink()
    refused(
        copy,
        r"(has no whole processor; copy processor_config.json or preprocessor_config.json and the tokenizer|"
        r"the processor of .* cannot be loaded)",
    )


def test_a_checkpoint_without_chat_template_is_one_line(copy):
    (copy / "chat_template.jinja").unlink()
    refused(copy, "LlavaProcessor has no chat template; use an instruction-tuned checkpoint, or add a chat_template")


def test_level_words_that_the_tokenizer_cannot_tell_apart_are_one_line(copy):
    scale = LevelScale(names=("zz top", "zz poor", "good"), values=(3.0, 2.0, 1.0))
    ScoringSpec(scale=scale).save(copy)
    refused(copy, r"does not tell the level words apart by one token \(zz top=.*\); choose other level words")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"attn": "sdppa"},
            "attn 'sdppa' is unknown; use sdpa, eager, flash_attention_2, flash_attention_3 or flex_a",
        ),
        ({"attn": "someone/kernel"}, "attn 'someone/kernel' is unknown"),
        ({"dtype": "float16"}, "dtype float16 needs a GPU; use float32 or bfloat16 on the CPU"),
        ({"device": "gpu"}, "device 'gpu' is unknown; use cpu, cuda, cuda:1 or mps"),
        ({"quantization": "2bit"}, "quantization '2bit' is unknown; use 4bit or 8bit"),
    ],
)
def test_wrong_options_are_one_line(options, message, saved):
    refused(saved, message, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_one_line(saved):
    refused(saved, "device 'cuda:1' is not there, torch finds no GPU of that kind; use cpu", device="cuda:1")


def test_quantisation_without_its_package_names_the_extra(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # how Python notes that a module is not to be had
    refused(saved, r"needs bitsandbytes; pip install 'artquant-plugin\[quantized\]'", quantization="4bit")


def test_quantisation_on_another_device_is_one_line(saved, tmp_path, monkeypatch):
    (tmp_path / "bitsandbytes.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    message = "quantization 8bit runs on cuda or cpu, not 'meta'; use one of them"
    refused(saved, message, quantization="8bit", device="meta")


def test_mistrals_own_tokenizer_file_is_passed_over(copy, saved):
    """The tokenizer that transformers would make of it, where mistral-common is installed, knows no templates."""
    (copy / "tekken.json").write_text("{}")
    tokenizer = load_checkpoint(str(copy)).processor.tokenizer
    assert type(tokenizer) is type(load_checkpoint(str(saved)).processor.tokenizer)


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is not None, reason="flash-attn is installed")
def test_attention_that_is_not_installed_is_one_line(saved):
    refused(saved, "flash_attention_2|FlashAttention2", attn="flash_attention_2")


def test_code_of_a_checkpoint_runs_on_request_alone(copy, tmp_path):
    (copy / "own.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
        "from transformers import LlavaConfig, LlavaForConditionalGeneration\n"
        "class OwnConfig(LlavaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlavaForConditionalGeneration):\n    config_class = OwnConfig\n"
    )
    config = json.loads((copy / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForImageTextToText": "own.OwnModel"},
    }
    (copy / "config.json").write_text(json.dumps(config))
    save_file(tiny_llava()[0].state_dict(), copy / "model.safetensors", metadata={"format": "pt"})
    refused(copy, "needs Python code of its own; read it, then pass trust_remote_code=true")
    assert not (tmp_path / "ran").exists()
    assert type(load_checkpoint(str(copy), trust_remote_code=True).model).__name__ == "OwnModel"


def test_a_text_model_without_sdpa_is_loaded_by_default(tmp_path):
    """PaliGemma 2's language model is a Gemma 2, which caps its attention; its vision tower has SDPA."""
    save_checkpoint(tmp_path, *family("paligemma"), ScoringSpec())
    model = load_checkpoint(str(tmp_path)).model
    assert model.model.language_model.config._attn_implementation == "eager"
    assert model.model.vision_tower.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_the_attention_that_was_asked_for_is_used(attn, saved):
    model = load_checkpoint(str(saved), attn=attn).model
    assert model.model.language_model.config._attn_implementation == attn


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_type_that_was_asked_for_is_used(dtype, saved):
    assert load_checkpoint(str(saved), dtype=dtype).model.dtype == getattr(torch, dtype)


@pytest.mark.parametrize(
    ("stored", "capabilities", "expected"),
    [
        ("bfloat16", {"avx512_bf16": True}, "bfloat16"),
        ("bfloat16", {"avx512_f": True}, "float32"),
        ("float16", {"avx512_bf16": True}, "float32"),
        ("float32", {"avx512_bf16": True}, "float32"),
    ],
)
def test_auto_takes_the_type_that_suits_the_cpu(stored, capabilities, expected, tmp_path, monkeypatch):
    shared, processor = tiny_llava()
    model = deepcopy(shared).to(getattr(torch, stored))
    save_checkpoint(tmp_path / "stored", model, processor, ScoringSpec())
    monkeypatch.setattr(device, "cpu_capabilities", lambda: capabilities)
    assert load_checkpoint(str(tmp_path / "stored")).model.dtype == getattr(torch, expected)
    asked = load_checkpoint(str(tmp_path / "stored"), dtype="bfloat16").model.dtype
    assert asked == torch.bfloat16  # what the user asks for is done on every CPU


def test_an_encoder_decoder_is_one_line(copy):
    text = {"vocab_size": 64, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
    text |= {"decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    vision = {"embed_dim": [8], "depths": [1], "num_heads": [2], "num_groups": [2], "patch_size": [4]}
    vision |= {"patch_stride": [4], "patch_padding": [0], "patch_prenorm": [False], "projection_dim": 16}
    config = AutoConfig.for_model("florence2", text_config=text, vision_config=vision)
    AutoModelForImageTextToText.from_config(config).save_pretrained(copy)
    refused(
        copy, r"is an encoder-decoder \(Florence2ForConditionalGeneration\), which reads no prompt before its answer"
    )
