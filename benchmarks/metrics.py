"""Speed of SROCC's bootstrap intervals: one sort and integer counts per resample, against a loop over scipy.

Prints one line per number of pairs: the seconds of both, their ratio, and the largest difference of their results on
the same resamples.
"""

import argparse
import time

import numpy as np
from scipy.stats import spearmanr

from artquant_plugin.metrics.agreement import bootstrap_agreement


def main() -> None:
    """Measure each number of pairs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 6400])
    parser.add_argument("--resamples", type=int, default=2000)
    args = parser.parse_args()
    print(f"{'pairs':>7} {'resamples':>10} {'ours s':>8} {'scipy s':>8} {'ratio':>6}  largest difference")
    for pairs in args.pairs:
        rng = np.random.default_rng(0)
        prediction = rng.normal(size=pairs)
        truth = (0.5 * prediction + rng.normal(size=pairs)).round(2)
        bootstrap_agreement(prediction, truth, resamples=10, seed=1)
        started = time.perf_counter()
        ours = bootstrap_agreement(prediction, truth, resamples=args.resamples, seed=1)[:, 0]
        ours_seconds = time.perf_counter() - started
        started = time.perf_counter()
        theirs = list(by_scipy(prediction, truth, args.resamples))
        theirs_seconds = time.perf_counter() - started
        difference = np.abs(ours - theirs).max()
        print(
            f"{pairs:>7,} {args.resamples:>10,} {ours_seconds:>8.2f} {theirs_seconds:>8.2f} "
            f"{theirs_seconds / ours_seconds:>6.1f}  {difference:.1e}"
        )


def by_scipy(prediction, truth, resamples):
    """Compute SROCC of the resamples that `bootstrap` draws, each by `scipy.stats.spearmanr`."""
    order = np.argsort(prediction, kind="stable")
    prediction, truth = prediction[order], truth[order]
    rng = np.random.default_rng(1)
    for start in range(0, resamples, 128):
        size = (min(128, resamples - start), len(truth))
        for images in rng.integers(0, len(truth), size=size, dtype=np.int32):
            yield spearmanr(prediction[images], truth[images]).statistic


if __name__ == "__main__":
    main()
