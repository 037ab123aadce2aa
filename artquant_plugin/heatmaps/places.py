"""Where in the picture each value of a model's inputs comes from, measured by pictures whose values tell their place.

Processors scale a picture, crop it, pad it, cut it into overlapping tiles, or flatten it into patches whose order only
the model knows. None of them says what it did. So pictures of the painting's size go the same way: a white and a black
one, which tell the values that show the picture from those of padding, and two ramps, whose grey values grow from left
to right and from top to bottom. A value between black and white is then a place. The same code serves every family.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

LEVELS = 256  # places that can be told apart along a side: the grey values of a picture
MOST_CELLS = 64  # along a side of a map; finer than the patches of the vision towers that are published

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The places that the values of one model input show, in the order of the flattened input.

    Args:
        inside: whether a value shows the picture, and not padding; shape (values,), bool.
        row: how far down the place is, as a grey level from 0 at the top to 255 at the bottom; shape (values,), int.
            It means nothing where `inside` is False.
        column: how far to the right it is, from 0 at the left to 255 at the right; shape (values,), int.
    """

    inside: NDArray[np.bool_]
    row: NDArray[np.int64]
    column: NDArray[np.int64]


def input_places(
    make_inputs: Callable[[list[Image.Image]], dict[str, Any]], size: tuple[int, int]
) -> dict[str, Places]:
    """Find out where the values of a model's inputs come from.

    Args:
        make_inputs: makes model inputs, on the CPU, of a list of RGB images.
        size: width and height of the picture, in pixels.

    Returns:
        The places for each input that depends on what the picture shows, by the input's name.
    """
    width, height = size
    across = np.broadcast_to((np.arange(width) + 0.5) / width, (height, width))
    down = np.broadcast_to(((np.arange(height) + 0.5) / height)[:, None], (height, width))
    grounds = (np.ones((height, width)), np.zeros((height, width)))
    white, black, columns, rows = (make_inputs([_grey(values)]) for values in (*grounds, across, down))
    found = {}
    for name, value in white.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.equal(black[name]):
            continue
        low = _flat(black[name])
        contrast = _flat(value) - low
        inside = contrast > contrast.max() / 2
        contrast[~inside] = 1.0
        levels = [
            np.rint((_flat(ramp[name]) - low) / contrast * (LEVELS - 1)).clip(0, LEVELS - 1).astype(np.int64)
            for ramp in (rows, columns)
        ]
        found[name] = Places(inside, *levels)
    return found


def picture_map(places: Mapping[str, Places], masses: Mapping[str, FloatArray]) -> tuple[FloatArray, float]:
    """Put what the values of the inputs weigh to their places in the picture.

    Args:
        places: the places of the values, by the input's name.
        masses: the weight of each value, none negative, of shape (values,), for the same inputs.

    Returns:
        The weight in each cell of a grid over the picture, shape (rows, columns), row 0 at the top; and the share of
        all weight that lies on padding, from 0 to 1, and 0 where nothing weighs anything.
    """
    whole = np.zeros((LEVELS, LEVELS))
    seen = np.zeros((LEVELS, LEVELS), dtype=bool)
    total = 0.0
    for name, place in places.items():
        cell = place.row[place.inside] * LEVELS + place.column[place.inside]
        mass = masses[name][place.inside]
        whole += np.bincount(cell, mass, minlength=LEVELS**2).reshape(LEVELS, LEVELS)
        seen[place.row[place.inside], place.column[place.inside]] = True
        total += float(masses[name].sum())
    down, across = (_shares(np.flatnonzero(seen.any(axis=axis))) for axis in (1, 0))
    outside = max(0.0, 1 - float(whole.sum()) / total) if total > 0 else 0.0
    return down.T @ whole @ across, outside


def _shares(levels: NDArray[np.int64]) -> FloatArray:
    """How a side's grey levels are shared among its cells, each level between the two cells whose centres are next.

    A cell has at least two places of the input, so that none stays empty between them.

    Args:
        levels: the levels that values have, rising.

    Returns:
        Shares of shape (256, cells), whose rows sum to 1.
    """
    spacing = np.diff(levels).max(initial=1)
    cells = int(np.clip(round(LEVELS / (2 * spacing)), 1, MOST_CELLS))
    centre = ((np.arange(LEVELS) + 0.5) / LEVELS * cells - 0.5).clip(0, cells - 1)
    return np.maximum(0.0, 1 - np.abs(centre[:, None] - np.arange(cells)))


def _grey(values: FloatArray) -> Image.Image:
    return Image.fromarray(np.rint(values * (LEVELS - 1)).astype(np.uint8)).convert("RGB")


def _flat(value: Tensor) -> FloatArray:
    return value.detach().double().flatten().numpy()
