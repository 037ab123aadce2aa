"""What is read from a reply: a score or the reason why there is none."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

Origin = Literal["json", "labelled", "level"]
Reason = Literal[
    "empty", "failed_request", "unscored", "refusal", "malformed", "out_of_range", "ambiguous", "no_number"
]
DETAIL_WIDTH = 120  # characters of a reply that a report shows
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """The score that a reply gives, or the reason why it gives none.

    Args:
        score: the score, in the dataset's range; None where the reply gives none.
        reason: why there is no score; None where there is one. ``empty``: the reply has no text, or nothing but what
            the model thought; ``failed_request``: lmms-eval put a text about a failure in the place of the reply;
            ``unscored``: the model itself gave a null score; ``refusal``: the model says that it cannot or will not
            judge; ``malformed``: what stands in the place of the score is no number, or is cut off; ``out_of_range``:
            the score is outside the dataset's range; ``ambiguous``: the reply can be read in several ways;
            ``no_number``: the reply has neither a score nor a level word.
        detail: the model's own reason for a null score, or what was found in the place of a score, in `DETAIL_WIDTH`
            characters at most. Empty where there is nothing to say.
        origin: the form of the score: ``json``, ``labelled`` for prose, or ``level`` for a level word; None where
            there is no score.
        levels: the probability of each level word, where the reply is JSON that holds them.
        from_range: whether the score is the mid-point of a range such as "7-8".
        checkpoint: the identity of the weights that gave the score (`artquant_plugin.checkpoint.identity`), where the
            reply is JSON that holds it.
    """

    score: float | None = None
    reason: Reason | None = None
    detail: str = ""
    origin: Origin | None = None
    levels: dict[str, float] | None = None
    from_range: bool = False
    checkpoint: dict[str, Any] | None = None


def within(
    score: float,
    score_range: tuple[float, float],
    origin: Origin,
    *,
    levels: dict[str, float] | None = None,
    from_range: bool = False,
) -> ParsedReply:
    """The parsed reply with a score, or with the reason that the score is out of range.

    Args:
        score: the score on the dataset's scale. It is never moved to an end of the range.
        score_range: lowest and highest score of the dataset; both are allowed.
        origin: the form of the score, as in `ParsedReply`.
        levels: the probability of each level word; None where the reply does not say.
        from_range: whether the score is the mid-point of a range.
    """
    low, high = score_range
    if not low <= score <= high:
        return ParsedReply(reason="out_of_range", detail=f"{score:g} is outside [{low:g}, {high:g}]")
    return ParsedReply(score=score, origin=origin, levels=levels, from_range=from_range)
