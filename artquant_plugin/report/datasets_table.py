"""The table of all datasets: models as rows, for each dataset SROCC and PLCC, as Table 1 of the ArtQuant paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from artquant_plugin.metrics.agreement import FEWEST, Agreement
from artquant_plugin.report.results_table import figure
from artquant_plugin.report.table_cells import Cell, Column, Table, ranks

METRICS = ("srocc", "plcc")


@dataclass(frozen=True, slots=True)
class ModelResult:
    """The result of a model on a dataset.

    Args:
        dataset: name of the dataset, such as ``baid``.
        model: name of the model, unique on the dataset.
        agreement: metrics over the paintings that the model scored; None where it scored none.
    """

    dataset: str
    model: str
    agreement: Agreement | None


def datasets_table(results: Sequence[ModelResult]) -> Table:
    """The models as rows, those on most datasets first, then by the mean of their SROCC; the best on top.

    The best and the second best figure of each column are marked. Figures of fewer than `FEWEST` paintings take no
    part in that. A model without a result on a dataset has a dash there.

    Args:
        results: the results, at least one.
    """
    datasets = sorted({result.dataset for result in results})
    found = {(result.model, result.dataset): result.agreement for result in results if result.agreement is not None}
    models = sorted({result.model for result in results}, key=lambda model: _order(model, datasets, found))
    columns = [Column("model", "model", words=True, label=True)]
    cells: list[list[Cell]] = [[model] for model in models]
    for dataset in datasets:
        for metric in METRICS:
            columns.append(Column(metric, metric.upper(), group=dataset, bounds="hidden", ranked=True))
            own = [found.get((model, dataset)) for model in models]
            places = ranks([getattr(a, metric).value if a is not None and not a.too_few else math.nan for a in own])
            for row, agreement, rank in zip(cells, own, places, strict=True):
                row.append(
                    None
                    if agreement is None
                    else replace(figure(getattr(agreement, metric), too_few=agreement.too_few), rank=rank)
                )
    return Table(
        name="datasets",
        title="SROCC and PLCC on all datasets",
        columns=tuple(columns),
        rows=[tuple(row) for row in cells],
        notes=tuple(_notes(datasets, found)),
    )


def _order(model: str, datasets: Sequence[str], found: dict[tuple[str, str], Agreement]) -> tuple[int, float, str]:
    values = [found[model, dataset].srocc.value for dataset in datasets if (model, dataset) in found]
    known = [value for value in values if not math.isnan(value)]
    return -len(known), -sum(known) / len(known) if known else math.inf, model


def _notes(datasets: Sequence[str], found: dict[tuple[str, str], Agreement]) -> list[str]:
    notes = []
    if len({model for model, _ in found}) > 1:
        notes.append("The best figure of a column is bold and the second best underlined.")
    for dataset in datasets:
        counts = {model: agreement.n for (model, own), agreement in found.items() if own == dataset}
        if len(set(counts.values())) > 1:
            few, many = min(counts.values()), max(counts.values())
            notes.append(f"{dataset}: each figure is over the paintings that its model scored, {few:,} to {many:,}.")
        if any(count < FEWEST for count in counts.values()):
            notes.append(f"{dataset}: figures of fewer than {FEWEST} paintings are not ranked.")
    return notes
