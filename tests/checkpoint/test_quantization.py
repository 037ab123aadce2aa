"""Which layers bitsandbytes quantises on a CPU, and that a model of any width is scored or refused in one line."""

import re

import pytest
import torch

from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.checkpoint.quantization import fits_cpu_kernels
from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.sections import TinyModel
from artquant_plugin.train.tiny import build_tiny_model
from tests.tiny import SIZES, pictures, tiny_llava, tiny_texts

bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs pip install 'artquant-plugin[quantized]'")


def save_tiny(folder, sizes: TinyModel):
    model, processor = tiny_llava() if sizes == SIZES else build_tiny_model(sizes, tiny_texts(), seed=0)
    save_checkpoint(folder, model, processor, ScoringSpec())
    return folder


def layers(model, kind) -> set[str]:
    return {name for name, module in model.named_modules() if type(module) is kind}


def test_layers_of_odd_width_stay_unquantised_on_a_cpu(tmp_path):
    """Width 32: of 6 layers of the ViT, 2 of the projector and 7 of the LLM, fc2 alone has fitting inputs, 128."""
    folder = save_tiny(tmp_path / "tiny", SIZES)
    with pytest.warns(ArtQuantWarning, match="14 of 15 linear layers stay unquantised"):
        checkpoint = load_checkpoint(str(folder), quantization="4bit")
    assert layers(checkpoint.model, bitsandbytes.nn.Linear4bit) == {"model.vision_tower.encoder.layers.0.mlp.fc2"}
    plain = ArtQuantScorer(load_checkpoint(str(folder))).score(pictures(2))
    quantised = ArtQuantScorer(checkpoint).score(pictures(2))
    assert [score.score for score in quantised] == pytest.approx([score.score for score in plain], abs=0.1)


def test_extra_weights_and_odd_widths_are_left_out_together(tmp_path):
    """What was trained beside an adapter stays as it is, and so do layers of odd width."""
    from peft import LoraConfig, get_peft_model

    folder = save_tiny(tmp_path / "base", SIZES)
    base = load_checkpoint(str(folder))
    model = get_peft_model(base.model, LoraConfig(r=2, target_modules=["q_proj"]))
    model.get_base_model().model.vision_tower.encoder.layers[0].mlp.fc1.weight.requires_grad_(True)
    save_checkpoint(tmp_path / "adapter", model, base.processor, base.spec)
    with pytest.warns(ArtQuantWarning, match="stay unquantised"):
        again = load_checkpoint(str(tmp_path / "adapter"), base=str(folder), quantization="4bit")
    assert {name.rpartition(".")[2] for name in layers(again.model, bitsandbytes.nn.Linear4bit)} == {"fc2"}


def test_a_model_of_which_no_layer_fits_is_one_line(tmp_path):
    """Width 24: the inputs are 24, 72 and 96 wide."""
    folder = save_tiny(tmp_path / "narrow", SIZES.model_copy(update={"hidden": 24}))
    with pytest.raises(ArtQuantError, match="leave quantization out, or use 8bit") as raised:
        load_checkpoint(str(folder), quantization="4bit")
    assert "\n" not in str(raised.value)
    assert ArtQuantScorer(load_checkpoint(str(folder), quantization="8bit")).score(pictures(1))


def test_every_layer_that_fits_is_quantised_without_a_word(tmp_path, recwarn):
    folder = save_tiny(tmp_path / "wide", SIZES.model_copy(update={"hidden": 64}))
    model = load_checkpoint(str(folder), quantization="4bit").model
    assert layers(model, torch.nn.Linear) == {"lm_head"}
    assert not [warning for warning in recwarn if issubclass(warning.category, ArtQuantWarning)]


@pytest.mark.parametrize(
    ("inputs", "outputs", "fits"), [(64, 32, True), (192, 96, True), (96, 32, False), (64, 48, False), (32, 32, False)]
)
def test_inputs_fit_in_multiples_of_64_and_outputs_in_multiples_of_32(inputs, outputs, fits):
    assert fits_cpu_kernels(torch.nn.Linear(inputs, outputs)) is fits


