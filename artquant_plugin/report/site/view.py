"""An analysis as what the templates print: cells with what they sort by, positions in per cent, classes."""

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from artquant_plugin import __version__
from artquant_plugin.comparison.pairs import Difference
from artquant_plugin.metrics import Metric
from artquant_plugin.report.analysis import Analysis, Breakdown, Evaluation, split_shift
from artquant_plugin.report.board_tables import (
    NONE,
    leaderboard,
    measured_cells,
    ordered,
    p_value,
    pairs_as_table,
    printed_rows,
)
from artquant_plugin.report.boards import Board
from artquant_plugin.report.formats import Table
from artquant_plugin.report.published import Published, dataset_note, full_sources, published, same_method
from artquant_plugin.report.table import number

HEAT_STEPS = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell.

    Args:
        text: shown.
        sort: what its column sorts by; empty for nothing, which comes last.
        style: of the cell: ``num``, ``heat-3``, ...
        title: said in full, for screen readers and pointers; empty when the text says everything.
        whisker: low, value and high in per cent of the column's axis.
        below: a second line, smaller.
    """

    text: str
    sort: str = ""
    style: str = ""
    title: str = ""
    whisker: tuple[float, float, float] | None = None
    below: str = ""


def board_view(analysis: Analysis, slug: str) -> dict[str, Any]:
    """What a dataset's page prints."""
    board = analysis.board
    own, others = printed_rows(analysis)
    evaluations = ordered(analysis.evaluations)
    notes = list(leaderboard(analysis).notes)
    columns, rows = _without_empty(_leaderboard_rows(evaluations, own, others))
    return {
        "slug": slug,
        "dataset": board.dataset,
        "paintings": len(board.ids),
        "missing": board.missing,
        "unpictured": unpictured(board),
        "models": [one.entry.name for one in evaluations],
        "shift": split_shift(board.info),
        "notes": [note for note in notes if note != split_shift(board.info)],
        "columns": columns,
        "rows": rows,
        "published": bool(own or others),
        "matrices": _matrices(analysis, [one.entry.name for one in evaluations]),
        "pairs": None if not analysis.pairs else table_view(pairs_as_table(board.dataset, analysis.pairs)),
        "breakdowns": [
            _breakdown_view(analysis, breakdown, evaluations, caption)
            for breakdown, caption in (
                (analysis.categories, "By category"),
                (analysis.bands, "By human score"),
                (analysis.attributes, "Agreement with single attributes"),
            )
            if breakdown is not None
        ],
        "runs": [_run_view(one) for one in evaluations],
        "info": board.info,
        "license": None if board.info is None else board.info.license,
        "resamples": max((pair.resamples for pair in analysis.pairs), default=0),
    }


def unpictured(board: Board) -> str:
    """Why a page has no pictures; empty when it has some."""
    if board.images:
        return ""
    if board.info is None:
        return (
            "The dataset's folder was not at hand when this page was made: there are no pictures, and no texts of it."
        )
    return "The dataset's image files were not at hand when this page was made: there are no pictures."


COLUMNS = (
    ("model", "Model", "words"),
    ("scored", "Scored", "num"),
    ("failed", "Failed", "num"),
    ("srocc", "SROCC", "num"),
    ("plcc", "PLCC", "num"),
    ("mae", "MAE", "num"),
    ("rmse", "RMSE", "num"),
    ("srocc-published", "SROCC published", "num published"),
    ("plcc-published", "PLCC published", "num published"),
    ("median", "SROCC, failed at median", "num extra"),
    ("median-plcc", "PLCC, failed at median", "num extra"),
    ("logistic", "PLCC after logistic", "num extra"),
    ("accuracy", "Accuracy (majority class)", "num extra"),
)


def _leaderboard_rows(
    evaluations: Sequence[Evaluation], own: dict[str, Published], others: Sequence[Published]
) -> list[dict[str, Any]]:
    low, high = _axis(
        [one.scores.srocc for one in evaluations if one.scores], [one.scores.plcc for one in evaluations if one.scores]
    )
    rows = []
    for one in evaluations:
        cells = measured_cells(one)
        scores = one.scores
        printed = own.get(one.entry.name)
        share = one.accuracy
        rows.append(
            {
                "kind": "measured",
                "cells": [
                    Cell(one.entry.name, one.entry.name.casefold()),
                    _count(0 if scores is None else scores.n),
                    Cell(f"{one.failed:,}", str(one.failed), "num", title=cells[2] if one.failed else ""),
                    _metric(None if scores is None else scores.srocc, low, high),
                    _metric(None if scores is None else scores.plcc, low, high),
                    _figure(None if scores is None or not one.on_scale else scores.mae.value),
                    _figure(None if scores is None or not one.on_scale else scores.rmse.value),
                    _printed(printed, "srocc"),
                    _printed(printed, "plcc"),
                    _figure(one.srocc_all),
                    _figure(one.plcc_all),
                    _figure(None if one.mapped is None else one.mapped.plcc),
                    Cell(NONE, "", "num")
                    if share is None
                    else Cell(
                        f"{100 * share.share:.1f} % ({100 * share.majority:.1f} %)",
                        f"{share.share}",
                        "num",
                        f"{100 * share.share:.1f} % on the right side of {share.threshold:g}; "
                        f"always giving the more frequent side: {100 * share.majority:.1f} %",
                    ),
                ],
            }
        )
    for row in others:
        empty = [Cell(NONE, "", "num") for _ in range(6)]
        line = [Cell(row.method, row.method.casefold(), title=f"{row.reference}; {row.group}"), *empty]
        line += [_printed(row, "srocc"), _printed(row, "plcc"), *(Cell(NONE, "", "num") for _ in range(4))]
        rows.append({"kind": "published", "cells": line})
    return rows


