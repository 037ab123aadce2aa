"""The studies that compare rows with a reference row: `hierarchy` (Table 2), `mat` (Table 3) and `labels`."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from artquant_plugin.metrics.repeated_runs import RepeatedModel, compare_with_reference, corrected
from artquant_plugin.report.table_cells import P_VALUE, Cell, Column, Figure, Table
from artquant_plugin.train.sections import StageSection
from artquant_plugin.train.studies.config import StudyDataset
from artquant_plugin.train.studies.figures import MeasuredRow, rows_figure
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

LEVELS = ("perception", "cognition", "emotion")
SECOND_STAGE_ALONE = "second-stage-alone"

NOTES = (
    "± is the standard deviation over seeds. The interval and the p-value of a difference are those of the paired "
    "bootstrap over the same test paintings, for means over the seeds; p is corrected by Holm's method over all "
    "differences of the table.",
)

COLUMNS = (
    Column("dataset", "dataset", words=True, label=True),
    Column("row", "trained on", words=True, label=True),
    Column("srocc", "SROCC", spread=True),
    Column("plcc", "PLCC", spread=True),
    Column("srocc_difference", "SROCC − reference [95 %]", "difference", form="+.3f", bounds="shown"),
    Column("srocc_gain", "in %", form="+.1f", narrow=False),
    Column("srocc_p", "p, Holm", form=P_VALUE),
    Column("plcc_difference", "PLCC − reference [95 %]", form="+.3f", bounds="shown", narrow=False),
    Column("plcc_gain", "in % of PLCC", form="+.1f", narrow=False),
    Column("plcc_p", "p of PLCC, Holm", form=P_VALUE, narrow=False),
)


@dataclass(frozen=True, slots=True)
class AblationRow:
    """A row of a table.

    Args:
        label: Words that name the row in the table.
        variant: What the runs of the row differ in.
    """

    label: str
    variant: Variant


@dataclass(frozen=True, slots=True)
class Ablation:
    """The rows of a study on one dataset, measured.

    Args:
        dataset: The dataset that was trained on and is tested.
        rows: The rows, as they stand in the table.
        reference: Number of the reference row.
        models: The figures of each row.
        left_out: Number of paintings that are left out because a run gave them no score.
    """

    dataset: StudyDataset
    rows: Sequence[AblationRow]
    reference: int
    models: Sequence[RepeatedModel]
    left_out: int

    def compared(self) -> list[tuple[str, RepeatedModel]]:
        """Label and figures of the rows that are compared with the reference."""
        pairs = zip(self.rows, self.models, strict=True)
        return [(row.label, model) for row, model in pairs if model.srocc_difference is not None]


Rows = Callable[[Grid, StudyDataset], tuple[list[AblationRow], int]]


def hierarchy_rows(grid: Grid, dataset: StudyDataset) -> tuple[list[AblationRow], int]:
    """Table 2: the text that is described. The reference is the first row."""
    described_stages(grid.base(dataset), dataset, "hierarchy")
    if grid.config.hierarchy.reference == "comment":
        reference = AblationRow("human comments", Variant("comment", ("descriptions=comment",)))
    else:
        reference = AblationRow("scores alone", _scores_in_all_stages(grid, dataset))
    levels = [
        AblationRow("perception", _levels_variant(1)),
        AblationRow("perception + cognition", _levels_variant(2)),
        AblationRow("all three levels", BASE),
    ]
    return [reference, *levels], 0


def _levels_variant(count: int) -> Variant:
    names = LEVELS[:count]
    return Variant("-".join(names), (f"descriptions={json.dumps(names)}",))


def mat_rows(grid: Grid, dataset: StudyDataset) -> tuple[list[AblationRow], int]:
    """Table 3: with and without the multi-task stage. The reference is the first row."""
    described_stages(grid.base(dataset), dataset, "mat")
    return [
        AblationRow("second stage alone", _second_stage_alone(grid, dataset, "mat")),
        AblationRow("both stages, scores alone", _scores_in_all_stages(grid, dataset)),
        AblationRow("with MAT", BASE),
    ], 0


def _second_stage_alone(grid: Grid, dataset: StudyDataset, study: str) -> Variant:
    stages = score_stages(grid.base(dataset), dataset, study)
    return Variant(SECOND_STAGE_ALONE, (stages_override(stages),))


def _scores_in_all_stages(grid: Grid, dataset: StudyDataset) -> Variant:
    """All stages as they are, without descriptions: as many score samples as the whole run sees."""
    stages: list[StageSection] = [
        stage.model_copy(update={"samples": ("score",)}) for stage in grid.base(dataset).stages
    ]
    return Variant("scores-in-all-stages", (stages_override(stages),))


def labels_rows(grid: Grid, dataset: StudyDataset) -> tuple[list[AblationRow], int]:
    """How a score becomes a soft label, at identical settings. The reference is the paper's method, the first row."""
    values = grid.base(dataset).levels
    deviation = grid.config.labels.deviation

    def levels(method: str, **more: float | str) -> tuple[str, ...]:
        content = {"names": values.names, "values": values.values, "method": method, **more}
        return (f"levels={json.dumps(content)}",)

    return [
        AblationRow("score-based (ArtQuant)", BASE),
        AblationRow("Gaussian (DeQA)", Variant("labels-gaussian", levels("gaussian", deviation=deviation))),
        AblationRow("one-hot (Q-Align)", Variant("labels-onehot", levels("onehot"))),
    ], 0


