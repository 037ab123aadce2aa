"""Collects what the report tells, in one pass over a run; of the descriptions only the examples stay in memory."""

import random
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from artquant_plugin.common.progress import progress
from artquant_plugin.data.paintings import Painting
from artquant_plugin.metrics.agreement import RESAMPLES, Agreement, evaluate
from artquant_plugin.metrics.diversity import TEXTS_AT_ONCE, Distinct, Vocabulary, sequences
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS
from artquant_plugin.train.rad.replies import Reply, read_estimate
from artquant_plugin.train.rad.report.duplicates import Duplicates, NearDuplicates
from artquant_plugin.train.rad.store_rows import PaintingResult, Usage
from artquant_plugin.train.rad.table import RadRun

ENDED = ("accepted", "failed")  # the final states
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
SHOWN_GROUPS = 5  # the report names the paintings of so many groups of near-duplicates
FEWEST_PAIRS = 3  # with fewer pairs of estimate and score, no correlation is given

Estimate = tuple[str, float, float]  # the painting's id, the judge's estimate, the human score
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RoundLine:
    """What came of one round: of one description per painting, and its verdict.

    Args:
        number: number of the round, from 1.
        asked: number of accepted or failed paintings that reached this round.
        accepted: number of paintings that were accepted in this round.
        accepted_so_far: share of all accepted or failed paintings that were accepted up to this round, in [0, 1].
    """

    number: int
    asked: int
    accepted: int
    accepted_so_far: float


@dataclass(frozen=True, slots=True)
class Texts:
    """Lengths and variety of one level's texts.

    Args:
        words: number of words of each text, shape (n,).
        mean: mean number of words per text.
        quantiles: quantiles of the number of words at `QUANTILES`.
        distinct_1: number of different words per word, in (0, 1].
        distinct_2: number of different pairs of neighbouring words per such pair, in (0, 1].
    """

    words: NDArray[np.int64]
    mean: float
    quantiles: tuple[float, ...]
    distinct_1: float
    distinct_2: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """Human scores of the accepted paintings, and of all accepted or failed paintings.

    Args:
        every: scores of all accepted or failed paintings, ascending.
        accepted: scores of the accepted paintings, ascending.
        distance: the largest difference between the two cumulative distributions (Kolmogorov-Smirnov), in [0, 1].
        at: the lowest score at which the difference is largest.
        every_below: share of all accepted or failed paintings with a score of `at` or less, in [0, 1].
        accepted_below: share of the accepted paintings with a score of `at` or less, in [0, 1].
        p_value: probability of a difference at least as large if the scores of accepted and of failed paintings came
            from one distribution (two-sample Kolmogorov-Smirnov test); None when no painting failed.
    """

    every: FloatArray
    accepted: FloatArray
    distance: float
    at: float
    every_below: float
    accepted_below: float
    p_value: float | None


@dataclass(frozen=True, slots=True)
class Example:
    """A painting that the report shows.

    Args:
        painting: the dataset's row about the painting, with its human score.
        result: the run's result for the painting: a description, or the reason why there is none.
    """

    painting: Painting
    result: PaintingResult


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """All that the report tells about a run, except what run.json says.

    Args:
        states: number of paintings by state.
        splits: number of paintings by split and then by state.
        rounds: what came of each round, from the first one.
        reasons: number of failed paintings by reason, the most frequent first.
        texts: lengths and variety of the descriptions, by level; empty when nothing was accepted.
        duplicates: near-duplicates among the accepted descriptions.
        repeated: ids of the paintings in the largest groups of near-duplicates, by group.
        judged: agreement of a blind judge's estimates with the human scores. ``first`` takes each painting's first
            estimate, which no feedback has influenced; ``last`` takes each painting's last estimate, and ``accepted``
            the last estimates of the accepted paintings alone. A key with too few estimates is absent.
        distribution: scores of the accepted, and of all accepted or failed paintings; None when nothing was accepted.
        usage: requests, tokens and cost of all exchanges, by side.
        cost: what all exchanges cost, in the configuration's currency.
        examples: accepted paintings that were drawn at random, in the dataset's order.
        failures: failed paintings that were drawn at random for each reason, the most frequent reason first, and for
            one reason in the dataset's order.
    """

    states: Mapping[str, int]
    splits: Mapping[str, Mapping[str, int]]
    rounds: tuple[RoundLine, ...]
    reasons: Mapping[str, int]
    texts: Mapping[str, Texts]
    duplicates: Duplicates
    repeated: tuple[tuple[str, ...], ...]
    judged: Mapping[str, Agreement]
    distribution: Distribution | None
    usage: Mapping[str, Usage]
    cost: float
    examples: tuple[Example, ...]
    failures: tuple[Example, ...]


