"""What a study is, and what comes of it: a table, a figure, and one sentence about the paper's claim."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.predictions import read_predictions, read_truth
from artquant_plugin.report.table_cells import Table
from artquant_plugin.train.studies.plan import Grid, ScoredSplit, Trial

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a study found.

    Args:
        tables: The tables, at least one; the first one's name is that of the study.
        figure: The figure, with the paper's axes.
        sentence: Whether the paper's claim holds on this data, as measured, with the figures that say so.
    """

    tables: tuple[Table, ...]
    figure: Figure
    sentence: str


@dataclass(frozen=True, slots=True)
class Study:
    """One of the paper's experiments.

    Args:
        name: Word by which the command line and the folder know it.
        title: One line about what it measures.
        claim: What the paper says, as a whole sentence.
        plan: Makes the trials of a grid; those that other studies have as well are carried out once.
        collect: Makes the outcome, when all trials of the plan are finished.
    """

    name: str
    title: str
    claim: str
    plan: Callable[[Grid], list[Trial]]
    collect: Callable[[Grid], Outcome]


def scores_of(trials: Sequence[Trial], test: ScoredSplit) -> tuple[FloatArray, FloatArray, int]:
    """What several trials scored, on the paintings to which all of them gave a score.

    Args:
        trials: S finished trials that scored the test set.
        test: The test set, which all of the trials scored.

    Returns:
        Predictions of shape (S, n) and human scores of shape (n,), sorted by the paintings' names, and the number of
        paintings that are left out because a trial gave no score.

    Raises:
        ArtQuantError: There is no painting that all trials scored, or the scores cannot be read.
    """
    truth = read_truth(f"{test.folder}:{test.split}").scores
    found = [read_predictions(trial.scores(test)).values for trial in trials]
    names = sorted(name for name in truth if all(name in values for values in found))
    if not names:
        raise ArtQuantError(
            f"no painting of '{test.folder}' was scored by all of {len(trials)} runs; look at the reasons in "
            f"'{trials[0].scores(test)}'"
        )
    predictions = np.array([[values[name] for name in names] for values in found])
    return predictions, np.array([truth[name] for name in names]), len(truth) - len(names)