def planned(grid: Grid, datasets: Sequence[StudyDataset], rows: Rows) -> list[Trial]:
    """The trials of all rows on all datasets.

    Args:
        grid: The grid that makes the trials.
        datasets: The datasets of the study.
        rows: Gives the rows of a dataset.
    """
    return [
        trial
        for dataset in datasets
        for trial in grid.trials([dataset], [row.variant for row in rows(grid, dataset)[0]])
    ]


def measured(grid: Grid, datasets: Sequence[StudyDataset], rows: Rows) -> list[Ablation]:
    """The figures of all rows, corrected over all comparisons of the study.

    Args:
        grid: The grid whose trials are finished.
        datasets: The datasets of the study.
        rows: Gives the rows of a dataset.
    """
    found = []
    seeds = len(grid.config.seeds)
    for dataset in datasets:
        chosen, reference = rows(grid, dataset)
        trials = grid.trials([dataset], [row.variant for row in chosen])
        predictions, truth, left_out = scores_of(trials, grid.test(dataset))
        runs = predictions.reshape(len(chosen), seeds, -1)
        found.append((dataset, chosen, reference, compare_with_reference(runs, truth, reference), left_out))
    every = iter(corrected([model for *_, models, _ in found for model in models]))
    return [
        Ablation(dataset, chosen, reference, [next(every) for _ in models], left_out)
        for dataset, chosen, reference, models, left_out in found
    ]


def ablation_table(name: str, title: str, found: Sequence[Ablation], *, notes: Sequence[str] = ()) -> Table:
    """The rows of all datasets as a table.

    Args:
        name: Name of the study, which names its files.
        title: One line above the table.
        found: The measured rows, one entry per dataset.
        notes: Further lines below the table.
    """
    rows: list[tuple[Cell, ...]] = []
    for ablation in found:
        for row, model in zip(ablation.rows, ablation.models, strict=True):
            cells: list[Cell] = [
                ablation.dataset.name,
                row.label,
                Figure(model.srocc.mean, sd=model.srocc.sd),
                Figure(model.plcc.mean, sd=model.plcc.sd),
            ]
            for difference in (model.srocc_difference, model.plcc_difference):
                if difference is None:
                    cells += [None, None, None]
                    continue
                gain = 100 * difference.value / difference.b if difference.b else math.nan
                cells += [
                    Figure(difference.value, difference.low, difference.high),
                    Figure(gain),
                    Figure(difference.p_holm),
                ]
            rows.append(tuple(cells))
    left_out = [
        f"{each.left_out} paintings of {each.dataset.name} are left out, because a run gave them no score."
        for each in found
        if each.left_out
    ]
    return Table(name, title, COLUMNS, rows, notes=(*NOTES, *notes, *left_out))


def verdict(differences: Sequence[RepeatedModel], sign: int) -> str:
    """Whether SROCC differs from the reference as the paper says: holds, holds in direction alone, or does not hold.

    Args:
        differences: Rows with a difference from the reference.
        sign: 1 where the paper has the rows above the reference, -1 where it has them below.
    """
    found = [model.srocc_difference for model in differences if model.srocc_difference is not None]
    if not all(sign * each.value > 0 for each in found):
        return "does not hold"
    if all(each.significant for each in found):
        return "holds"
    return "holds in its direction, but not beyond chance (corrected p at or above 5 %)"