def _without_empty(rows: list[dict[str, Any]]) -> tuple[list[tuple[str, str, str]], list[dict[str, Any]]]:
    """The columns in which something stands, and the rows with their cells alone."""
    kept = [place for place in range(len(COLUMNS)) if any(row["cells"][place].text != NONE for row in rows)]
    slim = [{**row, "cells": [row["cells"][place] for place in kept]} for row in rows]
    return [COLUMNS[place] for place in kept], slim


def table_one(analyses: Sequence[tuple[Analysis, str]]) -> dict[str, Any]:
    """All datasets side by side: measured and published figures per dataset, in columns of their own."""
    rows: dict[str, dict[str, Any]] = {}

    def row_of(name: str, kind: str, printed: Published | None) -> dict[str, Any]:
        row = rows.setdefault(name, {"name": name, "kind": kind, "printed": None, "boards": {}})
        row["printed"] = row["printed"] or printed
        return row

    for analysis, _ in analyses:
        own, _ = printed_rows(analysis)
        for one in ordered(analysis.evaluations):
            name = one.entry.name
            row_of(name, "measured", own.get(name))["boards"][analysis.board.dataset] = (one, own.get(name))
    for analysis, _ in analyses:
        for printed in printed_rows(analysis)[1]:
            # A method that was measured on another dataset has a line already.
            name = next((name for name in rows if same_method(name, printed.method)), printed.method)
            row_of(name, "published", printed)["boards"][analysis.board.dataset] = (None, printed)
    datasets = [(analysis.board.dataset, slug, bool(published(analysis.board.dataset))) for analysis, slug in analyses]
    lines = []
    for row in rows.values():
        cells = [Cell(row["name"], row["name"].casefold())]
        for dataset, _, has_published in datasets:
            one, printed = row["boards"].get(dataset, (None, None))
            scores = None if one is None else one.scores
            cells += [
                _plain(None if scores is None else scores.srocc),
                _plain(None if scores is None else scores.plcc),
            ]
            if has_published:
                cells += [_printed(printed, "srocc"), _printed(printed, "plcc")]
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
            f"{row.method} on {row.dataset}: {row.note}" for row in published(analysis.board.dataset) if row.note
        ]
    return {"datasets": datasets, "rows": lines, "notes": notes, "sources": full_sources() if notes else []}


def made_with(seed: int) -> list[tuple[str, str]]:
    """What made the page."""
    packages = ("numpy", "scipy", "pillow", "jinja2")
    found = [("artquant-plugin", __version__), ("Python", platform.python_version())]
    return [*found, *((name, version(name)) for name in packages), ("seed of the bootstrap", str(seed))]


def table_view(table: Table) -> dict[str, Any]:
    """A plain table for the page."""
    rows = [
        [
            Cell(cell, cell.casefold() if place < table.words else "", "" if place < table.words else "num")
            for place, cell in enumerate(row)
        ]
        for row in table.rows
    ]
    return {"caption": table.title, "header": table.header, "rows": rows, "notes": table.notes, "words": table.words}


def _matrices(analysis: Analysis, names: Sequence[str]) -> list[dict[str, Any]]:
    """For each metric, rows less columns."""
    found: dict[tuple[str, str], Any] = {(pair.a, pair.b): pair for pair in analysis.pairs}
    matrices = []
    for metric in ("srocc", "plcc"):
        rows = []
        for a in names:
            cells = []
            for b in names:
                if a == b:
                    cells.append(Cell("", style="self"))
                    continue
                swapped = (a, b) not in found
                pair = found[b, a] if swapped else found[a, b]
                own: Difference = getattr(pair, metric)
                cells.append(_matrix_cell(a, b, own, pair.n, -1 if swapped else 1))
            rows.append({"name": a, "cells": cells})
        matrices.append({"metric": metric.upper(), "id": metric, "names": list(names), "rows": rows})
    return matrices if len(names) > 1 else []


def _matrix_cell(a: str, b: str, found: Difference, n: int, sign: int) -> Cell:
    if math.isnan(found.value):
        return Cell(NONE, "", "num", f"{a} and {b} cannot be compared")
    value = sign * found.value
    better = "tie" if not found.significant else "better" if value > 0 else "worse"
    low, high = sorted((sign * found.low, sign * found.high))
    said = (
        f"{a} less {b}: {value:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}, p {p_value(found.p_holm)} after "
        f"Holm's correction, {n:,} paintings; {'significant' if found.significant else 'not significant'}"
    )
    text = f"{value:+.3f}".replace("-", "−") + ("*" if found.significant else "")
    return Cell(text, f"{value}", f"num {better}", said)


