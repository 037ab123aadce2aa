"""An evaluation during training: scores of the engine that users score with, over all processes, and their metrics."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from accelerate.utils import gather_object

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import ImageError
from artquant_plugin.metrics.agreement import plcc, srocc
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.data import ScoredPainting, image_source


def score_paintings(
    scorer: ArtQuantScorer,
    paintings: Sequence[ScoredPainting],
    leave_out: Callable[[str, str], None] | None,
    *,
    rank: int,
    processes: int,
) -> np.ndarray:
    """Score and level mass of each painting; the processes share the work, and each of them gets all of them.

    Args:
        scorer: Scores with the model as it is now, made with `level_mass`.
        paintings: The n paintings, the same ones in every process.
        leave_out: Called with the name of a painting whose image cannot be read, and why; None has such an image end
            the evaluation.
        rank: Number of this process, from 0.
        processes: Number of processes that share the paintings. With 1, this process scores all of them, as it has to
            where the processes share one model.

    Returns:
        Shape (n, 2), float64: the score in the unit of the levels' values, and the probability that the level words
        have together among all tokens; NaN for a painting that was left out.

    Raises:
        ArtQuantError: An image cannot be read and is not to be left out, or the model gives no finite logits.
    """
    own = []
    chosen = paintings[rank::processes]
    results = scorer.score_each(image_source(painting.image) for painting in chosen)
    for painting, result in zip(chosen, results, strict=True):
        if isinstance(result, ImageError) and leave_out is not None:
            leave_out(f"validation {painting.name}", str(result))
            own.append((math.nan, math.nan))
        elif isinstance(result, ArtQuantError):
            raise result
        else:
            own.append((result.score, math.nan if result.level_mass is None else result.level_mass))
    scores = np.empty((len(paintings), 2))
    for other, found in enumerate([own] if processes == 1 else gather_object([own])):
        scores[other::processes] = np.reshape(found, (-1, 2))  # of a process without paintings, too
    return scores


def agreement_metrics(scores: np.ndarray, paintings: Sequence[ScoredPainting], prefix: str) -> dict[str, float]:
    """How far the scores agree with people, and how probable the level words are.

    Args:
        scores: Score and level mass of each painting, shape (n, 2), as `score_paintings` gives them.
        paintings: The n paintings with their true scores.
        prefix: Beginning of the metrics' names, without the underscore.

    Returns:
        ``PREFIX_srocc`` and ``PREFIX_plcc`` in [-1, 1], and ``PREFIX_level_mass`` in [0, 1], over the paintings that
        have a score; NaN where they are not defined.
    """
    known = ~np.isnan(scores[:, 0])
    predictions, masses = scores[known].T
    truths = np.array([painting.score for painting in paintings])[known]
    return {
        f"{prefix}_srocc": srocc(predictions, truths),
        f"{prefix}_plcc": plcc(predictions, truths),
        f"{prefix}_level_mass": float(masses.mean()) if known.any() else math.nan,
    }
