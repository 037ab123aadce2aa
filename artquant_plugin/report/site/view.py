"""Turns an analysis into what the templates print: cells with sort values, CSS classes and positions in per cent."""

import math
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from artquant_plugin import __version__
from artquant_plugin.metrics.agreement import FEWEST
from artquant_plugin.metrics.pairwise_comparisons import Difference
from artquant_plugin.report.analysis import Analysis, Breakdown, Evaluation, split_shift
from artquant_plugin.report.board_tables import (
    comparisons_table,
    how_compared,
    leaderboard,
    model_cautions,
    ordered,
    p_value,
    published_rows,
)
from artquant_plugin.report.boards import Board
from artquant_plugin.report.human_ceiling import HumanFigures, human_figures
from artquant_plugin.report.published_figures import PublishedFigures
from artquant_plugin.report.results_table import number
from artquant_plugin.report.site.page_cells import Cell, axis, count_cell, figure_cell, metric_cell, published_cell
from artquant_plugin.report.table_cells import NONE, Count, Table, cell_text
from artquant_plugin.report.task_runs import OWN_PROMPT

HEAT_STEPS = 10  # shades of a cell's background, from an SROCC of 0 to 1


def board_view(analysis: Analysis, slug: str) -> dict[str, Any]:
    """What the template prints on a dataset's page.

    Args:
        analysis: the figures of the dataset's board.
        slug: name of the page without the ending.
    """
    board = analysis.board
    own, others = published_rows(analysis)
    evaluations = ordered(analysis.evaluations)
    notes = leaderboard(analysis).all_notes
    columns, rows = _without_empty_columns(_leaderboard_rows(evaluations, own, others, human_figures(board.info)))
    return {
        "slug": slug,
        "dataset": board.dataset,
        "paintings": len(board.ids),
        "missing": board.missing,
        "unpictured": unpictured(board),
        "models": [evaluation.model.name for evaluation in evaluations],
        "shift": split_shift(board.info),
        "notes": [note for note in notes if note != split_shift(board.info)],
        "columns": columns,
        "rows": rows,
        "published": bool(own or others),
        "matrices": _matrices(analysis, [evaluation.model.name for evaluation in evaluations]),
        "pairs": None
        if not analysis.comparisons
        else table_view(comparisons_table(board.dataset, analysis.comparisons, model_cautions(analysis))),
        "breakdowns": [
            _breakdown_view(analysis, breakdown, evaluations, caption)
            for breakdown, caption in (
                (analysis.categories, "By category"),
                (analysis.bands, "By human score"),
                (analysis.attributes, "Agreement with single attributes"),
            )
            if breakdown is not None
        ],
        "runs": [_run_view(evaluation) for evaluation in evaluations],
        "info": board.info,
        "license": None if board.info is None else board.info.license,
        "how_compared": how_compared(analysis.comparisons),
    }


def unpictured(board: Board) -> str:
    """A sentence that says why a page has no pictures; empty when it has some."""
    if board.images:
        return ""
    if board.info is None:
        return (
            "The dataset was not imported where this page was made: there are no pictures, and no texts of it. "
            "`artquant data import` imports it, and --images names a folder with pictures alone."
        )
    return "The dataset's image files were not in its image folder when this page was made: there are no pictures."


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
    ("accuracy", "Accuracy, majority class", "num extra"),
)
SROCC, PLCC = 3, 4  # places of these columns


