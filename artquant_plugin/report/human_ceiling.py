"""What people reach on a dataset: the ceiling that the raters' disagreement sets, and a single rater's figures."""

from dataclasses import dataclass

from artquant_plugin.data.dataset import DatasetInfo
from artquant_plugin.data.find import PUBLISHED
from artquant_plugin.data.rater_agreement import RaterAgreement
from artquant_plugin.report.task_runs import ATTRIBUTE

SPLIT = "test"


@dataclass(frozen=True, slots=True)
class HumanFigures:
    """Correlations that stand beside those of models.

    Args:
        name: what the row is called, such as ``human ceiling``.
        srocc: Spearman's rank correlation; None where it is not defined.
        plcc: Pearson's correlation; None where it is not defined.
    """

    name: str
    srocc: float | None
    plcc: float | None


def human_figures(info: DatasetInfo | None) -> list[HumanFigures]:
    """The rows of people on a dataset's test split; none where its single ratings are not known.

    Args:
        info: what dataset.json says of the dataset; None where it is not imported.
    """
    found = _agreement(info)
    if found is None:
        return []
    rows = [
        HumanFigures("human ceiling", found.srocc_ceiling, found.plcc_ceiling),
        HumanFigures("one rater", found.one_rater_srocc, found.one_rater_plcc),
    ]
    return [row for row in rows if row.srocc is not None or row.plcc is not None]


def ceiling_note(dataset: str, info: DatasetInfo | None) -> str:
    """A sentence about the correlation that no model can exceed on a dataset's test split, or why it is unknown.

    Args:
        dataset: the name of the dataset, or of one of its attributes, as a board has it.
        info: what dataset.json says of it; None where it is not imported.
    """
    if ATTRIBUTE in dataset:
        return "Human ceiling: unknown, single ratings of attributes are not part of a dataset."
    found = _agreement(info)
    if dataset in PUBLISHED and found is None:
        return "Human ceiling: unknown, this dataset publishes means alone."
    if info is None:
        return "Human ceiling: unknown, the dataset is not imported here."
    if found is None:
        return "Human ceiling: unknown, this dataset holds means alone."
    each = f"{found.ratings / found.paintings:.1f} ratings per painting"
    people = each if found.raters is None else f"{found.raters:,} raters, {each}"
    if found.srocc_ceiling is None or found.plcc_ceiling is None:
        return f"Human ceiling: undefined ({people}), two halves of the raters cannot be correlated."
    sentence = (
        f"Human ceiling ({people}): SROCC {found.srocc_ceiling:.3f}, PLCC {found.plcc_ceiling:.3f}, the square roots "
        f"of the split-half reliabilities {found.srocc_reliability:.3f} and {found.plcc_reliability:.3f}"
    )
    if found.one_rater_srocc is not None:
        sentence += (
            f"; one rater against the mean of the others: SROCC {found.one_rater_srocc:.3f}, "
            f"PLCC {found.one_rater_plcc:.3f}"
        )
    return f"{sentence}."


def _agreement(info: DatasetInfo | None) -> RaterAgreement | None:
    return None if info is None or info.rater_agreement is None else info.rater_agreement.get(SPLIT)