def collect(run: RadRun, *, examples: int = 20, seed: int = 0, resamples: int = RESAMPLES) -> RunStatistics:
    """Read a run once and compute what the report tells.

    Args:
        run: a run, finished or not; its present results are used.
        examples: number of accepted paintings to draw, and of failed ones; fewer when there are fewer. Each reason of
            a failure has at least one painting while the number allows it.
        seed: seed of the draw of examples, of the hash functions and of the bootstrap.
        resamples: number of bootstrap resamples for the judge's correlations; 0 for no intervals.

    Raises:
        ArtQuantError: the dataset is not the one that the run described.
    """
    tally = _Tally(seed, examples, NearDuplicates(seed))
    total = sum(run.store.counts().values())
    for painting, result in progress(run.paintings(), "read", "painting", total):
        tally.add(painting, result)
    tally.flush()
    duplicates = tally.similar.find()
    return RunStatistics(
        states=dict(tally.states),
        splits={split: dict(counts) for split, counts in tally.splits.items()},
        rounds=tuple(_rounds(tally.ended)),
        reasons=dict(tally.reasons.most_common()),
        texts={level: found.texts() for level, found in tally.levels.items() if found.sizes},
        duplicates=duplicates,
        repeated=tuple(tuple(tally.ids[position] for position in group) for group in duplicates.groups[:SHOWN_GROUPS]),
        judged=dict(
            _agreements({"first": list(_first_estimates(run, tally.names))} | tally.last_estimates(), seed, resamples)
        ),
        distribution=_distribution(tally.scores["accepted"], tally.scores["failed"]),
        usage=_usage(run),
        cost=run.store.cost(),
        examples=tuple(tally.accepted.drawn()),
        failures=tuple(_failures([tally.failed[reason] for reason, _ in tally.reasons.most_common()], examples)),
    )


@dataclass(slots=True)
class _LevelCounts:
    """Counts over one level's texts: their lengths, and their different words and pairs of words."""

    sizes: list[int] = field(default_factory=list)
    single_words: Distinct = field(default_factory=Distinct)
    word_pairs: Distinct = field(default_factory=Distinct)

    def add(self, texts: Sequence[Sequence[int]]) -> None:
        self.sizes.extend(map(len, texts))
        self.single_words.add(sequences(texts, 1)[0])
        self.word_pairs.add(sequences(texts, 2)[0])

    def texts(self) -> Texts:
        words = np.array(self.sizes)
        quantiles = tuple(map(float, np.quantile(words, QUANTILES)))
        return Texts(words, float(words.mean()), quantiles, self.single_words.share, self.word_pairs.share)


class _Sample:
    """Reservoir sampling: each of the n paintings that were offered is kept with the same probability."""

    def __init__(self, rng: random.Random, size: int) -> None:
        self._rng = rng
        self._size = size
        self._offered = 0
        self._kept: list[tuple[int, Example]] = []  # each with its number among those that were offered

    def offer(self, example: Example) -> None:
        position = self._offered
        self._offered += 1
        if position < self._size:
            self._kept.append((position, example))
            return
        place = self._rng.randrange(position + 1)
        if place < self._size:
            self._kept[place] = (position, example)

    def drawn(self, most: int | None = None) -> list[Example]:
        """Those that were kept, in the order in which they were offered.

        Args:
            most: the largest number to return, of which each kept one is as likely to be one; None for all.
        """
        kept = self._kept if most is None else self._rng.sample(self._kept, min(most, len(self._kept)))
        return [example for _, example in sorted(kept, key=lambda found: found[0])]

    def __len__(self) -> int:
        return len(self._kept)


def _failures(samples: Sequence[_Sample], size: int) -> Iterator[Example]:
    """Deal places to the reasons in turn until all are given, and yield so many paintings of each reason."""
    places = [0] * len(samples)
    while sum(places) < size and any(given < len(some) for given, some in zip(places, samples, strict=True)):
        for number, some in enumerate(samples):
            if places[number] < len(some) and sum(places) < size:
                places[number] += 1
    for given, some in zip(places, samples, strict=True):
        yield from some.drawn(given)


