"""The figures of a board as tables: leaderboard, comparisons and groups, which every format and the page show."""

import math
from collections.abc import Sequence

from artquant_plugin.metrics.agreement import FEWEST
from artquant_plugin.metrics.pairwise_comparisons import Comparison, Difference
from artquant_plugin.metrics.resampling import LARGEST
from artquant_plugin.report.analysis import Analysis, Breakdown, Evaluation, GroupFigures, split_shift
from artquant_plugin.report.published_figures import PublishedFigures, dataset_note, published_figures, same_method
from artquant_plugin.report.results_table import TOO_FEW, number, with_interval
from artquant_plugin.report.table_formats import Table

NONE = "-"  # a cell without a figure
LEADERBOARD_HEADER = (
    "model",
    "scored",
    "failed",
    "SROCC [95 % interval]",
    "PLCC [95 % interval]",
    "MAE",
    "RMSE",
    "SROCC, failed at median",
    "PLCC, failed at median",
    "accuracy > {threshold}",
    "majority class",
    "PLCC after logistic (extra)",
    "published SROCC",
    "published PLCC",
)
COMPARISONS_HEADER = (
    "model A",
    "model B",
    "images",
    "left out",
    "SROCC A - B [95 % interval]",
    "p of SROCC (Holm)",
    "PLCC A - B [95 % interval]",
    "p of PLCC (Holm)",
    "Steiger Z",
    "p (Steiger)",
    "Zou's interval",
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
    rows = []
    for evaluation in ordered(analysis.evaluations):
        printed = own.get(evaluation.model.name)
        rows.append((*measured_cells(evaluation), *_published_cells(printed)))
    rows += [(row.method, *[NONE] * 11, *_published_cells(row)) for row in others]
    thresholds = {
        evaluation.accuracy.threshold for evaluation in analysis.evaluations if evaluation.accuracy is not None
    }
    threshold = f"{thresholds.pop():g}" if len(thresholds) == 1 else "middle"
    return _without_empty_columns(
        Table(
            name=f"leaderboard-{analysis.board.dataset}",
            title=f"{analysis.board.dataset}: measured and published results",
            header=tuple(label.format(threshold=threshold) for label in LEADERBOARD_HEADER),
            rows=rows,
            notes=tuple(_leaderboard_notes(analysis, own, others)),
        )
    )


def measured_cells(evaluation: Evaluation) -> tuple[str, ...]:
    """The cells of a model's row in the leaderboard, up to the columns of published figures."""
    failures = ", ".join(f"{count:,} {reason}" for reason, count in sorted(evaluation.model.failures.items()))
    failed = f"{evaluation.failed:,}" + (f" ({failures})" if evaluation.failed else "")
    if evaluation.agreement is None:
        return (evaluation.model.name, "0", failed, *[NONE] * 9)
    errors = (
        (number(evaluation.agreement.mae.value), number(evaluation.agreement.rmse.value))
        if evaluation.on_scale
        else (NONE, NONE)
    )
    share = (
        (NONE, NONE)
        if evaluation.accuracy is None
        else (_share(evaluation.accuracy.share), _share(evaluation.accuracy.majority))
    )
    return (
        evaluation.model.name,
        f"{evaluation.agreement.n:,}",
        failed,
        with_interval(evaluation.agreement.srocc, too_few=evaluation.agreement.too_few),
        with_interval(evaluation.agreement.plcc, too_few=evaluation.agreement.too_few),
        *errors,
        number(evaluation.srocc_all),
        number(evaluation.plcc_all),
        *share,
        NONE if evaluation.logistic_fit is None else number(evaluation.logistic_fit.plcc),
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
        header=COMPARISONS_HEADER,
        rows=[comparison_cells(comparison) for comparison in comparisons],
        notes=(
            f"{how_compared(comparisons)}; p two-sided, corrected by Holm over {len(comparisons)} pairs. Steiger's Z "
            "and Zou's interval are closed forms for PLCC, uncorrected, as a cross-check.",
            *cautions,
        ),
        word_columns=2,
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


def comparison_cells(comparison: Comparison) -> tuple[str, ...]:
    """The cells of a comparison's row, in the order of `COMPARISONS_HEADER`."""
    return (
        comparison.a,
        comparison.b,
        f"{comparison.n:,}",
        f"{comparison.only_a + comparison.only_b:,}",
        difference(comparison.srocc, too_few=comparison.too_few),
        p_value(comparison.srocc.p_holm),
        difference(comparison.plcc, too_few=comparison.too_few),
        p_value(comparison.plcc.p_holm),
        NONE if math.isnan(comparison.steiger) else f"{comparison.steiger:.2f}",
        p_value(comparison.steiger_p),
        interval(*comparison.zou),
    )


def breakdown_table(analysis: Analysis, breakdown: Breakdown, name: str) -> Table:
    """The figures by group as a table: size, and for each model SROCC and, where it means something, bias.

    Args:
        analysis: the figures of the board.
        breakdown: one of the breakdowns of `analysis`.
        name: the beginning of the table's name, such as ``categories``.
    """
    models = [evaluation.model.name for evaluation in analysis.evaluations]
    errors = breakdown is not analysis.attributes
    header = [breakdown.title, "paintings"]
    for model, evaluation in zip(models, analysis.evaluations, strict=True):
        header.append(f"{model}: SROCC")
        if errors and evaluation.on_scale:
            header.append(f"{model}: bias")
    rows = []
    for place, group in enumerate(breakdown.groups):
        cells = [group, f"{breakdown.sizes[place]:,}"]
        for figures, evaluation in zip(breakdown.figures, analysis.evaluations, strict=True):
            cells.append(group_correlation(figures[place]))
            if errors and evaluation.on_scale:
                bias = figures[place].bias
                cells.append(NONE if math.isnan(bias) else f"{bias:+.3f}")
        rows.append(tuple(cells))
    return Table(
        name=f"{name}-{analysis.board.dataset}",
        title=f"{analysis.board.dataset} by {breakdown.title}",
        header=tuple(header),
        rows=rows,
        notes=(f"No interval is shown here. Groups of fewer than {FEWEST} scored paintings are marked: too few.",),
    )


def group_correlation(figures: GroupFigures) -> str:
    """The SROCC of a group as text, marked where the model scored too few paintings of it."""
    marked = figures.n < FEWEST and not math.isnan(figures.srocc)
    return number(figures.srocc) + (f" {TOO_FEW}" if marked else "")


def model_cautions(analysis: Analysis) -> list[str]:
    """Why the figures of single models may mislead, as notes for below a table."""
    return [
        f"{evaluation.model.name}: {caution}."
        for evaluation in ordered(analysis.evaluations)
        if evaluation.agreement is not None
        for caution in evaluation.agreement.cautions
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


def difference(found: Difference, *, too_few: bool = False) -> str:
    """A difference with its interval, as text; a dash where there is none.

    Args:
        found: the difference of two models' SROCC, or of their PLCC.
        too_few: whether there are too few images for an interval, which the text then says.
    """
    if math.isnan(found.value):
        return NONE
    return f"{found.value:+.3f} {TOO_FEW if too_few else interval(found.low, found.high)}"


def interval(low: float, high: float) -> str:
    """The bounds of an interval with their signs, as text; a dash where they are NaN."""
    return NONE if math.isnan(low) else f"[{low:+.3f}, {high:+.3f}]"


def p_value(p: float) -> str:
    """A p-value with three decimals, ``<0.001`` where it is smaller, a dash where it is NaN."""
    if math.isnan(p):
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _published_cells(row: PublishedFigures | None) -> tuple[str, str]:
    if row is None:
        return NONE, NONE
    mark = " *" if row.note else ""
    return f"{row.srocc:.3f}{mark}", f"{row.plcc:.3f}{mark}"


def _leaderboard_notes(
    analysis: Analysis, own: dict[str, PublishedFigures], others: Sequence[PublishedFigures]
) -> list[str]:
    notes = [split_shift(analysis.board.info), *model_cautions(analysis)]
    off = [evaluation.model.name for evaluation in analysis.evaluations if not evaluation.on_scale]
    if off:
        notes.append(f"Predictions on another scale than the dataset's, so errors mean nothing: {', '.join(off)}.")
    printed = [*own.values(), *others]
    if printed:
        notes.append(f"Published: {', '.join(dict.fromkeys(row.source for row in printed))}; not measured here.")
        notes.append(dataset_note(analysis.board.dataset))
    notes += [f"* {row.method}: {row.note}" for row in printed if row.note]
    return [note for note in notes if note]


def _without_empty_columns(table: Table) -> Table:
    """The same table without the columns whose cells are all empty."""
    kept = [place for place in range(len(table.header)) if any(row[place] != NONE for row in table.rows)]
    return Table(
        name=table.name,
        title=table.title,
        header=tuple(table.header[place] for place in kept),
        rows=[tuple(row[place] for place in kept) for row in table.rows],
        notes=table.notes,
        word_columns=table.word_columns,
    )


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
