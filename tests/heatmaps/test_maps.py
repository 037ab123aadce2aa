"""Heat maps of tiny models of every family: scores, places of tokens, and what goes wrong."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.heatmaps.attention import layers_of, recorded_attention
from artquant_plugin.heatmaps.maps import METHODS, HeatMap, ScoringPass, differentiable, heat_map, heat_maps
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.backbones.families import FAMILIES, family
from tests.tiny import pictures, tiny_checkpoint

PICTURE = pictures(1, seed=1, size=(64, 96))[0]


@pytest.fixture(params=FAMILIES)
def name(request) -> str:
    if request.param == "smolvlm":
        pytest.importorskip("num2words", reason="SmolVLM's processor needs num2words")
    return request.param


def scorer_of(name: str) -> ArtQuantScorer:
    model, processor = family(name)
    return ArtQuantScorer(Checkpoint(model=model, processor=processor, spec=ScoringSpec(), name=name))


def test_every_family_has_every_map(name):
    scorer = scorer_of(name)
    found = next(heat_maps(scorer, [PICTURE], methods=METHODS))
    assert found.score == pytest.approx(scorer.score(PICTURE).score, abs=1e-4)
    assert list(found.maps) == list(METHODS)
    for heat in found.maps.values():
        assert heat.density.mean() == pytest.approx(1)
        assert heat.density.min() >= 0
        assert 0 <= heat.padding < 0.6


def test_without_a_method_there_are_rollout_and_gradient():
    assert list(next(heat_maps(scorer_of("llava"), [PICTURE])).maps) == ["rollout", "gradient"]


def test_the_attention_of_a_token_is_put_where_the_token_looks(name):
    """A corner of the picture is painted over, and the tokens that this changes get all of the attention."""
    scorer = scorer_of(name)
    changed = PICTURE.copy()
    changed.paste((255, 0, 128), (0, 0, 24, 16))  # a quarter of either side
    model = scorer.checkpoint.model
    with differentiable(model), recorded_attention(model) as calls:
        ScoringPass(scorer, PICTURE)
        before = [call.query.detach() for call in layers_of(calls)[0]]
    with differentiable(model), recorded_attention(model) as calls:
        done = ScoringPass(scorer, changed)
        first = layers_of(calls)[0]
        weights = [
            ((call.query - other).abs().amax(dim=(1, 3)) > 1e-6).float()
            for call, other in zip(first, before, strict=True)
        ]
        masses = done.by_token(first, weights)
    assert 0 < sum(part.sum() for part in weights) < sum(part.numel() for part in weights)
    heat = heat_map(done.places, masses, "rollout")
    # The patches that the corner reaches into are at most half of either side; a cell beyond shares their edge.
    assert heat.share(0, 0, 0.6, 0.6) > 0.98
    assert heat.share(0, 0, 0.25, 0.25) > 0.05


def test_maps_hardly_depend_on_the_type_of_the_weights():
    scorer = scorer_of("llava_onevision")
    model = copy.deepcopy(scorer.checkpoint.model).bfloat16()
    small = ArtQuantScorer(Checkpoint(model, scorer.checkpoint.processor, ScoringSpec(), "bfloat16"))
    exact, rough = (next(heat_maps(each, [PICTURE], methods=METHODS)).maps for each in (scorer, small))
    for method in METHODS:
        assert np.abs(exact[method].density - rough[method].density).mean() < 0.05


def test_a_share_counts_the_parts_of_cells():
    heat = HeatMap(np.array([[1.0, 1.0], [2.0, 0.0]]), padding=0.0)
    assert heat.share(0, 0, 1, 1) == 1
    assert heat.share(0, 0, 0.5, 0.5) == 0.25
    assert heat.share(0.25, 0.25, 0.75, 1) == pytest.approx((1 * 0.25 + 1 * 0.25 + 2 * 0.5) / 4)


def test_an_image_that_cannot_be_read_is_an_error_of_its_own(tmp_path):
    found = list(heat_maps(ArtQuantScorer(tiny_checkpoint()), [tmp_path / "absent.png", PICTURE]))
    assert isinstance(found[0], ArtQuantError)
    assert "absent.png" in str(found[0])
    assert found[1].maps["gradient"].density.mean() == pytest.approx(1)


class Convolutions(nn.Module):
    """A vision tower without attention: a convolution for each patch, behind a class token of zeros."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, pixel_values, **_):
        hidden = self.patches(pixel_values).flatten(2).transpose(1, 2)
        hidden = torch.cat([torch.zeros_like(hidden[:, :1]), hidden], dim=1)
        return SimpleNamespace(last_hidden_state=hidden, hidden_states=(hidden, hidden))


def without_attention() -> ArtQuantScorer:
    model, processor = FAMILIES["llava"]()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.model.vision_tower = Convolutions(model.config.vision_config.hidden_size, 14)
    return ArtQuantScorer(Checkpoint(model=model, processor=processor, spec=ScoringSpec(), name="runs/conv"))


def test_a_tower_without_attention_has_the_map_of_the_gradient():
    found = next(heat_maps(without_attention(), [PICTURE]))
    assert list(found.maps) == ["gradient"]


def test_attention_of_a_tower_without_it_is_an_error_with_the_remedy():
    with pytest.raises(ArtQuantError) as error:
        next(heat_maps(without_attention(), [PICTURE], methods=["rollout", "gradient"]))
    assert str(error.value) == (
        "the vision tower of 'runs/conv' (Convolutions) shows no attention, so that there is no map for the method "
        "rollout; use --method gradient"
    )


@pytest.mark.parametrize("methods", [["saliency"], []])
def test_unknown_methods_are_refused(methods):
    with pytest.raises(ArtQuantError, match="is unknown; use rollout, attention, gradient"):
        next(heat_maps(ArtQuantScorer(tiny_checkpoint()), [PICTURE], methods=methods))


def test_a_score_that_ignores_the_picture_has_no_map():
    model, processor = FAMILIES["llava"]()
    with torch.no_grad():
        for parameter in model.model.multi_modal_projector.parameters():
            parameter.zero_()
    scorer = ArtQuantScorer(Checkpoint(model=model, processor=processor, spec=ScoringSpec(), name="blind"))
    (found,) = heat_maps(scorer, [PICTURE], methods=["gradient"])
    assert str(found) == "the map 'gradient' is empty: the score does not depend on what the picture shows"
