"""Pairwise comparisons of models on the images that both scored: differences, intervals, and p-values after Holm."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.agreement import (
    CONFIDENCE,
    FEWEST,
    RESAMPLES,
    around,
    percentile_bounds,
    plcc,
    srocc,
    standard_error,
)
from artquant_plugin.metrics.dependent_correlations import steiger_z, zou_interval
from artquant_plugin.metrics.influence import pearson_influence, spearman_influence
from artquant_plugin.metrics.paired_bootstrap import paired_bootstrap, two_sided_p
from artquant_plugin.metrics.resampling import LARGEST

ALPHA = 1 - CONFIDENCE
RESAMPLES_PER_PAIR = 80  # keeps the smallest p, 2 / (R + 1), at or below ALPHA / 2 after Holm's correction

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two models' correlations with the human scores.

    All values are NaN where one of the models has no correlation, because its scores are constant for example. The
    bounds and the p-values are NaN where there are fewer than `FEWEST` images, or where more than 5 % of the resamples
    have no difference, because a side is constant in them.

    Args:
        a: correlation of model a on the images that both scored, in [-1, 1].
        b: correlation of model b on the same images, in [-1, 1].
        value: the difference a - b, in [-2, 2].
        low: lower bound of the difference's 95 % interval.
        high: upper bound of the difference's 95 % interval.
        p: two-sided p-value of this comparison alone, in (0, 1].
        p_holm: p-value after Holm's correction over all comparisons, in (0, 1]; NaN before the correction.
    """

    a: float
    b: float
    value: float
    low: float
    high: float
    p: float
    p_holm: float = math.nan

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 5 %."""
        return self.p_holm < ALPHA


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two models on the images that both scored.

    Args:
        a: name of the first model.
        b: name of the second model.
        n: number of images that both scored; 0 when there is none.
        only_a: number of images that only model a scored; they are left out.
        only_b: number of images that only model b scored; they are left out.
        srocc: difference of the models' SROCC.
        plcc: difference of the models' PLCC.
        steiger: Steiger's Z of the difference of PLCC, a cross-check of the bootstrap; NaN where it is not defined,
            and where there are fewer than `FEWEST` images.
        steiger_p: two-sided p-value of `steiger`, without correction; NaN where `steiger` is.
        zou: Zou's 95 % interval of the difference of PLCC, a cross-check of the bootstrap; NaN where `steiger` is.
        resamples: number of bootstrap resamples; 0 where the models could not be compared, where there are fewer than
            `FEWEST` images, and where there are more than `LARGEST`, so that intervals and p-values follow from
            influence values instead.
    """

    a: str
    b: str
    n: int
    only_a: int
    only_b: int
    srocc: Difference
    plcc: Difference
    steiger: float
    steiger_p: float
    zou: tuple[float, float]
    resamples: int

    @property
    def too_few(self) -> bool:
        """Whether there are fewer images than intervals and tests need."""
        return self.n < FEWEST


