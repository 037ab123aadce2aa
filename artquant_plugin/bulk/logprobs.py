"""From the log-probabilities that a server lists for one position to a distribution over the levels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale, entropy

Ask = Literal["prefill", "word"]
SPACES = " \t\n▁Ġ"  # how tokenizers write the space before a word


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
        listed: token text and log-probability of the most likely tokens.
        scale: the level words and their values, best first.
        tokens: the token of each level word, best level first, without the space before it.
        ask: ``prefill`` takes each level's likeliest spelling with case kept, as one token continues the answer;
            ``word`` adds up spellings, as "Good" and "good" are the same answer.
        min_mass: least probability of all level words together.

    Raises:
        ArtQuantError: no or too little probability on the level words.

    Example:
        >>> scale = LevelScale(("good", "bad"), (10.0, 0.0))
        >>> listed = [(" good", math.log(0.6)), (" bad", math.log(0.2)), (" a", math.log(0.1))]
        >>> round(score_listed(listed, scale, tokens=("good", "bad"), ask="prefill", min_mass=0.1).score, 6)
        7.5
    """
    found = _found(listed, tokens, ask)
    mass = math.fsum(found.values())
    if not found or not mass >= min_mass:
        seen = ", ".join(f"{token!r} {math.exp(value):.2f}" for token, value in list(listed)[:3]) or "nothing"
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


def _found(listed: Sequence[tuple[str, float]], tokens: Sequence[str], ask: Ask) -> dict[str, float]:
    """Probability of each level token among the listed ones."""
    found: dict[str, float] = {}
    by_word = {token.lower(): token for token in tokens} if ask == "word" else {token: token for token in tokens}
    for text, logprob in listed:
        word = text.strip(SPACES)
        token = by_word.get(word.lower() if ask == "word" else word)
        if token is None:
            continue
        probability = math.exp(logprob)
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
    # The score is monotone in each missing probability: its extremes lie where each is 0 or as large as it can be.
    shifted = (
        (score * mass + most * math.fsum(v for v, on in zip(values, chosen, strict=True) if on))
        / (mass + most * sum(chosen))
        for chosen in product((False, True), repeat=len(values))
    )
    return max(abs(value - score) for value in shifted)


def listed_tokens(reply: Mapping[str, object] | object) -> list[tuple[str, float]] | None:
    """Tokens and log-probabilities of a reply's first position; None when the server gives none.

    Args:
        reply: a `ChatCompletion` of the `openai` package.
    """
    choices = getattr(reply, "choices", None) or []
    content = getattr(getattr(choices[0], "logprobs", None), "content", None) if choices else None
    if not content or not content[0].top_logprobs:
        return None
    return [(entry.token, float(entry.logprob)) for entry in content[0].top_logprobs]
