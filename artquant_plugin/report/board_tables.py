"""The figures of a board as tables: leaderboard, comparisons and groups, which every format and the page show."""

import math
from collections.abc import Sequence

from artquant_plugin.metrics.agreement import FEWEST
from artquant_plugin.metrics.pairwise_comparisons import Comparison, Difference
from artquant_plugin.metrics.resampling import LARGEST
from artquant_plugin.report.analysis import Analysis, Breakdown, Evaluation, split_shift
from artquant_plugin.report.datasets_table import ModelResult, datasets_table
from artquant_plugin.report.human_ceiling import ceiling_note, human_figures
from artquant_plugin.report.published_figures import PublishedFigures, dataset_note, published_figures, same_method
from artquant_plugin.report.results_table import PLCC, SROCC, TOO_FEW, figure
from artquant_plugin.report.table_cells import (
    P_VALUE,
    SHARE,
    Cell,
    Column,
    Count,
    Figure,
    Table,
    number_text,
    without_empty_columns,
)

COMPARISON_COLUMNS = (
    Column("model_a", "model A", words=True, label=True),
    Column("model_b", "model B", words=True, label=True),
    Column("images", "images"),
    Column("left_out", "left out", narrow=False),
    Column("srocc", "SROCC A - B [95 % interval]", "SROCC A − B", form="+.3f", bounds="shown"),
    Column("srocc_p", "p of SROCC (Holm)", "p", form=P_VALUE),
    Column("plcc", "PLCC A - B [95 % interval]", "PLCC A − B", form="+.3f", bounds="shown"),
    Column("plcc_p", "p of PLCC (Holm)", "p", form=P_VALUE),
    Column("steiger_z", "Steiger Z", form=".2f", narrow=False),
    Column("steiger_p", "p (Steiger)", form=P_VALUE, narrow=False),
    Column("zou", "Zou's interval", form="+.3f", bounds="only", narrow=False),
)


def leaderboard_columns(threshold: str, notes: tuple[str, ...]) -> tuple[Column, ...]:
    """The columns of the leaderboard.

    Args:
        threshold: the score above which the accuracy calls a painting good, for the heading.
        notes: what is to be said about the published figures.
    """
    return (
        Column("model", "model", words=True, label=True),
        Column("scored", "scored"),
        Column("failed", "failed", reasons=True, narrow=False),
        SROCC,
        PLCC,
        Column("mae", "MAE", bounds="hidden", narrow=False),
        Column("rmse", "RMSE", bounds="hidden", narrow=False),
        Column("srocc_all", "SROCC, failed at median", "SROCC (all)", narrow=False),
        Column("plcc_all", "PLCC, failed at median", "PLCC (all)", narrow=False),
        Column("accuracy", f"accuracy > {threshold}", form=SHARE, narrow=False),
        Column("majority", "majority class", form=SHARE, narrow=False),
        Column("plcc_logistic", "PLCC after logistic (extra)", "PLCC (logistic)", narrow=False),
        Column("published_srocc", "published SROCC", narrow=False, notes=notes),
        Column("published_plcc", "published PLCC", narrow=False, notes=notes),
    )


