"""Descriptions of a stream of items, as rows."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from artquant_plugin.bulk.items import Item, reason_of
from artquant_plugin.bulk.run import paired
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS


def describe_items(scorer: Any, items: Iterable[Item], *, max_new_tokens: int) -> Iterator[dict[str, Any]]:
    """A row per image: path, text, perception, cognition, emotion, and the reason why there is none.

    Args:
        scorer: an `artquant_plugin.scoring.scorer.ArtQuantScorer`.
        items: a stream of images.
        max_new_tokens: where a description is cut off.
    """
    for item, found in paired(items, partial(scorer.describe_each, max_new_tokens=max_new_tokens)):
        row: dict[str, Any] = {"path": item.name, "text": None, **dict.fromkeys(DESCRIPTION_LEVELS), "reason": None}
        if isinstance(found, ArtQuantError):
            yield row | {"reason": reason_of(item, found)}
        else:
            yield row | {"text": found.text, **found.levels}
