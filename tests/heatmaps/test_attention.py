"""Recorded attention against transformers' own, and against weights that are set by hand."""

import numpy as np
import pytest
import torch

from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.heatmaps.attention import attended, layers_of, recorded_attention, vision_tower
from artquant_plugin.heatmaps.maps import heat_maps
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.backbones.families import FAMILIES, family
from tests.tiny import pictures

PICTURE = pictures(1, seed=1, size=(64, 96))[0]


def scorer_of(name, model=None):
    made, processor = family(name)
    return ArtQuantScorer(Checkpoint(model=model or made, processor=processor, spec=ScoringSpec(), name=name))


def recorded(name):
    """What reaches each token of a tower, by rollout and in the last layer, when all of its tokens are read."""
    model, processor = family(name)
    pixels = processor.image_processor([PICTURE], return_tensors="pt")["pixel_values"].flatten(0, -4)
    with torch.no_grad(), recorded_attention(model) as calls:
        vision_tower(model)(pixels)
        layers = layers_of(calls)
        read = [torch.ones_like(call.output) for call in calls]
        return pixels, [attended(layers, read, rollout=rollout) for rollout in (True, False)]


@pytest.mark.parametrize("name", ["llava", "paligemma", "gemma3", "internvl"])
def test_attention_is_that_which_transformers_returns(name):
    """Rollout by its definition, with the matrices of the whole tower, for models that return their attentions."""
    pixels, (rollout, last) = recorded(name)
    tower = vision_tower(family(name)[0])
    before = tower.config._attn_implementation
    tower.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            returned = tower(pixels, output_attentions=True).attentions
    finally:
        tower.set_attn_implementation(before)
    means = [layer.mean(dim=1).double().numpy() for layer in returned]  # (pictures, tokens, tokens)
    product = np.eye(means[0].shape[-1])[None]
    for mean in means:
        product = (mean + np.eye(mean.shape[-1])) / 2 @ product
    count = means[0].shape[0]
    assert torch.cat(rollout).numpy() == pytest.approx(product.mean(axis=1) / count, abs=1e-6)
    assert torch.cat(last).numpy() == pytest.approx(means[-1].mean(axis=1) / count, abs=1e-6)


def test_what_is_attended_to_is_where_the_weights_say():
    """Two layers whose keys are 0 but for the token at the bottom right, to which every token then attends.

    Of each layer, half stays where it is and half goes there. Of the four patches, which alone are read, the corner
    has 1/4 + 3/4 (1 - 1/2 · 1/2) = 13/16, and each other one 1/4 · 1/2 · 1/2 = 1/16.
    """
    model, _ = FAMILIES["llava"]()
    model.model.config.vision_feature_layer = model.config.vision_feature_layer = -1
    vision = vision_tower(model)
    with torch.no_grad():
        embedding = vision.embeddings.position_embedding.weight
        embedding.zero_()
        embedding[4, 0], embedding[:4, 1] = 1000.0, 1000.0  # the class token is 0, the patches are 1 to 4
        for layer in vision.encoder.layers:
            attention = layer.self_attn
            for projection in (attention.q_proj, attention.k_proj):
                projection.weight.zero_()
            attention.q_proj.bias.fill_(100.0)
            attention.k_proj.weight[:, 0] = 100.0
            for adding in (attention.out_proj, layer.mlp.fc2):  # the score depends on them, the tokens hardly change
                adding.weight.mul_(1e-6)
    square = PICTURE.resize((56, 56))
    maps = next(heat_maps(scorer_of("llava", model), [square], methods=["rollout", "attention"])).maps
    for method, corner, other in (("attention", 1.0, 0.0), ("rollout", 13 / 16, 1 / 16)):
        density = maps[method].density
        (near, far), place = (1, 3), len(density) // 4  # the middles of the patches
        middles = [4 * corner if row == column == far else 4 * other for row in (near, far) for column in (near, far)]
        found = [density[row * place, column * place] for row in (near, far) for column in (near, far)]
        assert found == pytest.approx(middles, rel=0.05, abs=0.03)  # of four patches, 1 / 4 is a density of 1


def test_layers_that_are_not_read_are_left_out():
    """LLaVA reads the features before its last layer, whose attention therefore is in no map."""
    model, _ = FAMILIES["llava"]()
    assert model.config.vision_feature_layer == -2
    scorer, methods = scorer_of("llava", model), ["rollout", "attention"]
    before = next(heat_maps(scorer, [PICTURE], methods=methods)).maps
    layers = vision_tower(model).encoder.layers
    with torch.no_grad():
        layers[-1].self_attn.q_proj.weight.mul_(50)
    unread = next(heat_maps(scorer, [PICTURE], methods=methods)).maps
    with torch.no_grad():
        layers[-2].self_attn.q_proj.weight.mul_(50)
    read = next(heat_maps(scorer, [PICTURE], methods=methods)).maps
    for method, found in before.items():
        assert unread[method].density == pytest.approx(found.density, abs=1e-6)
        assert np.abs(read[method].density - found.density).max() > 0.05


def test_the_model_is_left_as_it_was():
    model, _ = FAMILIES["llava"]()
    tower = vision_tower(model)
    before = tower.config._attn_implementation, [parameter.requires_grad for parameter in model.parameters()]
    scorer = scorer_of("llava", model)
    score = scorer.score(PICTURE).score
    next(heat_maps(scorer, [PICTURE]))
    assert (tower.config._attn_implementation, [p.requires_grad for p in model.parameters()]) == before
    assert all(parameter.grad is None for parameter in model.parameters())
    assert scorer.score(PICTURE).score == score