def _leaderboard_rows(
    evaluations: Sequence[Evaluation],
    own: dict[str, PublishedFigures],
    others: Sequence[PublishedFigures],
    people: Sequence[HumanFigures],
) -> list[dict[str, Any]]:
    low, high = axis(
        [evaluation.agreement.srocc for evaluation in evaluations if evaluation.agreement],
        [evaluation.agreement.plcc for evaluation in evaluations if evaluation.agreement],
    )
    rows = []
    for evaluation in evaluations:
        agreement = evaluation.agreement
        too_few = agreement is not None and agreement.too_few
        printed = own.get(evaluation.model.name)
        accuracy = evaluation.accuracy
        rows.append(
            {
                "kind": "measured",
                "cells": [
                    Cell(evaluation.model.name, evaluation.model.name.casefold()),
                    count_cell(0 if agreement is None else agreement.n),
                    Cell(
                        f"{evaluation.failed:,}",
                        str(evaluation.failed),
                        "num",
                        title=_failed(evaluation) if evaluation.failed else "",
                    ),
                    metric_cell(None if agreement is None else agreement.srocc, low, high, too_few=too_few),
                    metric_cell(None if agreement is None else agreement.plcc, low, high, too_few=too_few),
                    figure_cell(None if agreement is None or not evaluation.on_scale else agreement.mae.value),
                    figure_cell(None if agreement is None or not evaluation.on_scale else agreement.rmse.value),
                    published_cell(printed, "srocc"),
                    published_cell(printed, "plcc"),
                    figure_cell(evaluation.srocc_all),
                    figure_cell(evaluation.plcc_all),
                    figure_cell(None if evaluation.logistic_fit is None else evaluation.logistic_fit.plcc),
                    Cell(NONE, "", "num")
                    if accuracy is None
                    else Cell(
                        f"{100 * accuracy.share:.1f} %",
                        f"{accuracy.share}",
                        "num",
                        f"{100 * accuracy.share:.1f} % on the right side of {accuracy.threshold:g}; "
                        f"always giving the more frequent side: {100 * accuracy.majority:.1f} %",
                        below=f"majority {100 * accuracy.majority:.1f} %",
                    ),
                ],
            }
        )
    for human in people:
        line = [Cell(human.name, human.name), *(Cell(NONE, "", "num") for _ in COLUMNS[1:])]
        line[SROCC], line[PLCC] = figure_cell(human.srocc), figure_cell(human.plcc)
        rows.append({"kind": "human", "cells": line})
    for row in others:
        empty = [Cell(NONE, "", "num") for _ in range(6)]
        line = [Cell(row.method, row.method.casefold(), title=f"{row.reference}; {row.group}"), *empty]
        line += [published_cell(row, "srocc"), published_cell(row, "plcc"), *(Cell(NONE, "", "num") for _ in range(4))]
        rows.append({"kind": "published", "cells": line})
    return rows


def _failed(evaluation: Evaluation) -> str:
    """The number of paintings without a score, and the reasons."""
    failed = Count(evaluation.model.failures)
    return f"{failed.total:,} ({failed.listed()})"


def _without_empty_columns(rows: list[dict[str, Any]]) -> tuple[list[tuple[str, str, str]], list[dict[str, Any]]]:
    """The columns that have a cell with content, and the rows with the cells of these columns alone."""
    kept = [place for place in range(len(COLUMNS)) if any(row["cells"][place].text != NONE for row in rows)]
    slim = [{**row, "cells": [row["cells"][place] for place in kept]} for row in rows]
    return [COLUMNS[place] for place in kept], slim


def made_with(seed: int) -> list[tuple[str, str]]:
    """What the page was made with: names and values of versions and of the seed."""
    packages = ("numpy", "scipy", "pillow", "jinja2")
    found = [("artquant-plugin", __version__), ("Python", platform.python_version())]
    return [*found, *((name, version(name)) for name in packages), ("seed of the bootstrap", str(seed))]


def table_view(table: Table) -> dict[str, Any]:
    """What the template prints of a plain table."""
    rows = []
    for row in table.rows:
        texts = [cell_text(cell, column) for cell, column in zip(row, table.columns, strict=True)]
        rows.append(
            [
                Cell(text, text.casefold() if column.words else "", "" if column.words else "num")
                for text, column in zip(texts, table.columns, strict=True)
            ]
        )
    return {
        "caption": table.title,
        "header": [column.title for column in table.columns],
        "rows": rows,
        "notes": table.all_notes,
        "word_columns": sum(column.words for column in table.columns),
    }


def _matrices(analysis: Analysis, names: Sequence[str]) -> list[dict[str, Any]]:
    """For each metric a matrix of the differences between models, row less column; none for a single model."""
    found: dict[tuple[str, str], Any] = {
        (comparison.a, comparison.b): comparison for comparison in analysis.comparisons
    }
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
                comparison = found[b, a] if swapped else found[a, b]
                own: Difference = getattr(comparison, metric)
                cells.append(_matrix_cell(a, b, own, comparison.n, -1 if swapped else 1))
            rows.append({"name": a, "cells": cells})
        matrices.append({"metric": metric.upper(), "id": metric, "names": list(names), "rows": rows})
    return matrices if len(names) > 1 else []