def test_a_layer_that_fits_is_computed_as_its_weights_are_stored():
    """One 1 per row of 64 weights, the rest zero: 4 bits hold that exactly, so that the product picks the inputs."""
    weight = torch.eye(32, 64)
    layer = bitsandbytes.nn.Linear4bit(64, 32, bias=False, quant_type="nf4")
    layer.weight = bitsandbytes.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", module=layer)
    rows = torch.arange(64, dtype=torch.float32)[None]
    with torch.inference_mode():
        assert layer.to("cpu").eval()(rows).tolist() == [list(range(32))]


def test_the_command_scores_a_model_of_odd_width(tmp_path, capsys):
    folder = save_tiny(tmp_path / "tiny", SIZES)
    pictures(1)[0].save(tmp_path / "a.png")
    assert main(["score", str(tmp_path / "a.png"), "--model", str(folder), "--quantization", "4bit"]) == 0
    printed = capsys.readouterr()
    assert re.search(r"^ *\d+\.\d+ .*a\.png$", printed.out, re.MULTILINE)
    assert "artquant: warning: " in printed.err


def test_stored_4_bit_layers_of_odd_width_are_refused_on_a_cpu(tmp_path):
    """As a GPU saves them: width 32 fits no CPU, and every layer is in 4 bits."""
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    folder = save_tiny(tmp_path / "tiny", SIZES)
    everything = BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=["lm_head"])
    model = AutoModelForImageTextToText.from_pretrained(folder, quantization_config=everything)
    save_checkpoint(tmp_path / "stored", model, tiny_llava()[1], ScoringSpec())
    message = (
        r"layers of .*stored' are stored in 4 bits with widths such as 32 to .*on a CPU, 4-bit weights need inputs"
    )
    with pytest.raises(ArtQuantError, match=message) as raised:
        load_checkpoint(str(tmp_path / "stored"))
    assert "use a GPU, or weights that are not quantised" in str(raised.value)


def test_weights_that_are_stored_quantised_are_loaded_as_such_and_not_quantised_otherwise(tmp_path):
    folder = save_tiny(tmp_path / "tiny", SIZES.model_copy(update={"hidden": 64}))
    quantised = load_checkpoint(str(folder), quantization="8bit")
    save_checkpoint(tmp_path / "stored", quantised.model, quantised.processor, quantised.spec)
    scores = ArtQuantScorer(quantised).score(pictures(2))
    for quantization in (None, "8bit"):
        again = load_checkpoint(str(tmp_path / "stored"), quantization=quantization)
        assert layers(again.model, bitsandbytes.nn.Linear8bitLt)
        assert ArtQuantScorer(again).score(pictures(2)) == scores
    with pytest.raises(ArtQuantError, match=r"are stored quantised \(8bit\), so that 4bit cannot be had of them"):
        load_checkpoint(str(tmp_path / "stored"), quantization="4bit")


@pytest.mark.parametrize("quantization", [None, "8bit", "4bit"])
def test_a_model_whose_head_is_tied_to_its_embeddings_is_scored(quantization, tmp_path):
    model, processor = build_tiny_model(SIZES.model_copy(update={"hidden": 64}), tiny_texts(), seed=0)
    config = model.config
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = True
    tied = type(model)(config)
    assert tied.lm_head.weight is tied.get_input_embeddings().weight
    save_checkpoint(tmp_path, tied, processor, ScoringSpec())
    plain = ArtQuantScorer(load_checkpoint(str(tmp_path))).score(pictures(1))[0].score
    again = load_checkpoint(str(tmp_path), quantization=quantization)
    assert type(again.model.lm_head) is torch.nn.Linear
    assert ArtQuantScorer(again).score(pictures(1))[0].score == pytest.approx(plain, abs=1.5)
