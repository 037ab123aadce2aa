"""The figures of a board: for each model, each group of paintings and each attribute; needs only numpy and scipy."""

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

THRESHOLD = 5.0  # the literature calls a painting good above this score, on its scale from 0 to 10
TOP = 10.0  # the upper end of that scale
BANDS = 5  # number of equally wide parts that the score range is divided into
CALIBRATION_BINS = 10  # number of groups of paintings in the calibration plot
SMALLEST_GROUP = 3  # paintings; the correlation of two is always 1 or -1

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The binary accuracy: how often a model and people put a painting on the same side of a threshold.

    Args:
        threshold: the score above which a painting counts as good.
        share: the share of the scored paintings on which model and people agree, in [0, 1].
        majority: the share that always giving the more frequent side would reach, in [0.5, 1].
    """

    threshold: float
    share: float
    majority: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of one model on a board.

    Args:
        model: the model and its predictions.
        failed: number of paintings for which the model gave no prediction.
        agreement: metrics over the scored paintings; None when no painting was scored.
        srocc_all: SROCC over all paintings, with the model's median in the place of missing predictions; NaN when none
            is missing, or no painting was scored.
        plcc_all: PLCC over the same values as `srocc_all`; NaN where `srocc_all` is.
        logistic_fit: the logistic mapping and the PLCC after it, an extra; None where nothing could be fitted.
        accuracy: the binary accuracy; None where the predictions are on another scale than the human scores.
        on_scale: whether all predictions are in the dataset's score range, without which errors mean nothing.
    """

    model: ModelPredictions
    failed: int
    agreement: Agreement | None
    srocc_all: float
    plcc_all: float
    logistic_fit: LogisticFit | None
    accuracy: Accuracy | None
    on_scale: bool


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """The figures of one model on one group of paintings.

    Args:
        n: number of paintings in the group that the model scored.
        srocc: Spearman's rank correlation, in [-1, 1]; NaN for fewer than 3 paintings, or where a side is constant.
        plcc: Pearson's correlation, in [-1, 1]; NaN where `srocc` is.
        mae: mean absolute error, in the unit of the scores; NaN where nothing was scored, and for attributes.
        bias: mean of prediction less human score, in the unit of the scores; NaN where `mae` is.
    """

    n: int
    srocc: float
    plcc: float
    mae: float
    bias: float


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The figures of all models on all groups of paintings.

    Args:
        title: what the paintings are grouped by, such as ``category``.
        groups: the names of the groups.
        sizes: number of paintings with a human score in each group.
        figures: the figures of each model, in the order of the board; each a list in the order of the groups.
    """

    title: str
    groups: list[str]
    sizes: list[int]
    figures: list[list[GroupFigures]]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that tables and pages show of a board.

    Args:
        board: the dataset, the models and their predictions.
        evaluations: the figures of each model, in the order of the board.
        comparisons: the comparison of each pair of models; empty for a single model.
        categories: figures by category; None where there are fewer than two categories.
        bands: figures by band of the human score.
        attributes: figures by attribute; None where the dataset has no scores of attributes.
    """

    board: Board
    evaluations: list[Evaluation]
    comparisons: list[Comparison]
    categories: Breakdown | None
    bands: Breakdown
    attributes: Breakdown | None