def compare_models(
    names: Sequence[str],
    predictions: ArrayLike,
    truth: ArrayLike,
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> list[Comparison]:
    """Compare every model with every other one.

    Pairs of models that scored the same images share their resamples, and each model is ranked once in each of them.
    Above `LARGEST` images nothing is drawn: intervals and p-values follow from the models' influence values.

    Args:
        names: the M names of the models, all different.
        predictions: the scores of M models on n images, NaN where a model has none; shape (M, n). Sort the images,
            by their ids for example, for the result to be the same every time.
        truth: the n human scores, all finite; shape (n,).
        resamples: number of bootstrap resamples, at least 1. None takes 2,000, or as many as the smallest p-value
            needs to be significant after the correction, if that is more.
        seed: the seed of the resampling.

    Returns:
        M (M - 1) / 2 comparisons, in the order of the names; none for fewer than two models.

    Raises:
        ArtQuantError: a name occurs twice, the shapes do not fit, or `resamples` is below 1.
    """
    scores, truth = np.asarray(predictions, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if len(set(names)) != len(names) or scores.shape != (len(names), truth.size):
        raise ArtQuantError(
            f"{len(names)} names for predictions of shape {scores.shape} and {truth.size} human scores; give each "
            "model one row of predictions and a name of its own"
        )
    couples = list(combinations(range(len(names)), 2))
    if resamples is None:
        resamples = max(RESAMPLES, RESAMPLES_PER_PAIR * len(couples))
    if resamples < 1:
        raise ArtQuantError(f"{resamples} resamples give no p-value; take {RESAMPLES} or more")
    known = ~np.isnan(scores)
    alike: dict[bytes, list[tuple[int, int]]] = {}
    for a, b in couples:
        alike.setdefault(np.packbits(known[a] & known[b]).tobytes(), []).append((a, b))
    found: dict[tuple[int, int], Comparison] = {}
    for group in alike.values():
        both = known[group[0][0]] & known[group[0][1]]
        models = sorted({model for pair in group for model in pair})
        usable = [model for model in models if _varies(scores[model][both]) and _varies(truth[both])]
        place = {model: index for index, model in enumerate(usable)}
        draws = np.empty((0, 0, 2))
        if usable and FEWEST <= int(both.sum()) <= LARGEST:
            draws = paired_bootstrap(scores[usable][:, both], truth[both], resamples=resamples, seed=seed)
        for a, b in group:
            only = int((known[a] & ~both).sum()), int((known[b] & ~both).sum())
            if a not in place or b not in place:
                found[a, b] = _no_comparison(names[a], names[b], int(both.sum()), only)
                continue
            pair_draws = draws[:, [place[a], place[b]]] if draws.size else None
            found[a, b] = _comparison(
                names[a], names[b], scores[a][both], scores[b][both], truth[both], only, pair_draws
            )
    pairs = [found[couple] for couple in couples]
    ranked = holm([pair.srocc.p for pair in pairs])
    linear = holm([pair.plcc.p for pair in pairs])
    return [
        replace(pair, srocc=replace(pair.srocc, p_holm=p), plcc=replace(pair.plcc, p_holm=q))
        for pair, p, q in zip(pairs, ranked, linear, strict=True)
    ]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values for multiple comparisons.

    Args:
        p: the p-values of a family of tests, each in [0, 1]. NaN stands for a test that could not be made; it stays
            NaN and does not count towards the size of the family. May be empty.

    Returns:
        The corrected p-values, in the order of `p`.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted((index for index, value in enumerate(p) if not math.isnan(value)), key=lambda index: p[index])
    corrected = [math.nan] * len(p)
    largest = 0.0
    for step, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - step) * p[index]))
        corrected[index] = largest
    return corrected


def _no_comparison(name_a: str, name_b: str, n: int, only: tuple[int, int]) -> Comparison:
    """The comparison of models of which one has no correlation."""
    nan, nothing = math.nan, Difference(*[math.nan] * 6)
    return Comparison(name_a, name_b, n, *only, nothing, nothing, nan, nan, (nan, nan), 0)


def _comparison(
    name_a: str,
    name_b: str,
    a: FloatArray,
    b: FloatArray,
    truth: FloatArray,
    only: tuple[int, int],
    draws: FloatArray | None,
) -> Comparison:
    """The comparison of two models that have a correlation each; `draws` is None where nothing was drawn."""
    n = len(truth)
    differences = []
    for place, (metric, influence) in enumerate(((srocc, spearman_influence), (plcc, pearson_influence))):
        of_a, of_b = metric(a, truth), metric(b, truth)
        value = of_a - of_b
        low = high = p = math.nan
        if draws is not None:
            drawn = draws[:, 0, place] - draws[:, 1, place]
            low, high = around(np.array([value]), percentile_bounds(drawn[:, None]))[:, 0]
            p = math.nan if math.isnan(low) else two_sided_p(drawn)
        elif n >= FEWEST:
            error = standard_error(influence(a, truth) - influence(b, truth))
            half = float(norm.ppf(1 - ALPHA / 2)) * error
            low, high = value - half, value + half
            p = float(2 * norm.sf(abs(value) / error)) if error else float(value == 0)
        differences.append(Difference(of_a, of_b, value, float(low), float(high), p))
    ranked, linear = differences
    resamples = 0 if draws is None else len(draws)
    if n < FEWEST:
        return Comparison(name_a, name_b, n, *only, ranked, linear, math.nan, math.nan, (math.nan, math.nan), 0)
    given = (linear.a, linear.b, plcc(a, b), n)
    z, steiger_p = steiger_z(*given)
    return Comparison(name_a, name_b, n, *only, ranked, linear, z, steiger_p, zou_interval(*given), resamples)


def _varies(values: FloatArray) -> bool:
    return bool(values.size) and bool((values != values[0]).any())