def _matrix_cell(a: str, b: str, found: Difference, n: int, sign: int) -> Cell:
    """The cell of one pair of models; `sign` is -1 where the difference was computed as b less a."""
    if math.isnan(found.value):
        return Cell(NONE, "", "num", f"{a} and {b} cannot be compared")
    value = sign * found.value
    text = f"{value:+.3f}".replace("-", "−")
    if math.isnan(found.p_holm):
        few = f"{n:,} paintings, too few" if n < FEWEST else "too few scores differ"
        return Cell(text, f"{value}", "num tie", f"{a} less {b}: {value:+.4f}; no test: {few}", below="too few")
    better = "tie" if not found.significant else "better" if value > 0 else "worse"
    low, high = sorted((sign * found.low, sign * found.high))
    tooltip = (
        f"{a} less {b}: {value:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}, p {p_value(found.p_holm)} after "
        f"Holm's correction, {n:,} paintings; {'significant' if found.significant else 'not significant'}"
    )
    return Cell(text + ("*" if found.significant else ""), f"{value}", f"num {better}", tooltip)


def _breakdown_view(
    analysis: Analysis, breakdown: Breakdown, evaluations: Sequence[Evaluation], caption: str
) -> dict[str, Any]:
    place_of = {evaluation.model.name: place for place, evaluation in enumerate(analysis.evaluations)}
    rows = []
    for group, (name, size) in enumerate(zip(breakdown.groups, breakdown.sizes, strict=True)):
        cells = [Cell(name, str(group) if breakdown is analysis.bands else name.casefold()), count_cell(size)]
        for evaluation in evaluations:
            figures = breakdown.figures[place_of[evaluation.model.name]][group]
            tooltip = f"{evaluation.model.name}, {name}: SROCC {number(figures.srocc)}, PLCC {number(figures.plcc)}"
            tooltip += f", {figures.n:,} paintings scored"
            if evaluation.on_scale and not math.isnan(figures.bias):
                tooltip += f", mean error {figures.bias:+.2f}, mean absolute error {figures.mae:.2f}"
            if math.isnan(figures.srocc):
                cells.append(Cell(NONE, "", "num", tooltip))
            else:
                step = min(HEAT_STEPS, max(0, round(figures.srocc * HEAT_STEPS)))
                below = "too few" if figures.n < FEWEST else ""
                style = "num" if below else f"num heat heat-{step}"
                cells.append(Cell(f"{figures.srocc:.2f}", f"{figures.srocc}", style, tooltip, below=below))
        rows.append(cells)
    return {
        "caption": caption,
        "title": breakdown.title,
        "models": [evaluation.model.name for evaluation in evaluations],
        "rows": rows,
        "attributes": breakdown is analysis.attributes,
    }


def _run_view(evaluation: Evaluation) -> dict[str, Any]:
    model, details = evaluation.model, evaluation.model.details
    failures = ", ".join(f"{count:,} {reason}" for reason, count in sorted(model.failures.items()))
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in model.left_out.items())
    facts = [
        ("File", model.file.name),
        ("Scored", f"{0 if evaluation.agreement is None else evaluation.agreement.n:,}"),
        ("Without a score", failures or "none"),
        ("Left out", left_out),
        ("Older runs passed over", f"{model.older}" if model.older else ""),
    ]
    prompt = ""
    if details is not None:
        own, _, preset = details.prompt_version.partition(": ")
        asks_own = own == OWN_PROMPT
        prompt = "" if asks_own else details.prompt
        facts += [
            ("Harness model", details.model),
            ("Arguments", details.arguments),
            ("Prompt", "the model's own" if asks_own else details.prompt_version),
            ("Scoring preset", preset if asks_own else ""),
            ("Mid-points of ranges", f"{model.from_range:,}" if model.from_range else ""),
            ("lmms-eval", details.harness),
            ("Commit of its folder", details.commit),
            ("Date", details.date),
            ("Seconds", details.seconds),
        ]
    return {"name": model.name, "facts": [(name, text) for name, text in facts if text], "prompt": prompt}
