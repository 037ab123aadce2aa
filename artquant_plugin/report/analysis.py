"""A board's figures: per model, per group of paintings, per attribute (numpy and scipy only)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from artquant_plugin.data.dataset import DatasetInfo
from artquant_plugin.metrics.agreement import RESAMPLES, Agreement, evaluate, mae, plcc, srocc
from artquant_plugin.metrics.logistic_mapping import LogisticFit, fit_logistic
from artquant_plugin.metrics.pairwise_comparisons import Comparison, compare_models
from artquant_plugin.metrics.unscored import at_median
from artquant_plugin.report.boards import Board
from artquant_plugin.report.model_predictions import ModelPredictions

THRESHOLD = 5.0  # of "is a good painting", in the literature's ten-point scale
TOP = 10.0  # of that scale
BANDS = 5
CALIBRATION_BINS = 10
SMALLEST_GROUP = 3  # images; a correlation of two is ±1 whatever they are

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Agreement on which side of a threshold a painting is.

    Args:
        threshold: a painting above it counts as good.
        share: of the scored paintings on which model and people agree.
        majority: what answering with the more frequent side would reach.
    """

    threshold: float
    share: float
    majority: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model's figures on a board.

    Args:
        model: the model.
        failed: paintings without a prediction.
        scores: over the scored paintings; None when none was.
        srocc_all: with the model's median in the place of missing predictions; NaN when none is missing.
        plcc_all: likewise.
        logistic_fit: PLCC after the logistic mapping; an extra.
        accuracy: None where predictions are on another scale.
        on_scale: whether all predictions are in the dataset's score range, so that errors mean something.
    """

    model: ModelPredictions
    failed: int
    scores: Agreement | None
    srocc_all: float
    plcc_all: float
    logistic_fit: LogisticFit | None
    accuracy: Accuracy | None
    on_scale: bool


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """One model on a part of the paintings.

    Args:
        n: paintings scored.
        srocc: NaN where there is none.
        plcc: NaN where there is none.
        mae: mean absolute error; NaN where nothing was scored.
        bias: mean of prediction less human score.
    """

    n: int
    srocc: float
    plcc: float
    mae: float
    bias: float


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All models on all parts.

    Args:
        title: what the parts are.
        groups: their names.
        sizes: paintings with a human score in each.
        figures: by model, then by part.
    """

    title: str
    groups: list[str]
    sizes: list[int]
    figures: list[list[GroupFigures]]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that tables and pages show of a board."""

    board: Board
    evaluations: list[Evaluation]
    comparisons: list[Comparison]
    categories: Breakdown | None
    bands: Breakdown
    attributes: Breakdown | None


def analyse(board: Board, *, resamples: int = RESAMPLES, pair_resamples: int | None = None, seed: int = 0) -> Analysis:
    """Compute a board's figures.

    Args:
        board: with at least one painting.
        resamples: of each model's intervals; 0 leaves them out.
        pair_resamples: of the comparisons; see `compare_models`.
        seed: of both.
    """
    matrix = board.matrix()
    low, high = score_range(board)
    evaluations = [
        _evaluation(board, model, row, resamples=resamples, seed=seed)
        for model, row in zip(board.models, matrix, strict=True)
    ]
    names = [model.name for model in board.models]
    categories = board.categories()
    known = sorted({category for category in categories if category is not None})
    edges = np.linspace(low, high, BANDS + 1)
    bands = np.clip(np.searchsorted(edges, board.truth, side="right") - 1, 0, BANDS - 1)
    labels = [f"{edges[i]:g} to {edges[i + 1]:g}" for i in range(BANDS)]
    return Analysis(
        board=board,
        evaluations=evaluations,
        comparisons=compare_models(names, matrix, board.truth, resamples=pair_resamples, seed=seed),
        categories=_breakdown("category", known, categories, matrix, board.truth) if len(known) > 1 else None,
        bands=_breakdown("human score", labels, [labels[band] for band in bands], matrix, board.truth),
        attributes=_attributes(board, matrix),
    )


def score_range(board: Board) -> tuple[float, float]:
    """The dataset's own, or 0 to 10 where its folder is absent and all scores fit in; else that of the scores."""
    if board.info is not None:
        return board.info.score_range
    low, high = float(board.truth.min()), float(board.truth.max())
    return (0.0, TOP) if 0 <= low and high <= TOP else (low, high)


