"""How much the demo's descriptions tell about its scores, level by level.

A study on the demo can show no more than its texts carry. What they carry is counted from the texts: each phrase is
turned back into what it means, and the scores are regressed on the meanings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.demo.words import FEELINGS, PHRASES
from artquant_plugin.prompting.descriptions import DESCRIPTION_LEVELS

# What each level tells: the attributes whose phrases stand in its text, and the whole, in a feeling.
TOLD: Mapping[str, tuple[str, ...]] = {
    "perception": ("color", "light", "texture"),
    "cognition": ("composition", "subject"),
    "emotion": ("feeling",),
}
_MEANINGS = {**PHRASES, "feeling": FEELINGS}


@dataclass(frozen=True, slots=True)
class Information:
    """How much some levels of the descriptions tell about the scores.

    Args:
        levels: the levels whose texts are known, in their order.
        share: the share of the scores' variance that their meanings explain, from 0 to 1: R² of a regression with one
            coefficient for each meaning of each attribute. It does not fall when a level is added.
    """

    levels: tuple[str, ...]
    share: float


def information(descriptions: Sequence[Mapping[str, str]], scores: ArrayLike) -> list[Information]:
    """Compute what every choice of levels tells about the scores.

    Args:
        descriptions: the texts of n demo paintings by level, as `words.describe` makes them.
        scores: the scores of the same paintings, shape (n,), not all equal.

    Returns:
        The seven choices of one, two or three levels, the smaller ones first.

    Raises:
        ArtQuantError: a text holds no phrase of the demo's.
    """
    told = {
        level: np.concatenate([_columns(name, level, descriptions) for name in TOLD[level]], axis=1) for level in TOLD
    }
    truth = np.asarray(scores, dtype=np.float64)
    return [
        Information(levels, _explained(np.concatenate([told[level] for level in levels], axis=1), truth))
        for count in range(1, len(DESCRIPTION_LEVELS) + 1)
        for levels in combinations(DESCRIPTION_LEVELS, count)
    ]


def _columns(attribute: str, level: str, descriptions: Sequence[Mapping[str, str]]) -> np.ndarray:
    """For each description a one in the column of what it says of an attribute, shape (n, meanings)."""
    meanings = [_meaning(attribute, description[level].lower()) for description in descriptions]
    return np.eye(len(_MEANINGS[attribute]))[meanings]


def _meaning(attribute: str, text: str) -> int:
    for meaning, phrases in enumerate(_MEANINGS[attribute]):
        if any(phrase in text for phrase in phrases):
            return meaning
    raise ArtQuantError(f"the text {text!r} tells nothing of {attribute}; pass descriptions of `artquant data demo`")


def _explained(told: np.ndarray, scores: np.ndarray) -> float:
    design = np.concatenate([np.ones((len(told), 1)), told], axis=1)
    fitted = design @ np.linalg.lstsq(design, scores, rcond=None)[0]
    return 1 - float(((scores - fitted) ** 2).sum() / ((scores - scores.mean()) ** 2).sum())