class _Tally:
    """Counts painting by painting; texts wait until `TEXTS_AT_ONCE` of them can be counted together."""

    def __init__(self, seed: int, examples: int, similar: NearDuplicates) -> None:
        self.states: Counter[str] = Counter()
        self.splits: dict[str, Counter[str]] = {}
        self.reasons: Counter[str] = Counter()
        self.ended: Counter[tuple[int, str]] = Counter()  # by number of rounds and state
        self.scores: dict[str, list[float]] = {state: [] for state in ENDED}
        self.names: list[tuple[str, float]] = []  # id and human score of every painting, in the dataset's order
        self.estimates: dict[str, list[Estimate]] = {state: [] for state in ENDED}
        self.levels = {level: _LevelCounts() for level in DESCRIPTION_LEVELS}
        self.similar = similar
        self.ids: list[str] = []  # of the paintings with a description
        self.accepted = _Sample(random.Random(seed), examples)
        self.failed: dict[str, _Sample] = {}  # by reason
        self._seed = seed
        self._examples = examples
        self._vocabulary = Vocabulary()
        self._waiting: list[dict[str, str]] = []

    def add(self, painting: Painting, result: PaintingResult) -> None:
        self.states[result.state] += 1
        self.splits.setdefault(result.split, Counter())[result.state] += 1
        if result.state in ENDED:
            self.ended[result.rounds, result.state] += 1
            self.scores[result.state].append(result.score)
        if result.reason is not None:
            self.reasons[result.reason] += 1
            if result.reason not in self.failed:
                # A generator of its own, so that failures do not change which accepted paintings are drawn.
                seeded = random.Random(f"{self._seed} {result.reason}")
                self.failed[result.reason] = _Sample(seeded, self._examples)
            self.failed[result.reason].offer(Example(painting, result))
        self.names.append((result.id, result.score))
        if result.judge_score is not None and result.state in ENDED:
            self.estimates[result.state].append((result.id, result.judge_score, result.score))
        if result.description is not None:
            self.accepted.offer(Example(painting, result))
            self.ids.append(result.id)
            self._waiting.append(result.description)
            if len(self._waiting) == TEXTS_AT_ONCE:
                self.flush()

    def last_estimates(self) -> dict[str, list[Estimate]]:
        """The last estimates of all accepted or failed paintings, and those of the accepted ones."""
        return {
            "last": [*self.estimates["accepted"], *self.estimates["failed"]],
            "accepted": self.estimates["accepted"],
        }

    def flush(self) -> None:
        """Count the texts that wait."""
        if not self._waiting:
            return
        numbered = [
            {level: self._vocabulary.numbers(description[level]) for level in DESCRIPTION_LEVELS}
            for description in self._waiting
        ]
        for level, found in self.levels.items():
            found.add([texts[level] for texts in numbered])
        self.similar.add([[word for level in DESCRIPTION_LEVELS for word in texts[level]] for texts in numbered])
        self._waiting = []


def _rounds(ended: Mapping[tuple[int, str], int]) -> Iterator[RoundLine]:
    total = sum(ended.values())
    so_far = 0
    for number in range(1, max((rounds for rounds, _ in ended), default=0) + 1):
        accepted = ended.get((number, "accepted"), 0)
        so_far += accepted
        asked = sum(count for (rounds, _), count in ended.items() if rounds >= number)
        yield RoundLine(number, asked, accepted, so_far / total)


def _first_estimates(run: RadRun, names: Sequence[tuple[str, float]]) -> Iterator[Estimate]:
    """Yield each painting's first estimate, read from the judge's replies; nothing unless the judge is blind."""
    if run.record.config.get("judge", {}).get("mode") != "blind":
        return
    seen: set[int] = set()
    for exchange in run.store.exchanges("judge"):
        if exchange.outcome == "ok" and exchange.position not in seen:
            seen.add(exchange.position)
            verdict = read_estimate(Reply(exchange.reply), run.dataset.info.score_range)
            if verdict.score is not None:
                name, truth = names[exchange.position]
                yield name, verdict.score, truth


def _agreements(
    estimates: Mapping[str, Sequence[Estimate]], seed: int, resamples: int
) -> Iterator[tuple[str, Agreement]]:
    for name, some in estimates.items():
        if len(some) >= FEWEST_PAIRS:
            ids, predictions, truths = zip(*some, strict=True)
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", UserWarning
                )  # a judge whose estimates are all equal has the correlation NaN, which says enough
                yield name, evaluate(ids, predictions, truths, resamples=resamples, seed=seed)


def _distribution(accepted: Sequence[float], failed: Sequence[float]) -> Distribution | None:
    if not accepted:
        return None
    some, others = np.sort(np.array(accepted, dtype=np.float64)), np.array(failed, dtype=np.float64)
    every = np.sort(np.concatenate([some, others]))
    accepted_below = np.searchsorted(some, every, side="right") / len(some)
    every_below = np.searchsorted(every, every, side="right") / len(every)
    place = int(np.abs(accepted_below - every_below).argmax())
    return Distribution(
        every=every,
        accepted=some,
        distance=float(abs(accepted_below[place] - every_below[place])),
        at=float(every[place]),
        every_below=float(every_below[place]),
        accepted_below=float(accepted_below[place]),
        p_value=float(ks_2samp(some, others).pvalue) if len(others) else None,
    )


def _usage(run: RadRun) -> dict[str, Usage]:
    sums: dict[str, list[Any]] = {}
    for (side, _), usage in run.store.usage().items():
        values = (usage.requests, usage.prompt_tokens, usage.completion_tokens, usage.cost)
        sums[side] = [before + value for before, value in zip(sums.get(side, (0, 0, 0, 0.0)), values, strict=True)]
    return {side: Usage(*values) for side, values in sums.items()}
