"""Models that were trained several times, with different seeds: their mean agreement with people, and differences.

The bootstrap draws images and keeps the runs as they are: it says how far a difference may come from the choice of
the images. How far the runs of one model differ among themselves, the standard deviation over seeds says.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.agreement import FEWEST, RESAMPLES, around, percentile_bounds, plcc, srocc
from artquant_plugin.metrics.paired_bootstrap import paired_bootstrap, two_sided_p
from artquant_plugin.metrics.pairwise_comparisons import Difference, holm

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean of repeated runs, and how far they lie apart.

    Args:
        mean: Mean over the runs; NaN where one of them has no value.
        sd: Sample standard deviation over the runs (divided by n - 1); NaN for fewer than two runs.
        values: The value of each run, in the order of the seeds.
    """

    mean: float
    sd: float
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RepeatedModel:
    """One model's figures over its runs, and their differences from a reference model.

    Args:
        srocc: SROCC of the runs, in the order of the seeds.
        plcc: PLCC of the runs, in the order of the seeds.
        srocc_difference: Difference of the mean SROCC from the reference's; None for the reference itself.
        plcc_difference: Difference of the mean PLCC from the reference's; None for the reference itself.
    """

    srocc: Spread
    plcc: Spread
    srocc_difference: Difference | None = None
    plcc_difference: Difference | None = None


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation.

    Args:
        values: One value per run, at least one.

    Example:
        >>> spread([1, 2, 3])
        Spread(mean=2.0, sd=1.0, values=(1.0, 2.0, 3.0))
    """
    found = np.asarray(values, dtype=np.float64)
    sd = float(found.std(ddof=1)) if len(found) > 1 else math.nan
    return Spread(float(found.mean()), sd, tuple(map(float, found)))


def mean_correlations(runs: ArrayLike, truth: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> FloatArray:
    """Mean SROCC and PLCC of several models in resamples that all models and runs share.

    Args:
        runs: Predictions of M models with S runs each on the same n images, all finite; shape (M, S, n).
        truth: The n human scores, all finite; shape (n,).
        resamples: Number R of resamples, at least 1.
        seed: Seed from which the resamples are drawn.

    Returns:
        Means over the runs in each resample; shape (R, M, 2), SROCC first.

    Raises:
        ArtQuantError: The shapes do not fit.
    """
    scores = np.asarray(runs, dtype=np.float64)
    if scores.ndim != 3:
        raise ArtQuantError(f"predictions of shape {scores.shape}; give one of (models, runs, images)")
    models, repeats, images = scores.shape
    draws = paired_bootstrap(scores.reshape(models * repeats, images), truth, resamples=resamples, seed=seed)
    return draws.reshape(len(draws), models, repeats, 2).mean(axis=2)


def compare_with_reference(
    runs: ArrayLike, truth: ArrayLike, reference: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[RepeatedModel]:
    """Compare models with a reference model on the same images: the paired bootstrap of the differences of means.

    Args:
        runs: Predictions of M models with S runs each on the same n images, all finite; shape (M, S, n).
        truth: The n human scores, all finite; shape (n,).
        reference: Number of the reference model, from 0 to M - 1.
        resamples: Number of resamples, at least 1.
        seed: Seed from which the resamples are drawn.

    Returns:
        One entry per model, with p-values before Holm's correction. Where there are fewer than `FEWEST` images, or a
        run's predictions are constant, the bounds and p-values are NaN.

    Raises:
        ArtQuantError: The shapes do not fit.
    """
    scores, human = np.asarray(runs, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    own = [
        (spread([srocc(run, human) for run in model]), spread([plcc(run, human) for run in model])) for model in scores
    ]
    draws = None
    if len(human) >= FEWEST and all(math.isfinite(each.mean) for pair in own for each in pair):
        draws = mean_correlations(scores, human, resamples=resamples, seed=seed)
    found = []
    for number, (ranked, linear) in enumerate(own):
        if number == reference:
            found.append(RepeatedModel(ranked, linear))
            continue
        differences = []
        for place in (0, 1):
            a, b = own[number][place].mean, own[reference][place].mean
            low = high = p = math.nan
            if draws is not None:
                drawn = draws[:, number, place] - draws[:, reference, place]
                low, high = around(np.array([a - b]), percentile_bounds(drawn[:, None]))[:, 0]
                p = math.nan if math.isnan(low) else two_sided_p(drawn)
            differences.append(Difference(a, b, a - b, float(low), float(high), p))
        found.append(RepeatedModel(ranked, linear, *differences))
    return found


def corrected(models: Sequence[RepeatedModel]) -> list[RepeatedModel]:
    """The same models with Holm's correction over all of their differences, of SROCC and of PLCC separately.

    Args:
        models: All models of a family of tests, references among them; they may be of several datasets.
    """
    ranked = holm([model.srocc_difference.p for model in models if model.srocc_difference is not None])
    linear = holm([model.plcc_difference.p for model in models if model.plcc_difference is not None])
    pairs = iter(zip(ranked, linear, strict=True))
    found = []
    for model in models:
        if model.srocc_difference is None or model.plcc_difference is None:
            found.append(model)
            continue
        p, q = next(pairs)
        found.append(
            replace(
                model,
                srocc_difference=replace(model.srocc_difference, p_holm=p),
                plcc_difference=replace(model.plcc_difference, p_holm=q),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through points of means.

    Args:
        slope: Change of y for each unit of x.
        low: Lower bound of the slope's 95 % interval over images; NaN where nothing was drawn.
        high: Upper bound of that interval.
        r: Pearson's correlation of the points, in [-1, 1]; NaN where all y are alike.
    """

    slope: float
    low: float
    high: float
    r: float


def fit_line(x: ArrayLike, y: ArrayLike, draws: ArrayLike | None = None) -> Line:
    """Fit a line by least squares.

    Args:
        x: Places of the k points, at least two of them different; shape (k,).
        y: Heights of the points, in any unit; shape (k,).
        draws: Their heights in R resamples of the images, for the interval; shape (R, k). None for no interval.

    Example:
        >>> fit_line([0, 1, 2], [1.0, 3.0, 5.0])
        Line(slope=2.0, low=nan, high=nan, r=1.0)
    """
    places, heights = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    centred = places - places.mean()
    weights = centred / (centred @ centred)  # the slope is linear in y
    slope = float(weights @ heights)
    spread_of_y = float(np.linalg.norm(heights - heights.mean()))
    r = slope * float(np.linalg.norm(centred)) / spread_of_y if spread_of_y else math.nan
    low = high = math.nan
    if draws is not None:
        drawn = np.asarray(draws, dtype=np.float64) @ weights
        low, high = map(float, around(np.array([slope]), percentile_bounds(drawn[:, None]))[:, 0])
    return Line(slope, low, high, float(np.clip(r, -1, 1)))
