"""The study `entropy`: both sides of the paper's Theorems 1 to 3, estimated on paintings that were not trained on."""

import gc
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.run_record import read_record, write_record
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.images import open_image
from artquant_plugin.metrics.entropy import (
    Bounds,
    calibration,
    description_surprise,
    error_rate,
    level_cross_entropy,
)
from artquant_plugin.metrics.repeated_runs import Spread, spread
from artquant_plugin.report.table_cells import Cell, Column, Figure, Table
from artquant_plugin.scoring.reading import description_nats, read_levels
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.data import description_samples
from artquant_plugin.train.studies.config import StudyDataset
from artquant_plugin.train.studies.figures import MeasuredBound, bounds_figure
from artquant_plugin.train.studies.outcome import Outcome, Study
from artquant_plugin.train.studies.plan import BASE, Grid, ScoredSplit, Trial

COLUMNS = (
    Column("dataset", "dataset", words=True, label=True),
    Column("y_given_z", "H(Y|Z)", spread=True),
    Column("calibration_error", "calibration error", spread=True),
    Column("d_given_z", "H(D|Z)", spread=True),
    Column("per_token", "per token", spread=True),
    Column("y_given_d", "H(Y|D)", spread=True),
    Column("theorem_2", "right side of Theorem 2", spread=True),
    Column("theorem_3", "right side of Theorem 3", spread=True),
)
NOTE = (
    "All in nats, ± the standard deviation over seeds; the calibration error is a share. H(Y|Z), H(D|Z) and H(Y|D) "
    "are cross-entropies on test paintings with a description, and so upper bounds of the entropies."
)


@dataclass(frozen=True, slots=True)
class MeasuredEntropies:
    """What one checkpoint measures on one test set.

    Args:
        y_given_z: Cross-entropy of the levels that the checkpoint predicts from the image, in nats.
        calibration_error: How far these predictions' probabilities are from how often they are true, from 0 to 1.
        d_given_z: Mean negative log-likelihood of a description, in nats.
        per_token: The same for a token, in nats.
        y_given_d: Cross-entropy of the levels that the checkpoint predicts from the description alone, in nats.
        levels: Number of levels that a score is one of.
        paintings: Number of paintings with a description, on which all of this was measured.
    """

    y_given_z: float
    calibration_error: float
    d_given_z: float
    per_token: float
    y_given_d: float
    levels: int
    paintings: int


def measured_entropies(trial: Trial, test: ScoredSplit) -> MeasuredEntropies:
    """The entropies of a trial's checkpoint, measured once and kept in a file of the trial.

    Args:
        trial: A finished trial, whose last training's checkpoint is measured.
        test: The test set; its paintings without a description are left out.

    Raises:
        ArtQuantError: No painting has a description, an image cannot be read, or the file is no such record.
    """
    path = trial.folder / f"entropy-{test.name}.json"
    names = tuple(MeasuredEntropies.__slots__)
    record = read_record(path, kind="record of entropies", remedy="remove it", fields=names)
    if record is None:
        found = _measure(trial, test)
        write_record(path, asdict(found))
        return found
    return MeasuredEntropies(**{name: record[name] for name in names})


def _measure(trial: Trial, test: ScoredSplit) -> MeasuredEntropies:
    last = trial.trainings[-1]
    dataset = Dataset.load(test.folder)
    rows = dataset.split(test.split)
    texts = {each.painting_id: each.description for each in description_samples(dataset, rows)}
    chosen = [row for row in rows if texts.get(row.id)]
    described = [str(texts[row.id]) for row in chosen]
    files = [dataset.image_path(row) for row in chosen]
    scorer = ArtQuantScorer.from_pretrained(str(last.output), batch_size=last.score_batch_size)
    checkpoint, scale = scorer.checkpoint, scorer.checkpoint.spec.scale
    truth = scale.soft_labels([row.score for row in chosen], method="onehot").argmax(axis=1).tolist()
    seen = np.array([list(score.levels.values()) for score in scorer.score(files)])
    pictures = (open_image(file, handling=checkpoint.spec.images) for file in files)
    nats, tokens = zip(*description_nats(checkpoint, zip(pictures, described, strict=True)), strict=True)
    surprise = description_surprise(nats, tokens)
    found = MeasuredEntropies(
        y_given_z=level_cross_entropy(seen, truth).nats,
        calibration_error=calibration(seen, truth)[1],
        d_given_z=surprise.per_description.nats,
        per_token=surprise.per_token,
        y_given_d=level_cross_entropy(read_levels(checkpoint, described), truth).nats,
        levels=len(scale.names),
        paintings=len(chosen),
    )
    del scorer, checkpoint
    gc.collect()
    return found


