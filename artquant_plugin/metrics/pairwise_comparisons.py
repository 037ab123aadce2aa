"""All pairs of models on the images that both scored: differences, intervals, tests corrected over all pairs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.agreement import LEVEL, RESAMPLES, plcc, srocc
from artquant_plugin.metrics.dependent_correlations import steiger_z, zou_interval
from artquant_plugin.metrics.paired_bootstrap import paired_bootstrap, two_sided_p

ALPHA = 1 - LEVEL
RESAMPLES_PER_PAIR = 80  # the smallest p, 2 / (R + 1), then is at most ALPHA / 2 after Holm's correction

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of correlations, model a's less model b's.

    Args:
        a: model a's correlation on the images that both scored.
        b: model b's.
        value: a - b.
        low: of the 95 % bootstrap interval.
        high: of the 95 % bootstrap interval.
        p: two-sided, of this pair alone.
        p_holm: corrected over all pairs; NaN, as the others, where there is no correlation.
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
    """Two models, compared.

    Args:
        a: name.
        b: name.
        n: images that both scored.
        only_a: images that only a scored, left out.
        only_b: images that only b scored, left out.
        srocc: their difference.
        plcc: their difference.
        steiger: Z of the difference of PLCC; a cross-check.
        steiger_p: its two-sided p, uncorrected.
        zou: 95 % interval of the difference of PLCC; a cross-check.
        resamples: of the bootstrap.
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


def compare_models(
    names: Sequence[str],
    predictions: ArrayLike,
    truth: ArrayLike,
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> list[Comparison]:
    """Compare every model with every other one.

    Pairs that scored the same images share their resamples, and each model is ranked once in each of them.

    Args:
        names: M different names.
        predictions: shape (M, n); NaN where a model has no score. The images have to be in an order of their own,
            such as that of their ids, for the result to be the same every time.
        truth: n finite scores.
        resamples: of the bootstrap; by default enough for the smallest p to be significant after the correction,
            and 2,000 at least.
        seed: of the resampling.

    Returns:
        M (M - 1) / 2 pairs, in the order of the names.

    Raises:
        ArtQuantError: a name stands twice, or shapes or resamples do not fit.
    """
    scores, truth = np.asarray(predictions, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if len(set(names)) != len(names) or scores.shape != (len(names), truth.size):
        raise ArtQuantError(
            f"{len(names)} names for predictions of shape {scores.shape}; each model needs a name of its own"
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
        draws = np.empty((resamples, 0, 2))
        if usable:
            draws = paired_bootstrap(scores[usable][:, both], truth[both], resamples=resamples, seed=seed)
        for a, b in group:
            only = int((known[a] & ~both).sum()), int((known[b] & ~both).sum())
            pair_draws = draws[:, [place[a], place[b]]] if a in place and b in place else None
            found[a, b] = _pair(names[a], names[b], scores[a][both], scores[b][both], truth[both], only, pair_draws)
    pairs = [found[couple] for couple in couples]
    ranked = holm([pair.srocc.p for pair in pairs])
    linear = holm([pair.plcc.p for pair in pairs])
    return [
        replace(pair, srocc=replace(pair.srocc, p_holm=p), plcc=replace(pair.plcc, p_holm=q))
        for pair, p, q in zip(pairs, ranked, linear, strict=True)
    ]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction.

    Args:
        p: of a family of tests, in [0, 1]; NaN for a test that could not be made, which stays so and does not count.

    Returns:
        Corrected, in the order given.

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


def _pair(
    name_a: str,
    name_b: str,
    a: FloatArray,
    b: FloatArray,
    truth: FloatArray,
    only: tuple[int, int],
    draws: FloatArray | None,
) -> Comparison:
    nothing = Difference(*[math.nan] * 6)
    if draws is None:
        nan = math.nan
        return Comparison(name_a, name_b, len(truth), *only, nothing, nothing, nan, nan, (nan, nan), 0)
    differences = []
    for place, metric in enumerate((srocc, plcc)):
        of_a, of_b = metric(a, truth), metric(b, truth)
        drawn = draws[:, 0, place] - draws[:, 1, place]
        drawn = drawn[~np.isnan(drawn)]
        low, high = np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2]) if drawn.size else (math.nan, math.nan)
        differences.append(Difference(of_a, of_b, of_a - of_b, float(low), float(high), two_sided_p(drawn)))
    ranked, linear = differences
    given = (linear.a, linear.b, plcc(a, b), len(truth))
    z, p = steiger_z(*given)
    return Comparison(name_a, name_b, len(truth), *only, ranked, linear, z, p, zou_interval(*given), len(draws))


def _varies(values: FloatArray) -> bool:
    return bool(values.size) and bool((values != values[0]).any())
