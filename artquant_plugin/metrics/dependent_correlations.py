"""Two dependent Pearson correlations that share a variable: Steiger's Z and Zou's interval, in closed form (scipy)."""

import math

from scipy.stats import norm

from artquant_plugin.metrics.agreement import CONFIDENCE


def steiger_z(r_truth_a: float, r_truth_b: float, r_a_b: float, n: int) -> tuple[float, float]:
    """Steiger's test of the hypothesis that two models correlate equally with the same truth.

    It uses the pooled correlation, the mean of both, under that hypothesis.

    Args:
        r_truth_a: Pearson correlation of model a's scores with the human scores, in [-1, 1].
        r_truth_b: Pearson correlation of model b's scores with the human scores, in [-1, 1].
        r_a_b: Pearson correlation of the two models' scores with each other, in [-1, 1].
        n: number of images that all three correlations are over.

    Returns:
        Z, positive where model a correlates better, and its two-sided p. Both are NaN when n is below 4, when a
        correlation is 1, -1 or NaN, or when the three correlations leave the difference no variance.

    Source:
        Steiger 1980, "Tests for comparing elements of a correlation matrix", Psychological Bulletin 87, Eqs. 10, 14.

    Example:
        >>> z, p = steiger_z(0.3, 0.4, 0.5, 100)
        >>> round(z, 4), round(p, 4)
        (-1.0718, 0.2838)
    """
    if n < 4 or not (abs(r_truth_a) < 1 and abs(r_truth_b) < 1 and abs(r_a_b) < 1):
        return math.nan, math.nan
    pooled = ((r_truth_a + r_truth_b) / 2) ** 2
    covariance = r_a_b * (1 - 2 * pooled) - pooled * (1 - 2 * pooled - r_a_b**2) / 2
    spread = 2 - 2 * covariance / (1 - pooled) ** 2
    if spread <= 0:
        return math.nan, math.nan
    z = (math.atanh(r_truth_a) - math.atanh(r_truth_b)) * math.sqrt((n - 3) / spread)
    return z, float(2 * norm.sf(abs(z)))


def zou_interval(
    r_truth_a: float, r_truth_b: float, r_a_b: float, n: int, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Zou's confidence interval of the difference r_truth_a - r_truth_b.

    Args:
        r_truth_a: Pearson correlation of model a's scores with the human scores, in [-1, 1].
        r_truth_b: Pearson correlation of model b's scores with the human scores, in [-1, 1].
        r_a_b: Pearson correlation of the two models' scores with each other, in [-1, 1].
        n: number of images that all three correlations are over.
        confidence: the share of samples whose interval holds the true difference, in (0, 1).

    Returns:
        Lower and upper bound. Both are NaN when n is below 4, or when a correlation is 1, -1 or NaN.

    Source:
        Zou 2007, "Toward using confidence intervals to compare correlations", Psychological Methods 12, pp. 406-409.

    Example:
        >>> low, high = zou_interval(0.396, 0.179, 0.088, 66)
        >>> round(low, 3), round(high, 3)
        (-0.093, 0.517)
    """
    a, b = r_truth_a, r_truth_b
    if n < 4 or not (abs(a) < 1 and abs(b) < 1 and abs(r_a_b) < 1):
        return math.nan, math.nan
    half = float(norm.ppf((1 + confidence) / 2)) / math.sqrt(n - 3)
    below_a, above_a = a - math.tanh(math.atanh(a) - half), math.tanh(math.atanh(a) + half) - a
    below_b, above_b = b - math.tanh(math.atanh(b) - half), math.tanh(math.atanh(b) + half) - b
    shared = (r_a_b - a * b / 2) * (1 - a**2 - b**2 - r_a_b**2) + r_a_b**3
    shared /= (1 - a**2) * (1 - b**2)
    down = below_a**2 + above_b**2 - 2 * shared * below_a * above_b
    up = above_a**2 + below_b**2 - 2 * shared * above_a * below_b
    # For models that are almost the same, rounding may make these squares slightly negative.
    return a - b - math.sqrt(max(down, 0.0)), a - b + math.sqrt(max(up, 0.0))
