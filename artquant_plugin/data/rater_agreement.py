"""How well raters agree, and what that says of the best correlation with their scores that any model can reach.

*Split-half reliability*: the raters are cut into two random halves, the mean score of each painting is computed from
either half, and the two are correlated over the paintings. The mean of that correlation over many cuts, r, belongs to
scores of half as many raters; the Spearman-Brown formula 2 r / (1 + r) gives the reliability of the scores of all
(Spearman 1910; Brown 1910).

*Ceiling*: scores with reliability R correlate with what infinitely many raters would say by the square root of R
(Spearman 1904). A model that knows that exactly reaches this figure on average, and none reaches more but by chance.

*One rater*: the correlation of a single person's ratings with the mean of all the others, averaged over the raters.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from artquant_plugin.data.ratings import PaintingRatings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FloatArray = NDArray[np.float64]
Halves = tuple[FloatArray, FloatArray]  # mean scores by two halves of the ratings, shape (paintings, cuts) each

HALVES = 500  # random cuts of the raters; the mean over them is then exact to about 0.001
DRAWS = 2e8  # random numbers drawn for counted votes, at most: fewer cuts are made of many paintings
FEWEST_HALVES = 20
AT_ONCE = 25  # cuts whose scores are in memory together
FEWEST_PAINTINGS = 3  # below, a correlation says nothing
SEED = 0


@dataclass(frozen=True, slots=True)
class RaterAgreement:
    """How well the raters of some paintings agree. A figure that is not defined is None.

    Args:
        paintings: the number of paintings with ratings.
        ratings: the number of their ratings.
        raters: the number of people who gave them; None where votes were counted, so that nobody knows.
        plcc_reliability: split-half reliability of the mean scores by Pearson's correlation, Spearman-Brown corrected.
            It is not defined where fewer than three paintings have ratings in both halves, and where a half has the
            same mean score for all of them.
        srocc_reliability: the same by Spearman's rank correlation.
        plcc_ceiling: the highest PLCC that a model can have on average, the square root of the reliability; not
            defined where the reliability is negative.
        srocc_ceiling: the same for SROCC, from `srocc_reliability`.
        one_rater_plcc: the mean PLCC of one person's ratings with the mean of the others' ones. Raters with fewer
            than three paintings, or the same rating for all of them, are left out; not defined where all are. Of
            counted votes, one random vote of each painting stands for that person.
        one_rater_srocc: the same by Spearman's rank correlation.
    """

    paintings: int
    ratings: int
    raters: int | None
    plcc_reliability: float | None
    srocc_reliability: float | None
    plcc_ceiling: float | None
    srocc_ceiling: float | None
    one_rater_plcc: float | None
    one_rater_srocc: float | None


def rater_agreement(ratings: Sequence[PaintingRatings], *, halves: int = HALVES) -> RaterAgreement:
    """Measure how well raters agree. The random halves are drawn with a fixed seed.

    Args:
        ratings: the ratings of each painting; all of one form, either with known raters or with counted votes.
        halves: how many times the raters are cut into two halves. Of counted votes, where each vote falls into a half
            by itself, fewer cuts are made of more than about 40,000 paintings.

    Raises:
        ValueError: there are no paintings, or they have ratings of both forms.
    """
    counted = {painting.counts is not None for painting in ratings}
    if len(counted) != 1:
        raise ValueError("there are no ratings, or some are counted votes while others have known raters")
    if counted == {True}:
        raters = None
        pairs, single = _halves_of_votes(ratings, halves), _one_vote(ratings)
    else:
        matrix = _matrix(ratings)
        raters = matrix.shape[1]
        pairs, single = _halves_of_raters(matrix, halves), _one_rater(matrix)
    plcc, srocc = map(_spearman_brown, _mean_correlations(pairs))
    return RaterAgreement(
        paintings=len(ratings),
        ratings=sum(painting.number for painting in ratings),
        raters=raters,
        plcc_reliability=plcc,
        srocc_reliability=srocc,
        plcc_ceiling=_ceiling(plcc),
        srocc_ceiling=_ceiling(srocc),
        one_rater_plcc=single[0],
        one_rater_srocc=single[1],
    )


def agreement_by_split(
    splits: Mapping[str, Sequence[str]], ratings: Mapping[str, PaintingRatings]
) -> dict[str, RaterAgreement]:
    """The agreement of the raters on each split of a dataset, and on ``all`` of its paintings.

    Args:
        splits: the ids of the paintings of each split; those without ratings are passed over.
        ratings: the ratings of each painting, by its id.
    """
    found = {split: [ratings[id] for id in ids if id in ratings] for split, ids in splits.items()}
    found["all"] = [painting for paintings in found.values() for painting in paintings]
    return {name: rater_agreement(paintings) for name, paintings in found.items() if paintings}


def _halves_of_raters(matrix: "csr_array", halves: int) -> Iterator[Halves]:
    """The mean scores by random halves of the raters."""
    given = matrix.copy()
    given.data = np.ones_like(given.data)
    draws = np.random.default_rng(SEED)
    number = matrix.shape[1]
    for start in range(0, halves, AT_ONCE):
        size = min(AT_ONCE, halves - start)
        chosen = draws.permuted(np.tile(np.arange(number) < number // 2, (size, 1)), axis=1).T.astype(np.float64)
        others = 1 - chosen
        yield _means(matrix @ chosen, given @ chosen), _means(matrix @ others, given @ others)


def _halves_of_votes(ratings: Sequence[PaintingRatings], halves: int) -> Iterator[Halves]:
    """The mean scores by random halves of the votes of each painting, which fall into a half one by one."""
    counts, values = _votes(ratings)
    draws = np.random.default_rng(SEED)
    for _ in range(max(FEWEST_HALVES, min(halves, int(DRAWS // counts.size)))):
        # A half of the votes without replacement, one kind of vote after the other.
        left, wanted = counts.sum(axis=1), counts.sum(axis=1) // 2
        first = np.empty_like(counts)
        for kind in range(counts.shape[1]):
            left = left - counts[:, kind]
            first[:, kind] = draws.hypergeometric(counts[:, kind], left, wanted)
            wanted = wanted - first[:, kind]
        parts = ((first * values).sum(axis=1)[:, None], first.sum(axis=1)[:, None])
        others = counts - first
        yield _means(*parts), _means((others * values).sum(axis=1)[:, None], others.sum(axis=1)[:, None])


def _votes(ratings: Sequence[PaintingRatings]) -> tuple[NDArray[np.int64], FloatArray]:
    """The counts of all paintings and the ratings that they count, both of shape (paintings, kinds of votes)."""
    kinds = max(len(painting.ratings) for painting in ratings)
    counts, values = np.zeros((len(ratings), kinds), dtype=np.int64), np.zeros((len(ratings), kinds))
    for row, painting in enumerate(ratings):
        counts[row, : len(painting.ratings)] = painting.counts or ()
        values[row, : len(painting.ratings)] = painting.ratings
    return counts, values


def _means(totals: FloatArray, numbers: NDArray[Any]) -> FloatArray:
    """Mean scores, NaN where there is no rating."""
    return np.divide(totals, numbers, out=np.full(totals.shape, np.nan), where=numbers > 0)


def _mean_correlations(pairs: Iterable[Halves]) -> tuple[float | None, float | None]:
    """The mean PLCC and the mean SROCC of two halves, over those cuts for which they are defined."""
    found: tuple[list[float], list[float]] = ([], [])
    for first, second in pairs:
        for one, other in zip(first.T, second.T, strict=True):
            both = ~(np.isnan(one) | np.isnan(other))
            for values, correlation in zip(found, _both_correlations(one[both], other[both]), strict=True):
                if correlation is not None:
                    values.append(correlation)
    plcc, srocc = (float(np.mean(values)) if values else None for values in found)
    return plcc, srocc


def _both_correlations(one: FloatArray, other: FloatArray) -> tuple[float | None, float | None]:
    from scipy.stats import rankdata  # here, since every command that opens a dataset imports this module

    if one.size < FEWEST_PAINTINGS or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None, None
    return (
        float(np.corrcoef(one, other)[0, 1]),
        float(np.corrcoef(rankdata(one), rankdata(other))[0, 1]),
    )


def _spearman_brown(half: float | None) -> float | None:
    return None if half is None or half <= -1 else 2 * half / (1 + half)


def _ceiling(reliability: float | None) -> float | None:
    return None if reliability is None or reliability < 0 else reliability**0.5


def _one_rater(matrix: "csr_array") -> tuple[float | None, float | None]:
    """The mean correlations of a rater with the mean of the others."""
    numbers = np.diff(matrix.indptr)
    totals = matrix.sum(axis=1)
    columns = matrix.tocsc()
    found: list[tuple[float, float]] = []
    for start, end in zip(columns.indptr[:-1], columns.indptr[1:], strict=True):
        rows, own = columns.indices[start:end], columns.data[start:end]
        shared = numbers[rows] > 1
        rows, own = rows[shared], own[shared]
        plcc, srocc = _both_correlations(own, (totals[rows] - own) / (numbers[rows] - 1))
        if plcc is not None and srocc is not None:
            found.append((plcc, srocc))
    return _means_of_pairs(found)


def _one_vote(ratings: Sequence[PaintingRatings]) -> tuple[float | None, float | None]:
    """The mean correlations of one random vote of each painting with the mean of its other votes."""
    counts, values = _votes(ratings)
    several = counts.sum(axis=1) > 1
    counts, values = counts[several], values[several]
    draws = np.random.default_rng(SEED)
    numbers, totals = counts.sum(axis=1), (counts * values).sum(axis=1)
    found = []
    for _ in range(FEWEST_HALVES):
        place = draws.integers(numbers)[:, None]
        own = values[np.arange(len(values)), (counts.cumsum(axis=1) <= place).sum(axis=1)]
        plcc, srocc = _both_correlations(own, (totals - own) / (numbers - 1))
        if plcc is not None and srocc is not None:
            found.append((plcc, srocc))
    return _means_of_pairs(found)


def _means_of_pairs(found: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    if not found:
        return None, None
    plcc, srocc = np.mean(found, axis=0).tolist()
    return plcc, srocc


def _matrix(ratings: Sequence[PaintingRatings]) -> "csr_array":
    """The ratings as a sparse matrix of shape (paintings, raters), which holds a rating of 0 as well."""
    from scipy.sparse import csr_array

    starts = np.cumsum([0, *(len(painting.ratings) for painting in ratings)])
    values = np.array([value for painting in ratings for value in painting.ratings], dtype=np.float64)
    names = np.array([rater for painting in ratings for rater in painting.raters or ()], dtype=np.int64)
    known, raters = np.unique(names, return_inverse=True)
    return csr_array((values, raters, starts), shape=(len(ratings), len(known)))
