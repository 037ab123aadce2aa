"""From the log-probabilities that a server lists for one position to a distribution over the levels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import literal, one_line
from artquant_plugin.prompting.levels import LevelScale, entropy

Ask = Literal["prefill", "word"]
SPACES = " \t\n▁Ġ"  # how tokenizers write the space before a word
ROUNDING = 1e-3  # how far above 1 the listed probabilities may be in all; servers compute in float32 and may round
LOWEST = -1e4  # log-probabilities below it are as good as minus infinity: both are a probability of 0


@dataclass(frozen=True, slots=True)
class ListedScore:
    """A score from the tokens that a server lists.

    Args:
        score: expectation of the level values.
        levels: probability of each level word among the level words; they sum to 1, those not listed have 0.
        entropy: of that distribution, in nats.
        level_mass: probability of all level words together among all tokens, in (0, 1].
        score_bound: largest change of the score that level words which are not listed could make; 0 when all are.
    """

    score: float
    levels: dict[str, float]
    entropy: float
    level_mass: float
    score_bound: float


def score_listed(
    listed: Sequence[tuple[str, float]],
    scale: LevelScale,
    *,
    tokens: Sequence[str],
    ask: Ask,
    min_mass: float,
) -> ListedScore:
    """Score one position.

    A level word that is not listed has at most the probability of the least likely token that is, and no more than
    what the listed tokens leave; `score_bound` follows from both.

    Args:
        listed: token text and log-probability (natural logarithm) of the most likely tokens, as the server gave them.
            Minus infinity stands for the probability 0.
        scale: the level words and their values, best first.
        tokens: the token of each level word, best level first, without the space before it.
        ask: ``prefill`` takes each level's likeliest spelling with case kept, as one token continues the answer;
            ``word`` adds up spellings, as "Good" and "good" are the same answer.
        min_mass: least probability of all level words together.

    Raises:
        ArtQuantError: no or too little probability on the level words; or the list is none of log-probabilities: one
            of them is no number, NaN or above 0, the probabilities sum to more than 1, or it holds an entry twice.

    Example:
        >>> scale = LevelScale(("good", "bad"), (10.0, 0.0))
        >>> listed = [(" good", math.log(0.6)), (" bad", math.log(0.2)), (" a", math.log(0.1))]
        >>> round(score_listed(listed, scale, tokens=("good", "bad"), ask="prefill", min_mass=0.1).score, 6)
        7.5
    """
    listed = _checked(listed)
    found = _found(listed, tokens, ask)
    mass = math.fsum(found.values())
    if not found or not mass >= min_mass:
        seen = ", ".join(f"{literal(token)} {math.exp(value):.2f}" for token, value in listed[:3]) or "nothing"
        raise ArtQuantError(
            f"the level words have a probability of {mass:.3f}, less than {min_mass:g}, among the server's tokens "
            f"({seen}, …); check --prompt and --level-tokens, or lower --min-level-mass"
        )
    levels = {name: found.get(token, 0.0) / mass for name, token in zip(scale.names, tokens, strict=True)}
    score = float(scale.expectation(list(levels.values())))
    return ListedScore(
        score=score,
        levels=levels,
        entropy=float(entropy(list(levels.values()))),
        level_mass=min(mass, 1.0),
        score_bound=_bound(score, mass, listed, scale, [token not in found for token in tokens]),
    )


def _checked(listed: Sequence[tuple[Any, Any]]) -> list[tuple[str, float]]:
    """The list with every log-probability as a float of at most 0, which rounding alone may have put above it."""
    checked = []
    for token, value in listed:
        if not isinstance(token, str):
            raise _untrusted(f"lists the token {literal(token)}, which is no text")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _untrusted(f"gives {literal(token)} the log-probability {literal(value)}, which is no number")
        if value != value:
            raise _untrusted(f"gives {literal(token)} the log-probability nan, which is no number")
        if value > ROUNDING:
            raise _untrusted(
                f"gives {literal(token)} the log-probability {literal(value)}, which is above 0, a probability above 1"
            )
        checked.append((token, float(min(max(value, LOWEST), 0.0))))
    total = math.fsum(math.exp(value) for _, value in checked)
    if total > 1 + ROUNDING:
        raise _untrusted(f"lists tokens whose probabilities sum to {total:.3f}, more than 1")
    return checked


def _untrusted(what: str) -> ArtQuantError:
    return ArtQuantError(f"the server {what}; its log-probabilities cannot be trusted: mend it or use another")


def _found(listed: Sequence[tuple[str, float]], tokens: Sequence[str], ask: Ask) -> dict[str, float]:
    """Probability of each level token among the listed ones.

    Two different tokens may be written alike, because servers leave out the space before a word ("▁good" and "good" of
    SentencePiece). An entry that is the same in both parts is the same token again, and is refused.
    """
    found: dict[str, float] = {}
    seen: set[tuple[str, float]] = set()
    by_word = {token.lower(): token for token in tokens} if ask == "word" else {token: token for token in tokens}
    for text, logprob in listed:
        word = text.strip(SPACES)
        token = by_word.get(word.lower() if ask == "word" else word)
        if token is None:
            continue
        probability = math.exp(logprob)
        if probability and (text, logprob) in seen:
            raise _untrusted(f"lists {literal(text)} twice, with the log-probability {logprob:g}")
        seen.add((text, logprob))
        found[token] = (
            found.get(token, 0.0) + probability if ask == "word" else max(found.get(token, 0.0), probability)
        )
    return found


def _bound(
    score: float, mass: float, listed: Sequence[tuple[str, float]], scale: LevelScale, missing: Sequence[bool]
) -> float:
    values = [value for value, absent in zip(scale.values, missing, strict=True) if absent]
    if not values:
        return 0.0
    least = math.exp(min(logprob for _, logprob in listed))
    left = max(0.0, 1.0 - math.fsum(math.exp(logprob) for _, logprob in listed))
    most = min(least, left)
    # A missing word whose value is above the score raises it. So the score is highest with the words of the highest
    # values as likely as they can be and the others at 0, for some number of words, and lowest the other way round.
    largest = 0.0
    for ordered in (values, values[::-1]):
        total, weight = score * mass, mass
        for value in ordered:
            total, weight = total + most * value, weight + most
            largest = max(largest, abs(total / weight - score))
    return largest


def listed_tokens(reply: Any) -> list[tuple[Any, Any]] | None:
    """Tokens and log-probabilities of a reply's first position, as the server gave them.

    Args:
        reply: a `ChatCompletion` of the `openai` package, whose contents that package does not check.

    Returns:
        Pairs, which `score_listed` checks; None where the reply has no log-probabilities at all, since the server does
        not know them.

    Raises:
        ArtQuantError: what stands in their place has another form, or is empty.
    """
    choices = getattr(reply, "choices", None)
    logprobs = getattr(choices[0], "logprobs", None) if isinstance(choices, list) and choices else None
    if logprobs is None:
        return None
    content = getattr(logprobs, "content", None)
    if isinstance(content, list) and not content:
        raise ArtQuantError("the server's reply has no token; the model ended its answer before the first word")
    listed = getattr(content[0], "top_logprobs", None) if isinstance(content, list) else None
    if content is None or (isinstance(content, list) and (listed is None or listed == [])):
        return None
    if not isinstance(listed, list):
        form = one_line(repr(content if listed is None else listed), 80)
        raise ArtQuantError(f"the server's log-probabilities are no list of tokens ({form}); use another server")
    return [(getattr(entry, "token", None), getattr(entry, "logprob", None)) for entry in listed]
