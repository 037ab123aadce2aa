"""The table of all datasets on the first page, laid out as Table 1 of the ArtQuant paper."""

from collections.abc import Sequence
from typing import Any

from artquant_plugin.report.analysis import Analysis
from artquant_plugin.report.board_tables import ordered, published_rows
from artquant_plugin.report.published_figures import (
    PublishedFigures,
    dataset_note,
    full_sources,
    published_figures,
    same_method,
)
from artquant_plugin.report.site.page_cells import Cell, plain_cell, published_cell
from artquant_plugin.report.table_cells import NONE


def table_one(analyses: Sequence[tuple[Analysis, str]]) -> dict[str, Any]:
    """All datasets side by side: measured and published figures per dataset, in columns of their own.

    Args:
        analyses: the figures of each board, and the name of its page without the ending.

    Returns:
        What the template prints: the datasets, the rows with their cells, and notes and sources of published figures.
    """
    rows: dict[str, dict[str, Any]] = {}

    def row_of(name: str, kind: str, printed: PublishedFigures | None) -> dict[str, Any]:
        row = rows.setdefault(name, {"name": name, "kind": kind, "printed": None, "boards": {}})
        row["printed"] = row["printed"] or printed
        return row

    for analysis, _ in analyses:
        own, _ = published_rows(analysis)
        for evaluation in ordered(analysis.evaluations):
            name = evaluation.model.name
            row_of(name, "measured", own.get(name))["boards"][analysis.board.dataset] = (evaluation, own.get(name))
    for analysis, _ in analyses:
        for printed in published_rows(analysis)[1]:
            # A method that was measured on another dataset has a row already.
            name = next((name for name in rows if same_method(name, printed.method)), printed.method)
            row_of(name, "published", printed)["boards"][analysis.board.dataset] = (None, printed)
    datasets = [
        (analysis.board.dataset, slug, bool(published_figures(analysis.board.dataset))) for analysis, slug in analyses
    ]
    lines = []
    for row in rows.values():
        cells = [Cell(row["name"], row["name"].casefold())]
        for dataset, _, has_published in datasets:
            evaluation, printed = row["boards"].get(dataset, (None, None))
            agreement = None if evaluation is None else evaluation.agreement
            too_few = agreement is not None and agreement.too_few
            cells += [
                plain_cell(None if agreement is None else agreement.srocc, too_few=too_few),
                plain_cell(None if agreement is None else agreement.plcc, too_few=too_few),
            ]
            if has_published:
                cells += [published_cell(printed, "srocc"), published_cell(printed, "plcc")]
        printed = row["printed"]
        if not any(has for _, _, has in datasets):
            lines.append({"kind": row["kind"], "cells": cells})
            continue
        cells.append(Cell(NONE if printed is None or printed.epochs is None else printed.epochs, "", "words"))
        cells.append(Cell(NONE if printed is None else printed.modality, "", "words"))
        lines.append({"kind": row["kind"], "cells": cells})
    notes = [f"{dataset}: {dataset_note(dataset)}" for dataset, _, has in datasets if has and dataset_note(dataset)]
    for analysis, _ in analyses:
        notes += [
            f"{row.method} on {row.dataset}: {row.note}"
            for row in published_figures(analysis.board.dataset)
            if row.note
        ]
    return {"datasets": datasets, "rows": lines, "notes": notes, "sources": full_sources() if notes else []}