def analyse(board: Board, *, resamples: int = RESAMPLES, pair_resamples: int | None = None, seed: int = 0) -> Analysis:
    """Compute the figures of a board.

    Args:
        board: a board with at least one painting.
        resamples: number of bootstrap resamples for each model's intervals; 0 leaves the intervals out.
        pair_resamples: number of bootstrap resamples for the comparisons, at least 1; None takes as many as their
            correction needs, and at least 2,000.
        seed: the seed of all resampling.
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


def cautions(board: Board) -> list[str]:
    """Why the figures of single models may mislead, such as one prediction on which the PLCC rests.

    Args:
        board: a board with at least one painting.

    Returns:
        Sentences, each with its model's name in front.
    """
    found = []
    for model, row in zip(board.models, board.matrix(), strict=True):
        if model.training_note:
            found.append(f"{model.name}: {model.training_note}.")
        known = ~np.isnan(row)
        x, y = row[known], board.truth[known]
        if x.size and (x != x[0]).any() and (y != y[0]).any():
            ids = [name for name, scored in zip(board.ids, known, strict=True) if scored]
            found += [f"{model.name}: {caution}." for caution in evaluate(ids, x, y, resamples=0).cautions]
    return found


def score_range(board: Board) -> tuple[float, float]:
    """The lowest and the highest possible human score.

    It is the range that the dataset states. Where the dataset's folder is absent, it is 0 to 10 if all human scores
    fit in, and otherwise the range of the human scores themselves.
    """
    if board.info is not None:
        return board.info.score_range
    low, high = float(board.truth.min()), float(board.truth.max())
    return (0.0, TOP) if 0 <= low and high <= TOP else (low, high)


def calibration(
    prediction: ArrayLike, truth: ArrayLike, bins: int = CALIBRATION_BINS
) -> list[tuple[float, float, int]]:
    """Mean prediction and mean human score in bins of about equal count, from the lowest predictions to the highest.

    Equal predictions share a bin, so that a model that answers in whole numbers has one bin per number.

    Args:
        prediction: the n predicted scores, all finite; shape (n,), may be empty.
        truth: the n human scores in the same order; shape (n,).
        bins: the largest number of bins. There are fewer where fewer predictions differ.

    Returns:
        Mean prediction, mean human score and number of paintings of each bin that is not empty.

    Example:
        >>> calibration([1, 2, 3, 4], [2, 2, 3, 5], bins=2)
        [(1.5, 2.0, 2), (3.5, 4.0, 2)]
    """
    x, y = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    # Tied predictions have the same mid-rank, which decides about the bin, so that they are all put into one bin.
    belongs = np.minimum((rankdata(x) - 0.5) * bins // x.size, bins - 1)
    parts = [belongs == bin_ for bin_ in np.unique(belongs)]
    return [(float(x[part].mean()), float(y[part].mean()), int(part.sum())) for part in parts]


def accuracy(prediction: ArrayLike, truth: ArrayLike, threshold: float) -> Accuracy:
    """Compute the binary accuracy.

    Args:
        prediction: the n predicted scores; shape (n,), with n at least 1.
        truth: the n human scores in the same order; shape (n,).
        threshold: the score above which a painting counts as good.

    Example:
        >>> accuracy([6, 4, 6, 6], [7, 3, 2, 8], 5.0)
        Accuracy(threshold=5.0, share=0.75, majority=0.5)
    """
    guessed, given = np.asarray(prediction) > threshold, np.asarray(truth) > threshold
    good = float(given.mean())
    return Accuracy(threshold, float((guessed == given).mean()), max(good, 1 - good))


def split_shift(info: DatasetInfo | None) -> str:
    """A sentence about how the human scores of the test split differ from those of the training split.

    They differ when the means are more than a quarter of the training split's standard deviation apart, or when the
    standard deviations differ by more than a quarter.

    Args:
        info: the dataset's statistics; None where its folder is absent.

    Returns:
        The sentence; empty when the splits do not differ, or their statistics are not known.
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
    # A painting that the run was never asked about, because of --limit for example, is no failure of the model.
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
        agreement=evaluate(names, x, y, resamples=resamples, seed=seed),
        srocc_all=srocc_all,
        plcc_all=plcc_all,
        logistic_fit=fit_logistic(x, y),
        accuracy=accuracy(x, y, threshold) if on_scale else None,
        on_scale=on_scale,
    )


def _breakdown(
    title: str, groups: Sequence[str], group_of: Sequence[str | None], matrix: FloatArray, truth: FloatArray
) -> Breakdown:
    """The figures of all models by group; `group_of` has the group of each painting, in the order of the columns."""
    masks = [np.array([own == group for own in group_of], dtype=bool) for group in groups]
    figures = [[_group_figures(row[mask], truth[mask]) for mask in masks] for row in matrix]
    return Breakdown(title, list(groups), [int(mask.sum()) for mask in masks], figures)


def _attributes(board: Board, matrix: FloatArray) -> Breakdown | None:
    """Correlations of the predicted score with the human scores of single attributes; None where there are none.

    Errors are NaN, since the predicted score is of the whole painting and not of the attribute.
    """
    names = sorted({key for row in board.paintings.values() for key in row.attributes or {}})
    if not names:
        return None
    sizes = []
    figures: list[list[GroupFigures]] = [[] for _ in board.models]
    for name in names:
        given = [
            (board.paintings[painting_id].attributes or {}).get(name) if painting_id in board.paintings else None
            for painting_id in board.ids
        ]
        values = np.array([math.nan if value is None else value for value in given], dtype=np.float64)
        mask = ~np.isnan(values)
        sizes.append(int(mask.sum()))
        for place, row in enumerate(matrix):
            figure = _group_figures(row[mask], values[mask])
            figures[place].append(GroupFigures(figure.n, figure.srocc, figure.plcc, math.nan, math.nan))
    return Breakdown("attribute", names, sizes, figures)


def _group_figures(prediction: FloatArray, truth: FloatArray) -> GroupFigures:
    known = ~np.isnan(prediction)
    x, y = prediction[known], truth[known]
    if not x.size:
        return GroupFigures(0, *[math.nan] * 4)
    ranked, linear = _correlations(x, y)
    return GroupFigures(int(x.size), ranked, linear, mae(x, y), float((x - y).mean()))


def _correlations(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """SROCC and PLCC; NaN for fewer than `SMALLEST_GROUP` pairs, or where one side is constant."""
    if x.size < SMALLEST_GROUP or not np.ptp(x) or not np.ptp(y):
        return math.nan, math.nan
    return srocc(x, y), plcc(x, y)
