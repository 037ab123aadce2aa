"""The studies of Figure 4: `sufficiency` (length of descriptions) and `generation` (progress of the first stage)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artquant_plugin.common.run_record import read_record
from artquant_plugin.metrics.agreement import plcc, srocc
from artquant_plugin.metrics.repeated_runs import Line, Spread, fit_line, mean_correlations, spread
from artquant_plugin.report.table_cells import Cell, Column, Figure, Table
from artquant_plugin.train.studies.config import StudyDataset
from artquant_plugin.train.studies.figures import MeasuredCurve, curves_figure
from artquant_plugin.train.studies.outcome import Outcome, Study, scores_of
from artquant_plugin.train.studies.plan import (
    BASE,
    Grid,
    Trial,
    Variant,
    described_stages,
    score_stages,
    stages_override,
)

FloatArray = NDArray[np.float64]

NOTE = (
    "± is the standard deviation over seeds. The line is fitted to the means over seeds; its interval is that of the "
    "bootstrap over the test paintings."
)
POINTS = (
    Column("dataset", "dataset", words=True, label=True),
    Column("percent", "percent", label=True),
    Column("srocc", "SROCC", spread=True),
    Column("plcc", "PLCC", spread=True),
    Column("agreement", "mean of both", spread=True),
)
LOSS = Column("loss", "generation loss, nats per token", "generation loss", spread=True)
LINES = (
    Column("dataset", "dataset", words=True, label=True),
    Column("slope", "slope [95 %]", form="+.4f", bounds="shown"),
    Column("r", "r", form="+.2f"),
)


@dataclass(frozen=True, slots=True)
class PointsOfDataset:
    """The points of a study on one dataset, measured.

    Args:
        dataset: The dataset that was trained on and is tested.
        percents: The place of each point.
        srocc: SROCC of each point over the seeds.
        plcc: PLCC of each point over the seeds.
        agreement: Mean of both of each point over the seeds.
        draws: Mean of both over the seeds in R resamples of the paintings; shape (R, points).
        left_out: Number of paintings that are left out because a run gave them no score.
    """

    dataset: StudyDataset
    percents: Sequence[int]
    srocc: Sequence[Spread]
    plcc: Sequence[Spread]
    agreement: Sequence[Spread]
    draws: FloatArray
    left_out: int


def length_variant(percent: int) -> Variant:
    """Training on the beginnings of the descriptions.

    Args:
        percent: Share of the words that is kept, from 1 to 100; at 100 the run is the dataset's own.
    """
    return BASE if percent == 100 else Variant(f"length-{percent}", length=percent)


def progress_variant(grid: Grid, dataset: StudyDataset, percent: int) -> Variant:
    """A first stage of descriptions alone that ends early, and the score stages after it.

    Args:
        grid: The grid whose training configurations name the stages.
        dataset: The dataset that is trained on.
        percent: Share of the first stage's epochs, from 1 to 100.
    """
    base = grid.base(dataset)
    described = [
        stage.model_copy(update={"samples": ("describe",), "epochs": stage.epochs * percent / 100})
        for stage in described_stages(base, dataset, "generation")
    ]
    # Without the score loss, the validation split tells nothing about the weights: the last ones are kept.
    first = (stages_override(described), "train.keep=last", "train.eval_strategy='no'")
    second = (stages_override(score_stages(base, dataset, "generation")),)
    return Variant(f"progress-{percent}", overrides=second, first=first)


def _sufficiency_trials(grid: Grid, dataset: StudyDataset) -> list[Trial]:
    described_stages(grid.base(dataset), dataset, "sufficiency")
    return grid.trials([dataset], [length_variant(percent) for percent in grid.config.sufficiency.lengths])


def _generation_trials(grid: Grid, dataset: StudyDataset) -> list[Trial]:
    progress = grid.config.generation.progress
    return grid.trials([dataset], [progress_variant(grid, dataset, percent) for percent in progress])


def measured_points(
    grid: Grid, dataset: StudyDataset, trials: Sequence[Trial], percents: Sequence[int]
) -> PointsOfDataset:
    """The agreement of each point's runs with people.

    Args:
        grid: The grid whose trials are finished.
        dataset: The dataset that was trained on and is tested.
        trials: Trials of each point and seed, the seeds of a point together.
        percents: The place of each point.
    """
    seeds = len(grid.config.seeds)
    predictions, truth, left_out = scores_of(trials, grid.test(dataset))
    runs = predictions.reshape(len(percents), seeds, -1)
    ranked = [[srocc(run, truth) for run in point] for point in runs]
    linear = [[plcc(run, truth) for run in point] for point in runs]
    both = [[(a + b) / 2 for a, b in zip(*pair, strict=True)] for pair in zip(ranked, linear, strict=True)]
    return PointsOfDataset(
        dataset=dataset,
        percents=percents,
        srocc=list(map(spread, ranked)),
        plcc=list(map(spread, linear)),
        agreement=list(map(spread, both)),
        draws=mean_correlations(runs, truth).mean(axis=2),
        left_out=left_out,
    )


def collect_sufficiency(grid: Grid) -> Outcome:
    """Figure 4, left."""
    percents = grid.config.sufficiency.lengths
    points, lines, parts = [], [], []
    for dataset in grid.config.chosen(grid.config.sufficiency):
        found = measured_points(grid, dataset, _sufficiency_trials(grid, dataset), percents)
        line = fit_line(percents, [each.mean for each in found.agreement], found.draws)
        points.append(found)
        lines.append((dataset.name, line))
        parts.append(
            f"On {dataset.name} the claim that longer descriptions raise the agreement with people "
            f"{_line_verdict(line, 1)} as measured: from {found.agreement[0].mean:.3f} at {percents[0]} % to "
            f"{found.agreement[-1].mean:.3f} at {percents[-1]} %, {_line_text(line, '10 % of length', 10)}."
        )
    sentence = " ".join(parts)
    figure = curves_figure(
        [MeasuredCurve(each.dataset.name, each.percents, each.agreement) for each in points],
        title=SUFFICIENCY.title,
        caption=sentence,
        x_label="length of the descriptions, % of their words",
    )
    return Outcome((_points_table(SUFFICIENCY, points), _lines_table(SUFFICIENCY, lines, "percent")), figure, sentence)


def collect_generation(grid: Grid) -> Outcome:
    """Figure 4, right."""
    percents = grid.config.generation.progress
    points, losses, lines, parts = [], [], [], []
    for dataset in grid.config.chosen(grid.config.generation):
        trials = _generation_trials(grid, dataset)
        found = measured_points(grid, dataset, trials, percents)
        each_loss = np.reshape([_loss(trial) for trial in trials], (len(percents), -1))
        loss = [spread(row.tolist()) for row in each_loss]
        line = fit_line([each.mean for each in loss], [each.mean for each in found.agreement], found.draws)
        points.append(found)
        losses.append(loss)
        lines.append((dataset.name, line))
        parts.append(
            f"On {dataset.name} the claim that a lower generation loss goes with a higher agreement with people "
            f"{_line_verdict(line, -1)} as measured: the loss is {loss[0].mean:.3f} nats per token at {percents[0]} % "
            f"and {loss[-1].mean:.3f} at {percents[-1]} %, the agreement {found.agreement[0].mean:.3f} and "
            f"{found.agreement[-1].mean:.3f}, {_line_text(line, 'nat of loss', 1)}."
        )
    sentence = " ".join(parts)
    figure = curves_figure(
        [
            MeasuredCurve(each.dataset.name, each.percents, each.agreement, loss)
            for each, loss in zip(points, losses, strict=True)
        ],
        title=GENERATION.title,
        caption=sentence,
        x_label="progress of the first stage, % of its epochs",
    )
    tables = (_points_table(GENERATION, points, losses), _lines_table(GENERATION, lines, "nat of generation loss"))
    return Outcome(tables, figure, sentence)


def _loss(trial: Trial) -> float:
    record = read_record(trial.description_loss, kind="record of a loss", fields=("nats_per_token",)) or {}
    return float(record["nats_per_token"])


def _line_verdict(line: Line, sign: int) -> str:
    if not sign * line.slope > 0:
        return "does not hold"
    beyond = line.low > 0 if sign > 0 else line.high < 0
    return "holds" if beyond else "holds in its direction, but not beyond chance (the slope's interval contains 0)"


def _line_text(line: Line, unit: str, factor: float) -> str:
    r = "undefined" if math.isnan(line.r) else f"{line.r:+.2f}"
    low, high = factor * line.low, factor * line.high
    return f"{factor * line.slope:+.4f} [{low:+.4f}, {high:+.4f}] per {unit}, r {r}"


def _points_table(
    study: Study, points: Sequence[PointsOfDataset], losses: Sequence[Sequence[Spread]] | None = None
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for number, found in enumerate(points):
        for place, percent in enumerate(found.percents):
            spreads = [found.srocc[place], found.plcc[place], found.agreement[place]]
            spreads += [] if losses is None else [losses[number][place]]
            cells = [Figure(each.mean, sd=each.sd) for each in spreads]
            rows.append((found.dataset.name, percent, *cells))
    columns = POINTS if losses is None else (*POINTS, LOSS)
    left_out = [
        f"{each.left_out} paintings of {each.dataset.name} are left out, because a run gave them no score."
        for each in points
        if each.left_out
    ]
    return Table(study.name, study.title, columns, rows, notes=(NOTE, *left_out))


def _lines_table(study: Study, lines: Sequence[tuple[str, Line]], unit: str) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, Figure(line.slope, line.low, line.high), Figure(line.r)) for name, line in lines
    ]
    return Table(f"{study.name}-line", f"The line: change of the mean of SROCC and PLCC per {unit}", LINES, rows)


SUFFICIENCY = Study(
    name="sufficiency",
    title="The length of descriptions (Figure 4, left)",
    claim="The mean of SROCC and PLCC rises nearly linearly with the length of the descriptions, from 0.49 at 10 % to "
    "0.69 at 100 %, r = 0.92.",
    plan=lambda grid: [
        trial
        for dataset in grid.config.chosen(grid.config.sufficiency)
        for trial in _sufficiency_trials(grid, dataset)
    ],
    collect=collect_sufficiency,
)
GENERATION = Study(
    name="generation",
    title="Generation loss after a first stage without scores (Figure 4, right)",
    claim="As the first stage goes on without the score loss, the generation loss falls and the mean of SROCC and "
    "PLCC after the second stage rises from 0.62 to 0.65, r = -0.99 between the two.",
    plan=lambda grid: [
        trial for dataset in grid.config.chosen(grid.config.generation) for trial in _generation_trials(grid, dataset)
    ],
    collect=collect_generation,
)
