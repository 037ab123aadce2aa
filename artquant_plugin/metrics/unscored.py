"""Paintings that a model gave no score: the correlation when they count against the model."""

import statistics
from collections.abc import Sequence


def at_median(predictions: Sequence[float | None]) -> list[float]:
    """Replace missing predictions by the median of the model's other predictions (median imputation).

    A correlation over the scored paintings alone rewards a model that leaves out the difficult ones. The median says
    nothing about a painting, so a painting without a score counts as one about which the model knows nothing.

    Args:
        predictions: the model's n predicted scores, None where it gave none.

    Returns:
        The n scores in the same order; an empty list when no prediction is there at all.

    Example:
        >>> at_median([1.0, None, 3.0, 8.0])
        [1.0, 3.0, 3.0, 8.0]
    """
    known = [prediction for prediction in predictions if prediction is not None]
    if not known:
        return []
    median = statistics.median(known)
    return [median if prediction is None else prediction for prediction in predictions]
