import gc
import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from artquant_plugin.backbones import interface
from artquant_plugin.backbones.interface import (
    LogitTransform,
    check_token_logits,
    damaged_weights,
    logit_transform,
)
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train.tiny import build_tiny_model
from tests.tiny import SIZES, tiny_texts

TINY = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.5,
    "pad_token_id": 0,
}
IDS = torch.tensor([5, 9, 40])


def batch(model) -> dict[str, torch.Tensor]:
    ids = torch.arange(1, 7).reshape(2, 3)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize(
    ("kind", "config", "scale", "cap"),
    [
        (LlamaForCausalLM, LlamaConfig(**TINY), 1.0, None),
        (Gemma2ForCausalLM, Gemma2Config(**TINY, final_logit_softcapping=3.0), 1.0, 3.0),
        (GraniteForCausalLM, GraniteConfig(**TINY, logits_scaling=8.0), 1 / 8, None),
        (CohereForCausalLM, CohereConfig(**TINY, logit_scale=0.0625), 0.0625, None),
    ],
    ids=["plain", "capped", "divided", "multiplied"],
)
def test_what_follows_the_head_is_measured(kind, config, scale, cap):
    torch.manual_seed(0)
    model = kind(config).eval()
    assert logit_transform(model) == LogitTransform(pytest.approx(scale, rel=1e-6), cap)
    assert check_token_logits(model, batch(model), IDS) <= 1e-6


class Changed(LlamaForCausalLM):
    """A model that returns something else than its head gives."""

    change = staticmethod(lambda logits: logits)

    def forward(self, *args, **options):
        output = super().forward(*args, **options)
        output.logits = self.change(output.logits)
        return output


def test_a_factor_before_a_cap_is_measured():
    model = Changed(LlamaConfig(**TINY)).eval()
    model.change = lambda logits: 30 * torch.tanh(logits * 0.25 / 30)
    found = logit_transform(model)
    assert (found.scale, found.cap) == pytest.approx((0.25, 30.0), rel=1e-6)
    assert check_token_logits(model, batch(model), IDS) <= 1e-5


@pytest.mark.parametrize("change", [lambda logits: logits + 1, torch.relu, lambda logits: logits.log_softmax(-1)])
def test_what_no_short_way_is_known_for_is_an_error(change):
    model = Changed(LlamaConfig(**TINY)).eval()
    model.change = change
    with pytest.raises(ArtQuantError, match="Changed changes hidden states or logits around its output head"):
        logit_transform(model)


def test_a_model_that_changes_its_hidden_states_before_the_head_is_an_error():
    class Changing(LlamaForCausalLM):
        def forward(self, **inputs):
            hidden = self.model(**inputs).last_hidden_state
            return CausalLMOutputWithPast(logits=self.lm_head(hidden * 3))

    model = Changing(LlamaConfig(**TINY)).eval()
    with pytest.raises(ArtQuantError, match="changes hidden states or logits"):
        logit_transform(model)


@pytest.mark.parametrize("targets", [".*q_proj", ".*(q_proj|lm_head)"])
def test_adapted_models_and_heads(targets):
    base, _ = build_tiny_model(SIZES, tiny_texts(), seed=0)
    model = get_peft_model(base, LoraConfig(target_modules=targets, init_lora_weights=False)).eval()
    assert check_token_logits(model, batch(model), IDS) <= 1e-5


def test_a_model_is_measured_once_and_can_be_let_go():
    model = LlamaForCausalLM(LlamaConfig(**TINY)).eval()
    assert logit_transform(model) is logit_transform(model)
    kept = weakref.ref(model)
    del model
    gc.collect()
    assert kept() is None
    assert not [each for each in interface._transforms if each is None]


def test_weights_that_are_nan_are_named_and_not_the_architecture():
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**TINY)).eval()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, :3] = torch.nan
        model.model.norm.weight[1] = torch.inf
    message = (
        r"LlamaForCausalLM computes NaN or infinity: 3 of 512 numbers in its weight model.layers.0.mlp.up_proj.weight "
        r"and in 1 other tensors are NaN or infinite, .*; take an earlier checkpoint, or fetch it again"
    )
    with pytest.raises(ArtQuantError, match=message):
        logit_transform(model)


def test_a_head_that_is_nan_does_not_hide_the_transform():
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**TINY)).eval()
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.nan)
    assert logit_transform(model) == LogitTransform(1.0, None)
    assert "64 of" not in damaged_weights(model) and "1,024 of 1,024" in damaged_weights(model)


def test_values_beyond_the_type_are_told_as_such():
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**TINY)).eval()
    assert damaged_weights(model) is None
    with torch.no_grad():
        model.model.norm.weight.fill_(3e38)
    with pytest.raises(ArtQuantError, match="finite and its values grow beyond float32; take an earlier checkpoint"):
        logit_transform(model)