def _named(found: Sequence[tuple[str, RepeatedModel]]) -> str:
    return ", ".join(
        f"{label} {model.srocc_difference.value:+.3f} (p {_p(model.srocc_difference.p_holm)})"
        for label, model in found
        if model.srocc_difference is not None
    )


def _p(value: float) -> str:
    return "unknown" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _sentences(claim: str, found: Sequence[Ablation], sign: int) -> str:
    parts = []
    for ablation in found:
        compared = ablation.compared()
        reference = ablation.rows[ablation.reference].label
        parts.append(
            f"On {ablation.dataset.name} the claim that {claim} {verdict([model for _, model in compared], sign)} as "
            f"measured: SROCC against {reference}, {_named(compared)}."
        )
    return " ".join(parts)


def collect_hierarchy(grid: Grid) -> Outcome:
    """Table 2 and its figure."""
    found = measured(grid, grid.config.chosen(grid.config.hierarchy), hierarchy_rows)
    sentences = [_sentences("descriptions on one, two and three levels exceed the reference", found, 1)]
    for ablation in found:
        means = [model.srocc.mean for _, model in ablation.compared()]
        rising = all(before < after for before, after in zip(means, means[1:], strict=False))
        values = ", ".join(f"{mean:.3f}" for mean in means)
        sentences.append(
            f"On {ablation.dataset.name} each further level {'raised' if rising else 'did not raise'} the mean SROCC: "
            f"{values}."
        )
    return _outcome(HIERARCHY, found, " ".join(sentences))


def collect_mat(grid: Grid) -> Outcome:
    """Table 3 and its figure."""
    found = measured(grid, grid.config.chosen(grid.config.mat), mat_rows)
    parts = []
    for ablation in found:
        scores_alone, with_mat = ablation.compared()
        judged = verdict([with_mat[1]], 1)
        gap = with_mat[1].srocc.mean - scores_alone[1].srocc.mean
        parts.append(
            f"On {ablation.dataset.name} the claim that the multi-task stage raises SROCC {judged} as measured: "
            f"{_named([with_mat])} against the second stage alone; {gap:+.3f} against both stages with scores alone, "
            "which see as many scores."
        )
    notes = (
        "The paper does not say how long its runs without the stage were. The second stage alone sees fewer scores "
        "than the whole run; both stages with scores alone see as many.",
    )
    return _outcome(MAT, found, " ".join(parts), notes)


def collect_labels(grid: Grid) -> Outcome:
    """The comparison of soft labels and its figure."""
    found = measured(grid, grid.config.chosen(grid.config.labels), labels_rows)
    sentence = _sentences("score-based distribution estimation is better than Gaussian and one-hot labels", found, -1)
    deviation = grid.config.labels.deviation
    return _outcome(LABELS, found, sentence, (f"Gaussian labels have a standard deviation of {deviation}.",))


def _outcome(study: Study, found: Sequence[Ablation], sentence: str, notes: Sequence[str] = ()) -> Outcome:
    rows = [
        MeasuredRow(ablation.dataset.name, row.label, model.srocc, model.plcc)
        for ablation in found
        for row, model in zip(ablation.rows, ablation.models, strict=True)
    ]
    figure = rows_figure(rows, title=study.title, caption=sentence)
    return Outcome((ablation_table(study.name, study.title, found, notes=notes),), figure, sentence)


HIERARCHY = Study(
    name="hierarchy",
    title="What is described: levels of description (Table 2)",
    claim="Descriptions on three levels raise the agreement with people above human comments, each level further "
    "(SROCC 0.837, 0.865, 0.866, 0.871 on APDD).",
    plan=lambda grid: planned(grid, grid.config.chosen(grid.config.hierarchy), hierarchy_rows),
    collect=collect_hierarchy,
)
MAT = Study(
    name="mat",
    title="With and without the multi-task stage (Table 3)",
    claim="The multi-task stage raises SROCC on every dataset, by 0.9 % (APDD), 8.8 % (BAID) and 14.7 % (VAPS).",
    plan=lambda grid: planned(grid, grid.config.chosen(grid.config.mat), mat_rows),
    collect=collect_mat,
)
LABELS = Study(
    name="labels",
    title="How scores become soft labels",
    claim="Score-based distribution estimation models scores more precisely than labels that need the raters' "
    "variance (DeQA) or one level alone (Q-Align); the paper has no table for it.",
    plan=lambda grid: planned(grid, grid.config.chosen(grid.config.labels), labels_rows),
    collect=collect_labels,
)