def ordered(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Evaluations with the best SROCC first. Models without an SROCC come last, sorted by name."""

    def rank(evaluation: Evaluation) -> tuple[float, str]:
        value = math.nan if evaluation.agreement is None else evaluation.agreement.srocc.value
        return (math.inf if math.isnan(value) else -value, evaluation.model.name)

    return sorted(evaluations, key=rank)


def published_rows(analysis: Analysis) -> tuple[dict[str, PublishedFigures], list[PublishedFigures]]:
    """Divide the published figures on the board's dataset into those of its models, by name, and all others.

    Returns:
        The published figures of the board's models by the models' names, and the figures of all other methods.
    """
    everything = published_figures(analysis.board.dataset)
    own = {
        evaluation.model.name: row
        for evaluation in analysis.evaluations
        for row in everything
        if same_method(evaluation.model.name, row.method)
    }
    return own, [row for row in everything if row not in own.values()]


def leaderboard(analysis: Analysis) -> Table:
    """The leaderboard: measured figures, and published ones in columns of their own. Empty columns are left out."""
    own, others = published_rows(analysis)
    rows: list[tuple[Cell, ...]] = []
    for evaluation in ordered(analysis.evaluations):
        printed = own.get(evaluation.model.name)
        rows.append((*measured_cells(evaluation), *_published_cells(printed)))
    for people in human_figures(analysis.board.info):
        rows.append((people.name, None, None, _figure(people.srocc), _figure(people.plcc), *[None] * 9))
    rows += [(row.method, *[None] * 11, *_published_cells(row)) for row in others]
    thresholds = {
        evaluation.accuracy.threshold for evaluation in analysis.evaluations if evaluation.accuracy is not None
    }
    threshold = f"{thresholds.pop():g}" if len(thresholds) == 1 else "middle"
    return without_empty_columns(
        Table(
            name=f"leaderboard-{analysis.board.dataset}",
            title=f"{analysis.board.dataset}: measured and published results",
            columns=leaderboard_columns(threshold, _published_notes(analysis, [*own.values(), *others])),
            rows=rows,
            notes=tuple(_leaderboard_notes(analysis)),
        )
    )


def measured_cells(evaluation: Evaluation) -> tuple[Cell, ...]:
    """The cells of a model's row in the leaderboard, up to the columns of published figures."""
    failed = Count(evaluation.model.failures)
    agreement, accuracy = evaluation.agreement, evaluation.accuracy
    if agreement is None:
        return (evaluation.model.name, 0, failed, *[None] * 9)
    return (
        evaluation.model.name,
        agreement.n,
        failed,
        figure(agreement.srocc, too_few=agreement.too_few),
        figure(agreement.plcc, too_few=agreement.too_few),
        figure(agreement.mae) if evaluation.on_scale else None,
        figure(agreement.rmse) if evaluation.on_scale else None,
        Figure(evaluation.srocc_all),
        Figure(evaluation.plcc_all),
        None if accuracy is None else Figure(accuracy.share),
        None if accuracy is None else Figure(accuracy.majority),
        None if evaluation.logistic_fit is None else Figure(evaluation.logistic_fit.plcc),
    )


def how_compared(comparisons: Sequence[Comparison]) -> str:
    """The beginning of a sentence about where intervals and p-values of comparisons come from."""
    resamples = max((comparison.resamples for comparison in comparisons), default=0)
    ways = []
    if resamples:
        ways.append(f"paired bootstrap of {resamples:,} resamples")
    if any(comparison.n > LARGEST for comparison in comparisons):
        ways.append(f"influence values above {LARGEST:,} images")
    if any(comparison.too_few for comparison in comparisons):
        ways.append(f"none below {FEWEST} images, which are too few")
    return "Intervals over the images that both models scored" + (f": {', '.join(ways)}" if ways else "")


def comparisons_table(dataset: str, comparisons: Sequence[Comparison], cautions: Sequence[str] = ()) -> Table:
    """The comparisons of a dataset's models as a table.

    Args:
        dataset: name of the dataset that the models were measured on.
        comparisons: the comparisons, each a row; may be empty.
        cautions: further notes below the table, such as those of `model_cautions`.
    """
    return Table(
        name=f"pairs-{dataset}",
        title=f"{dataset}: differences between models",
        columns=COMPARISON_COLUMNS,
        rows=[comparison_cells(comparison) for comparison in comparisons],
        notes=(
            f"{how_compared(comparisons)}; p two-sided, corrected by Holm over {len(comparisons)} pairs. Steiger's Z "
            "and Zou's interval are closed forms for PLCC, uncorrected, as a cross-check.",
            *cautions,
        ),
    )


def comparison_text(dataset: str, comparison: Comparison, family: int) -> str:
    """One comparison as a few lines for a terminal: the counts first, then the differences.

    Args:
        dataset: name of the dataset that the models were measured on.
        comparison: the comparison of two models.
        family: number of comparisons that p is corrected over.
    """
    lines = [f"{dataset}: A = {comparison.a}, B = {comparison.b}", f"images  {comparison.n:,} scored by both"]
    for name, count in ((comparison.a, comparison.only_a), (comparison.b, comparison.only_b)):
        if count:
            lines.append(f"        {count:,} scored by {name} alone, left out")
    if math.isnan(comparison.srocc.value):
        return "\n".join([*lines, "no comparison: a model gives all of them the same score, or none is left"])
    if comparison.too_few:
        for metric, found in (("SROCC", comparison.srocc), ("PLCC", comparison.plcc)):
            lines.append(f"{metric:<6}  A {found.a:.4f}  B {found.b:.4f}  A - B {found.value:+.4f}  {TOO_FEW}")
        lines.append(f"        {comparison.n} images are too few for intervals and tests, which take {FEWEST} or more")
        return "\n".join(lines)
    corrected = f"p (Holm, {family} pairs)" if family > 1 else "p"
    for metric, found in (("SROCC", comparison.srocc), ("PLCC", comparison.plcc)):
        start = f"{metric:<6}  A {found.a:.4f}  B {found.b:.4f}  A - B {found.value:+.4f} "
        if math.isnan(found.low):
            lines.append(f"{start} no interval: too few scores differ")
            continue
        lines.append(
            f"{start}[{found.low:+.4f}, {found.high:+.4f}]  {corrected} {p_value(found.p_holm)}"
            f"  {'different' if found.significant else 'no difference shown'}"
        )
    method = f"paired bootstrap, {comparison.resamples:,} resamples" if comparison.resamples else "influence values"
    lines.append(f"        {method}, 95 % intervals")
    if not math.isnan(comparison.steiger):
        low, high = comparison.zou
        lines.append(
            f"check   PLCC: Steiger's Z {comparison.steiger:.2f}, p {p_value(comparison.steiger_p)}; "
            f"Zou's interval [{low:+.4f}, {high:+.4f}]"
        )
    return "\n".join(lines)


def comparison_cells(comparison: Comparison) -> tuple[Cell, ...]:
    """The cells of a comparison's row, in the order of `COMPARISON_COLUMNS`."""
    return (
        comparison.a,
        comparison.b,
        comparison.n,
        comparison.only_a + comparison.only_b,
        difference(comparison.srocc, too_few=comparison.too_few),
        Figure(comparison.srocc.p_holm),
        difference(comparison.plcc, too_few=comparison.too_few),
        Figure(comparison.plcc.p_holm),
        Figure(comparison.steiger),
        Figure(comparison.steiger_p),
        Figure(math.nan, *comparison.zou),
    )


def breakdown_table(analysis: Analysis, breakdown: Breakdown, name: str) -> Table:
    """The figures by group as a table: size, and for each model SROCC and, where it means something, bias.

    Args:
        analysis: the figures of the board.
        breakdown: one of the breakdowns of `analysis`.
        name: the beginning of the table's name, such as ``categories``.
    """
    has_errors = breakdown is not analysis.attributes
    columns = [Column("group", breakdown.title, words=True, label=True), Column("paintings", "paintings")]
    for evaluation in analysis.evaluations:
        columns.append(Column("srocc", "SROCC", group=evaluation.model.name))
        if has_errors and evaluation.on_scale:
            columns.append(Column("bias", "bias", group=evaluation.model.name, form="+.3f", narrow=False))
    rows = []
    for place, group in enumerate(breakdown.groups):
        cells: list[Cell] = [group, breakdown.sizes[place]]
        for figures, evaluation in zip(breakdown.figures, analysis.evaluations, strict=True):
            own = figures[place]
            cells.append(Figure(own.srocc, mark=TOO_FEW if own.n < FEWEST else ""))
            if has_errors and evaluation.on_scale:
                cells.append(Figure(own.bias))
        rows.append(tuple(cells))
    return Table(
        name=f"{name}-{analysis.board.dataset}",
        title=f"{analysis.board.dataset} by {breakdown.title}",
        columns=tuple(columns),
        rows=rows,
        notes=(f"No interval is shown here. Groups of fewer than {FEWEST} scored paintings are marked: too few.",),
    )


def model_cautions(analysis: Analysis) -> list[str]:
    """Why the figures of single models may mislead, as notes for below a table."""
    return [
        f"{evaluation.model.name}: {caution}."
        for evaluation in ordered(analysis.evaluations)
        if evaluation.agreement is not None
        for caution in (*evaluation.agreement.cautions, evaluation.model.training_note)
        if caution
    ]


def tables(analysis: Analysis) -> list[Table]:
    """All tables of a board. Those that have nothing to show, such as comparisons of one model, are left out."""
    found = [leaderboard(analysis)]
    if analysis.comparisons:
        found.append(comparisons_table(analysis.board.dataset, analysis.comparisons, model_cautions(analysis)))
    if analysis.categories is not None:
        found.append(breakdown_table(analysis, analysis.categories, "categories"))
    found.append(breakdown_table(analysis, analysis.bands, "bands"))
    if analysis.attributes is not None:
        found.append(breakdown_table(analysis, analysis.attributes, "attributes"))
    return found


def all_tables(analyses: Sequence[Analysis]) -> list[Table]:
    """The tables of all boards; the one of all datasets comes first.

    With a single board, the table of all datasets is the last one, since the leaderboard says more.

    Args:
        analyses: the figures of the boards, one per dataset.
    """
    overview = datasets_table(
        [
            ModelResult(analysis.board.dataset, evaluation.model.name, evaluation.agreement)
            for analysis in analyses
            for evaluation in analysis.evaluations
        ]
    )
    own = [table for analysis in analyses for table in tables(analysis)]
    return [overview, *own] if len(analyses) > 1 else [*own, overview]


def difference(found: Difference, *, too_few: bool = False) -> Figure:
    """A difference with its interval, as a cell.

    Args:
        found: the difference of two models' SROCC, or of their PLCC.
        too_few: whether there are too few images for an interval, which text then says.
    """
    return Figure(found.value, found.low, found.high, TOO_FEW if too_few else "")


def p_value(p: float) -> str:
    """A p-value with three decimals, ``<0.001`` where it is smaller, a dash where it is NaN."""
    return number_text(p, P_VALUE)


def _figure(value: float | None) -> Cell:
    return None if value is None else Figure(value)


def _published_cells(row: PublishedFigures | None) -> tuple[Cell, Cell]:
    if row is None:
        return None, None
    mark = "*" if row.note else ""
    return Figure(row.srocc, mark=mark), Figure(row.plcc, mark=mark)


def _leaderboard_notes(analysis: Analysis) -> list[str]:
    """What is to be said about the measured figures."""
    board = analysis.board
    notes = [split_shift(board.info), ceiling_note(board.dataset, board.info), *model_cautions(analysis)]
    off = [evaluation.model.name for evaluation in analysis.evaluations if not evaluation.on_scale]
    if off:
        notes.append(f"Predictions on another scale than the dataset's, so errors mean nothing: {', '.join(off)}.")
    return [note for note in notes if note]


def _published_notes(analysis: Analysis, printed: Sequence[PublishedFigures]) -> tuple[str, ...]:
    """Where the published figures come from, and what looks wrong about them."""
    if not printed:
        return ()
    notes = [
        f"Published: {', '.join(dict.fromkeys(row.source for row in printed))}; not measured here.",
        dataset_note(analysis.board.dataset),
        *(f"* {row.method}: {row.note}" for row in printed if row.note),
    ]
    return tuple(note for note in notes if note)