def _breakdown_view(
    analysis: Analysis, breakdown: Breakdown, evaluations: Sequence[Evaluation], caption: str
) -> dict[str, Any]:
    place_of = {one.entry.name: place for place, one in enumerate(analysis.evaluations)}
    rows = []
    for group, (name, size) in enumerate(zip(breakdown.groups, breakdown.sizes, strict=True)):
        cells = [Cell(name, str(group) if breakdown is analysis.bands else name.casefold()), _count(size)]
        for one in evaluations:
            figures = breakdown.figures[place_of[one.entry.name]][group]
            said = f"{one.entry.name}, {name}: SROCC {number(figures.srocc)}, PLCC {number(figures.plcc)}"
            said += f", {figures.n:,} paintings scored"
            if one.on_scale and not math.isnan(figures.bias):
                said += f", mean error {figures.bias:+.2f}, mean absolute error {figures.mae:.2f}"
            if math.isnan(figures.srocc):
                cells.append(Cell(NONE, "", "num", said))
            else:
                step = min(HEAT_STEPS, max(0, round(figures.srocc * HEAT_STEPS)))
                cells.append(Cell(f"{figures.srocc:.2f}", f"{figures.srocc}", f"num heat heat-{step}", said))
        rows.append(cells)
    return {
        "caption": caption,
        "title": breakdown.title,
        "models": [one.entry.name for one in evaluations],
        "rows": rows,
        "attributes": breakdown is analysis.attributes,
    }


def _run_view(one: Evaluation) -> dict[str, Any]:
    entry, details = one.entry, one.entry.details
    failures = ", ".join(f"{count:,} {reason}" for reason, count in sorted(entry.failures.items()))
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in entry.left_out.items())
    facts = [
        ("File", entry.file.name),
        ("Scored", f"{0 if one.scores is None else one.scores.n:,}"),
        ("Without a score", failures or "none"),
        ("Left out", left_out),
        ("Older runs passed over", f"{entry.older}" if entry.older else ""),
    ]
    prompt = ""
    if details is not None:
        prompt = "" if details.prompt_version == "own" else details.prompt
        facts += [
            ("Harness model", details.model),
            ("Arguments", details.arguments),
            ("Prompt", "the model's own" if details.prompt_version == "own" else details.prompt_version),
            ("Mid-points of ranges", f"{entry.from_range:,}" if entry.from_range else ""),
            ("lmms-eval", details.harness),
            ("Commit of its folder", details.commit),
            ("Date", details.date),
            ("Seconds", details.seconds),
        ]
    return {"name": entry.name, "facts": [(name, text) for name, text in facts if text], "prompt": prompt}


def _axis(*groups: Sequence[Metric]) -> tuple[float, float]:
    """From zero, or the lowest bound when it is lower, to the next tenth above the highest."""
    bounds = [bound for group in groups for metric in group for bound in (metric.low, metric.value, metric.high)]
    finite = [bound for bound in bounds if not math.isnan(bound)]
    if not finite:
        return 0.0, 1.0
    return min(0.0, math.floor(10 * min(finite)) / 10), max(0.1, math.ceil(10 * max(finite)) / 10)


def _metric(metric: Metric | None, low: float, high: float) -> Cell:
    if metric is None or math.isnan(metric.value):
        return Cell(NONE, "", "num")
    bounds = (metric.low, metric.high)
    if math.isnan(metric.low):
        return Cell(number(metric.value), str(metric.value), "num metric")
    percent = tuple(100 * (bound - low) / (high - low) for bound in (metric.low, metric.value, metric.high))
    said = f"95 % interval {bounds[0]:.3f} to {bounds[1]:.3f}"
    whisker = (percent[0], percent[1], percent[2])
    return Cell(
        number(metric.value), str(metric.value), "num metric", said, whisker, f"{bounds[0]:.3f} – {bounds[1]:.3f}"
    )


def _plain(metric: Metric | None) -> Cell:
    if metric is None or math.isnan(metric.value):
        return Cell(NONE, "", "num")
    said = "" if math.isnan(metric.low) else f"95 % interval {metric.low:.3f} to {metric.high:.3f}"
    below = "" if math.isnan(metric.low) else f"{metric.low:.3f} – {metric.high:.3f}"
    return Cell(number(metric.value), str(metric.value), "num", said, below=below)


def _printed(row: Published | None, metric: str) -> Cell:
    if row is None:
        return Cell(NONE, "", "num published")
    value = row.srocc if metric == "srocc" else row.plcc
    return Cell(f"{value:.3f}" + (" *" if row.note else ""), str(value), "num published", row.note)


def _figure(value: float | None) -> Cell:
    return Cell(NONE, "", "num") if value is None or math.isnan(value) else Cell(number(value), str(value), "num")


def _count(value: int) -> Cell:
    return Cell(f"{value:,}", str(value), "num")
