"""What was read from a reply."""

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
    """A score, or the reason why there is none.

    Args:
        score: in the dataset's range; None when there is none.
        reason: why there is none; None when there is a score. ``empty``: nothing, or nothing but thinking;
            ``failed_request``: lmms-eval's text in the place of an answer; ``unscored``: the model's own null score;
            ``refusal``: the model says that it cannot or will not; ``malformed``: a score that is no number;
            ``out_of_range``; ``ambiguous``: several readings; ``no_number``: neither a score nor a level word.
        detail: the model's own reason, or what was found instead.
        origin: which form the score had.
        levels: the distribution over the levels, where the reply holds one.
        from_range: the score is the mid-point of a range such as "7-8".
        checkpoint: the weights that gave it, where the reply says so (`artquant_plugin.checkpoint.identity`).
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
    """The reply with this score, or out of range; never the nearest score that is in it."""
    low, high = score_range
    if not low <= score <= high:
        return ParsedReply(reason="out_of_range", detail=f"{score:g} is outside [{low:g}, {high:g}]")
    return ParsedReply(score=score, origin=origin, levels=levels, from_range=from_range)