def _plan(grid: Grid) -> list[Trial]:
    datasets = grid.config.chosen(grid.config.entropy)
    for dataset in datasets:
        test = grid.test(dataset)
        if test.folder == grid.source(dataset):  # a part of a dataset is made later, with the same kind of texts
            rows = Dataset.load(test.folder).split(test.split)
            if not any(row.description for row in rows):
                raise ArtQuantError(
                    f"study entropy needs descriptions, and no painting of the split {test.split!r} of "
                    f"'{test.folder}' has one; make them with `artquant rad`, or leave the dataset out of "
                    "entropy.datasets"
                )
    return grid.trials(datasets, [BASE])


def collect_entropy(grid: Grid) -> Outcome:
    """The table of entropies, and for each dataset how far the two sides are apart."""
    section = grid.config.entropy
    epsilon = error_rate(section.rejected, section.judged)[1] if section.judged else 0.0
    rows: list[tuple[Cell, ...]] = []
    drawn, parts = [], []
    for dataset in grid.config.chosen(section):
        found = [measured_entropies(trial, grid.test(dataset)) for trial in grid.trials([dataset], [BASE])]
        bounds = [Bounds(each.y_given_z, each.d_given_z, each.y_given_d, each.levels, epsilon) for each in found]
        spreads = [
            spread([each.y_given_z for each in found]),
            spread([each.calibration_error for each in found]),
            spread([each.d_given_z for each in found]),
            spread([each.per_token for each in found]),
            spread([each.y_given_d for each in found]),
            spread([each.through_description for each in bounds]),
            spread([each.with_errors for each in bounds]),
        ]
        rows.append((dataset.name, *(Figure(each.mean, sd=each.sd) for each in spreads)))
        looser = bounds[0].looser_by
        drawn.append(MeasuredBound(dataset.name, spreads[0].mean, spreads[2].mean, spreads[4].mean, looser))
        parts.append(_sentence(dataset, spreads, looser, found[0]))
    sentence = " ".join(parts)
    note = f"epsilon is {epsilon:.3f}, " + (
        f"the upper end of the interval of {section.rejected} rejected of {section.judged} judged descriptions."
        if section.judged
        else "because no judge's verdicts are given (entropy.judged)."
    )
    table = Table("entropy", ENTROPY.title, COLUMNS, rows, notes=(NOTE, note))
    return Outcome((table,), bounds_figure(drawn, title=ENTROPY.title, caption=sentence), sentence)


def _sentence(dataset: StudyDataset, found: Sequence[Spread], looser: float, one: MeasuredEntropies) -> str:
    left, description, reading, right = found[0].mean, found[2].mean, found[4].mean, found[5].mean
    verdict = "holds" if left <= right else "does not hold, which estimates alone can cause,"
    most = math.log(one.levels)
    reader = "less than" if reading < most else "no less than"
    return (
        f"On {dataset.name} ({one.paintings} paintings) the bound {verdict} as measured: H(Y|Z) is {left:.2f} nats "
        f"and the right side of Theorem 2 {right:.2f}, of which the descriptions' own entropy H(D|Z) makes "
        f"{description:.2f}; log {one.levels}, which bounds H(Y|Z) without any description, is {most:.2f}. Read "
        f"without the image, a description leaves {reading:.2f} nats, {reader} knowing nothing. Theorem 3 adds "
        f"{looser:.2f}."
    )


ENTROPY = Study(
    name="entropy",
    title="Entropies of scores and descriptions (Theorems 1 to 3)",
    claim="The uncertainty of the score, H(Y|Z), is bounded by H(Y|D) + H(D|Z), and with the errors of generation and "
    "verification by epsilon log|Y| + H2(epsilon) more.",
    plan=_plan,
    collect=collect_entropy,
)
