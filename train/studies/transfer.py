"""The study `transfer`: every training set against every test set, which the paper does not have."""

from collections.abc import Sequence

import numpy as np

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.agreement import percentile_bounds, srocc
from artquant_plugin.metrics.repeated_runs import mean_correlations, spread
from artquant_plugin.report.table_cells import Cell, Column, Figure, Table
from artquant_plugin.train.studies.config import StudyDataset
from artquant_plugin.train.studies.figures import matrix_figure
from artquant_plugin.train.studies.outcome import Outcome, Study, scores_of
from artquant_plugin.train.studies.plan import BASE, Grid, Trial

COLUMNS = (
    Column("trained_on", "trained on", words=True, label=True),
    Column("tested_on", "tested on", words=True, label=True),
    Column("srocc", "SROCC", spread=True, bounds="hidden"),
    Column("interval", "95 % interval", bounds="only"),
    Column("paintings", "paintings", narrow=False),
)
NOTE = (
    "± is the standard deviation over seeds; the interval is that of the bootstrap over the test paintings, for the "
    "mean over the seeds. Only ranks are compared, so that the datasets' scales may differ."
)


def _datasets(grid: Grid) -> tuple[StudyDataset, ...]:
    found = grid.config.chosen(grid.config.transfer)
    if len(found) < 2:
        raise ArtQuantError(
            f"study transfer has one dataset, {found[0].name!r}, and compares training sets; name two or more in "
            "transfer.datasets"
        )
    return found


def _trials(grid: Grid, dataset: StudyDataset, datasets: Sequence[StudyDataset]) -> list[Trial]:
    return grid.trials([dataset], [BASE], datasets)


def collect_transfer(grid: Grid) -> Outcome:
    """The matrix of SROCC, its table, and where the test set's own training set is not the best."""
    datasets = _datasets(grid)
    values = np.full((len(datasets), len(datasets)), np.nan)
    rows: list[tuple[Cell, ...]] = []
    left_out = []
    for line, trained in enumerate(datasets):
        trials = _trials(grid, trained, datasets)
        for column, tested in enumerate(datasets):
            predictions, truth, missing = scores_of(trials, grid.test(tested))
            found = spread([srocc(run, truth) for run in predictions])
            draws = mean_correlations(predictions[None], truth)[:, :, 0]
            low, high = percentile_bounds(draws)[:, 0]
            values[line, column] = found.mean
            figure = Figure(found.mean, float(low), float(high), sd=found.sd)
            rows.append((trained.name, tested.name, figure, figure, len(truth)))
            if missing:
                left_out.append(f"{missing} paintings of {tested.name} have no score by runs on {trained.name}.")
    names = [dataset.name for dataset in datasets]
    sentence = _sentence(names, values)
    figure_ = matrix_figure((names, names), values, title=TRANSFER.title, caption=sentence)
    return Outcome((Table("transfer", TRANSFER.title, COLUMNS, rows, notes=(NOTE, *left_out)),), figure_, sentence)


def _sentence(names: Sequence[str], values: np.ndarray) -> str:
    best = [int(np.nanargmax(values[:, column])) for column in range(len(names))]
    own = [names[column] for column, line in enumerate(best) if line == column]
    others = [f"{names[column]} (by {names[line]})" for column, line in enumerate(best) if line != column]
    diagonal = float(np.mean(np.diag(values)))
    away = float(values[~np.eye(len(names), dtype=bool)].mean())
    told = f"Trained and tested on the same dataset, SROCC is {diagonal:.3f} on average, across datasets {away:.3f}; "
    if not others:
        return f"{told}every test set is scored best after training on its own training set, as measured."
    return (
        f"{told}{len(own)} of {len(names)} test sets are scored best after training on their own training set, as "
        f"measured, and not {', '.join(others)}."
    )


def _plan(grid: Grid) -> list[Trial]:
    datasets = _datasets(grid)
    return [trial for dataset in datasets for trial in _trials(grid, dataset, datasets)]


TRANSFER = Study(
    name="transfer",
    title="Every training set against every test set",
    claim="The paper has no such table; it trains and tests on the same dataset.",
    plan=_plan,
    collect=collect_transfer,
)
