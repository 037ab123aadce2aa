"""The places of model inputs against the geometry of each family's preprocessing, computed by hand."""

import numpy as np
import pytest

from artquant_plugin.heatmaps.places import LEVELS, MOST_CELLS, Places, input_places, picture_map
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec
from artquant_plugin.scoring.scorer import score_inputs
from tests.backbones.families import FAMILIES, family

SIZE = (96, 64)  # width and height of the picture, in pixels


def canvas(width, height, *, shown=None, left=0.0, top=0.0):
    """The places (x, y) that the pixels of a canvas show, shape (height, width, 2); NaN on padding.

    The picture is scaled to `shown` = (width, height), its corner at (left, top); without it, to the whole canvas.
    """
    shown_width, shown_height = shown or (width, height)
    x = (np.arange(width) + 0.5 - left) / shown_width
    y = (np.arange(height) + 0.5 - top) / shown_height
    places = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)
    places[((places <= 0) | (places >= 1)).any(axis=-1)] = np.nan
    return places


def tiles(whole, side):
    """A canvas cut into square tiles, row by row; shape (tiles, side, side, 2)."""
    rows, columns = whole.shape[0] // side, whole.shape[1] // side
    cut = whole.reshape(rows, side, columns, side, 2).swapaxes(1, 2)
    return cut.reshape(rows * columns, side, side, 2)


def in_channels(places):
    """Three channels before the last two axes: (…, height, width, 2) becomes (…, 3, height, width, 2)."""
    return np.repeat(places[..., None, :, :, :], 3, axis=-4)


def merged_patches(whole, side, frames=2):
    """Qwen's patches: four that will be merged follow each other; a patch is flattened as (channel, frame, y, x)."""
    rows, columns = whole.shape[0] // (2 * side), whole.shape[1] // (2 * side)
    cut = whole.reshape(rows, 2, side, columns, 2, side, 2).transpose(0, 3, 1, 4, 2, 5, 6)
    patches = cut.reshape(rows * columns * 4, 1, side * side, 2)
    return np.repeat(patches, 3 * frames, axis=1)


def rows_of_patches(whole, side):
    """Gemma 4's patches, row by row, each flattened as (y, x, channel)."""
    return np.repeat(tiles(whole, side).reshape(-1, side * side, 1, 2), 3, axis=2)


THUMBNAIL = canvas(28, 28)[None]
# 96 x 64 in 56 x 56 is 56 x 37.3, which is rounded up; LLaVA-NeXT and LLaVA-OneVision put it in the middle.
FITTED = canvas(56, 56, shown=(56, 38), top=9)
EXPECTED = {
    # Padded to 96 x 96, 16 rows above, then scaled to 28 x 28.
    "mplug_owl2": in_channels(canvas(28, 28, shown=(28, 28 * 64 / 96), top=28 * 16 / 96)),
    # Scaled to 42 x 28, then 7 columns cut off on either side.
    "llava": in_channels(canvas(28, 28, shown=(42, 28), left=-7)),
    "llava_next": in_channels(np.concatenate([THUMBNAIL, tiles(FITTED, 28)])),
    "llava_onevision": in_channels(np.concatenate([THUMBNAIL, tiles(FITTED, 28)])),
    # The nearest multiples of 28, and of 32.
    "qwen2_vl": merged_patches(canvas(84, 56), 14),
    "qwen2_5_vl": merged_patches(canvas(84, 56), 14),
    "qwen3_vl": merged_patches(canvas(96, 64), 16),
    "qwen3_5": merged_patches(canvas(96, 64), 16),
    # Stretched to 56 x 56, and the whole behind the tiles.
    "idefics3": in_channels(np.concatenate([tiles(canvas(56, 56), 28), THUMBNAIL])),
    "smolvlm": in_channels(np.concatenate([tiles(canvas(56, 56), 28), THUMBNAIL])),
    "internvl": in_channels(np.concatenate([tiles(canvas(56, 56), 28), THUMBNAIL])),
    "gemma3": in_channels(canvas(56, 56)),
    # At most 280 patches of 8 x 8, an even number of them on either side: 20 x 12, and 40 empty ones.
    "gemma4": np.concatenate([rows_of_patches(canvas(160, 96), 8), np.full((40, 64, 3, 2), np.nan)]),
    "paligemma": in_channels(canvas(28, 28)),
    # The longer side is 84.
    "mistral3": in_channels(canvas(84, 56)),
    # 42 x 28 in two tiles of 28 x 28 side by side, the rest of the second one padded.
    "mllama": in_channels(tiles(canvas(56, 28, shown=(42, 28)), 28)),
}


def made_by(name):
    if name == "smolvlm":
        pytest.importorskip("num2words", reason="SmolVLM's processor needs num2words")
    prompter = Prompter(family(name)[1], PromptSpec(), LevelScale())
    return lambda images: score_inputs(prompter, images)


@pytest.mark.parametrize("name", FAMILIES)
def test_values_come_from_where_the_preprocessing_took_them(name):
    (places,) = input_places(made_by(name), SIZE).values()
    expected = EXPECTED[name].reshape(-1, 2)
    assert len(places.inside) == len(expected)
    hidden = np.isnan(expected[:, 0])
    # Where the picture meets its padding, scaling mixes the two; such values count by which of them is more.
    assert (places.inside == ~hidden).mean() > 0.95
    both = places.inside & ~hidden
    for axis, levels in enumerate((places.column, places.row)):
        found, hand = levels[both] / (LEVELS - 1), expected[both, axis]
        # Scaling loses less than half a pixel of the picture or of the input at an edge, and rounding a grey level.
        of_input = np.diff(np.unique(hand.round(6))).min()
        assert np.abs(found - hand).max() < max(0.5 / SIZE[axis], 0.5 * of_input) + 2 / LEVELS


def test_a_picture_of_one_pixel_has_a_place():
    (places,) = input_places(made_by("paligemma"), (1, 1)).values()
    assert places.inside.all()
    assert set(places.row) == set(places.column) == {128}  # its middle


def test_weights_are_put_to_their_places_and_those_on_padding_are_left_out():
    """Four values in the corners of a picture, of weights 1 to 4, and one of weight 10 on padding."""
    ends = np.array([0, LEVELS - 1])
    places = Places(
        inside=np.array([True, True, True, True, False]),
        row=np.array([*np.repeat(ends, 2), 0]),
        column=np.array([*np.tile(ends, 2), 0]),
    )
    cells, padding = picture_map({"pixels": places}, {"pixels": np.array([1.0, 2.0, 3.0, 4.0, 10.0])})
    assert cells.tolist() == [[10.0]]  # two places a side are one cell
    assert padding == 0.5


def test_an_even_weight_gives_an_even_map():
    """112 values a side, which no number of cells divides, and whose places are rounded to 256 levels."""
    place = np.rint((np.arange(112) + 0.5) / 112 * (LEVELS - 1)).astype(int)
    row, column = (axis.ravel() for axis in np.meshgrid(place, place, indexing="ij"))
    places = Places(np.ones(112**2, dtype=bool), row, column)
    cells, padding = picture_map({"pixels": places}, {"pixels": np.ones(112**2)})
    assert 112 / 3 < cells.shape[0] == cells.shape[1] < MOST_CELLS
    assert cells.sum() == pytest.approx(112**2)
    assert padding == 0
    assert cells.min() / cells.mean() > 0.75
    assert cells.max() / cells.mean() < 1.25