def calibration(
    prediction: ArrayLike, truth: ArrayLike, bins: int = CALIBRATION_BINS
) -> list[tuple[float, float, int]]:
    """Mean prediction and mean human score in bins of about equal count, from the lowest predictions to the highest.

    Equal predictions share a bin, so that a model that answers in whole numbers has a bin for each.

    Args:
        prediction: n scores.
        truth: n scores.
        bins: at most; fewer when there are fewer different predictions.

    Returns:
        Mean prediction, mean truth and count of each bin.

    Example:
        >>> calibration([1, 2, 3, 4], [2, 2, 3, 5], bins=2)
        [(1.5, 2.0, 2), (3.5, 4.0, 2)]
    """
    x, y = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    # The mean rank of each group of equal predictions decides, so that no bin takes some of them and leaves others.
    belongs = np.minimum((rankdata(x) - 0.5) * bins // x.size, bins - 1)
    parts = [belongs == bin_ for bin_ in np.unique(belongs)]
    return [(float(x[part].mean()), float(y[part].mean()), int(part.sum())) for part in parts]


def accuracy(prediction: ArrayLike, truth: ArrayLike, threshold: float) -> Accuracy:
    """See `Accuracy`.

    Example:
        >>> accuracy([6, 4, 6, 6], [7, 3, 2, 8], 5.0)
        Accuracy(threshold=5.0, share=0.75, majority=0.5)
    """
    guessed, given = np.asarray(prediction) > threshold, np.asarray(truth) > threshold
    good = float(given.mean())
    return Accuracy(threshold, float((guessed == given).mean()), max(good, 1 - good))


def split_shift(info: DatasetInfo | None) -> str:
    """A sentence about how the test split's scores differ from the training split's; empty when they do not.

    Means that differ by more than a quarter of the training split's standard deviation, or standard deviations that
    differ by more than a quarter, are worth it.
    """
    if info is None or "train" not in info.splits or "test" not in info.splits:
        return ""
    train, test = info.splits["train"], info.splits["test"]
    if train.mean is None or test.mean is None or not train.variance or test.variance is None:
        return ""
    sd_train, sd_test = math.sqrt(train.variance), math.sqrt(test.variance)
    if abs(test.mean - train.mean) <= sd_train / 4 and 0.75 <= sd_test / sd_train <= 1.25:
        return ""
    return (
        f"Human scores of the test split (mean {test.mean:.2f}, standard deviation {sd_test:.2f}, n = {test.n:,}) are "
        f"distributed unlike those of the training split (mean {train.mean:.2f}, standard deviation {sd_train:.2f}, "
        f"n = {train.n:,}): correlations here do not tell how a model does on paintings like those it was trained on."
    )


def _evaluation(board: Board, model: ModelPredictions, row: FloatArray, *, resamples: int, seed: int) -> Evaluation:
    known = ~np.isnan(row)
    failed = sum(model.failures.values())
    low, high = score_range(board)
    nan = math.nan
    if not known.any():
        return Evaluation(model, failed, None, nan, nan, None, None, True)
    names = [name for name, scored in zip(board.ids, known, strict=True) if scored]
    x, y = row[known], board.truth[known]
    on_scale = not model.has_own_unit and bool(x.min() >= low and x.max() <= high)
    threshold = THRESHOLD if high == TOP else (low + high) / 2
    # Paintings that the run was never asked about are no failures of its.
    unscored = np.array(
        [
            not scored and (name in model.samples or not model.samples)
            for name, scored in zip(board.ids, known, strict=True)
        ]
    )
    srocc_all = plcc_all = nan
    if failed and unscored.any():
        all_x = np.array(at_median([*x, *[None] * int(unscored.sum())]))
        all_y = np.concatenate([y, board.truth[unscored]])
        srocc_all, plcc_all = _correlations(all_x, all_y)
    return Evaluation(
        model=model,
        failed=failed,
        scores=evaluate(names, x, y, resamples=resamples, seed=seed),
        srocc_all=srocc_all,
        plcc_all=plcc_all,
        logistic_fit=fit_logistic(x, y),
        accuracy=accuracy(x, y, threshold) if on_scale else None,
        on_scale=on_scale,
    )


def _breakdown(
    title: str, groups: Sequence[str], belongs: Sequence[str | None], matrix: FloatArray, truth: FloatArray
) -> Breakdown:
    masks = [np.array([own == group for own in belongs], dtype=bool) for group in groups]
    figures = [[_group(row[mask], truth[mask]) for mask in masks] for row in matrix]
    return Breakdown(title, list(groups), [int(mask.sum()) for mask in masks], figures)


def _attributes(board: Board, matrix: FloatArray) -> Breakdown | None:
    """Agreement of the predicted score with what people gave single aspects; errors mean nothing there."""
    names = sorted({key for row in board.paintings.values() for key in row.attributes or {}})
    if not names:
        return None
    sizes = []
    figures: list[list[GroupFigures]] = [[] for _ in board.models]
    for name in names:
        given = [
            (board.paintings[one].attributes or {}).get(name) if one in board.paintings else None for one in board.ids
        ]
        values = np.array([math.nan if value is None else value for value in given], dtype=np.float64)
        mask = ~np.isnan(values)
        sizes.append(int(mask.sum()))
        for place, row in enumerate(matrix):
            figure = _group(row[mask], values[mask])
            figures[place].append(GroupFigures(figure.n, figure.srocc, figure.plcc, math.nan, math.nan))
    return Breakdown("attribute", names, sizes, figures)


def _group(prediction: FloatArray, truth: FloatArray) -> GroupFigures:
    known = ~np.isnan(prediction)
    x, y = prediction[known], truth[known]
    if not x.size:
        return GroupFigures(0, *[math.nan] * 4)
    ranked, linear = _correlations(x, y)
    return GroupFigures(int(x.size), ranked, linear, mae(x, y), float((x - y).mean()))


def _correlations(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    if x.size < SMALLEST_GROUP or not np.ptp(x) or not np.ptp(y):
        return math.nan, math.nan
    return srocc(x, y), plcc(x, y)
