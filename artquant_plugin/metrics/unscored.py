"""Paintings that a model gave no score: how many, why, and what the correlation is when they count against it."""

import statistics
from collections.abc import Sequence


def at_median(predictions: Sequence[float | None]) -> list[float]:
    """Predictions with the model's own median in the place of those that are missing.

    A correlation over the scored paintings alone rewards a model that passes over the difficult ones. The median says
    nothing about a painting, so that each one without a score costs what knowing nothing costs.

    Args:
        predictions: n scores, None where there is none.

    Returns:
        n scores; empty when there is no score at all.

    Example:
        >>> at_median([1.0, None, 3.0, 8.0])
        [1.0, 3.0, 3.0, 8.0]
    """
    known = [prediction for prediction in predictions if prediction is not None]
    if not known:
        return []
    median = statistics.median(known)
    return [median if prediction is None else prediction for prediction in predictions]
