"""An import: annotations and an image folder become the dataset form, and every image is opened before it counts."""

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from artquant_plugin.common.csv_text import harmless
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.progress import progress
from artquant_plugin.common.workers import process_pool
from artquant_plugin.data.dataset import Dataset, Painting, check_unique, outside_levels, write_dataset
from artquant_plugin.data.images import ImageError, open_image, resolve_inside, sha256_file

REPORT_FILE = "import-report.csv"
PLAIN_NAME = re.compile(r"\w[\w.-]*")  # it becomes a folder's name under $ARTQUANT_DATA
MANY_FILES = 64  # below it, starting processes costs more than they save


@dataclass(frozen=True, slots=True)
class Annotations:
    """A dataset as read from its authors' files, before any image was looked at.

    Args:
        name: the name under which the dataset will be found.
        score_range: the lowest and the highest possible score.
        splits: the paintings of each split, whose sha256 is still empty.
        source: where the files are from.
        license: the terms under which the data may be used.
        split_method: how a split was made that the authors do not publish; None for a published one.
        split_seed: the seed of such a split; None for a published one.
        folds: the cross-validation fold of each painting, by its id, from 0; None where there are no folds.
        notes: sentences for the user about what was noticed in the files.
    """

    name: str
    score_range: tuple[float, float]
    splits: Mapping[str, Sequence[Painting]]
    source: str
    license: str
    split_method: str | None = None
    split_seed: int | None = None
    folds: Mapping[str, int] | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did.

    Args:
        dataset: the dataset that was written.
        notes: sentences for the user about what was noticed.
    """

    dataset: Dataset
    notes: tuple[str, ...]


def import_dataset(
    annotations: Annotations, images: Path, out: Path, *, allow_missing: bool = False, workers: int | None = None
) -> ImportResult:
    """Check every image and write the dataset.

    Args:
        annotations: the rows that an importer has read from the authors' files.
        images: the user's image folder; pictures stay where they are.
        out: the dataset's folder, which is made when absent.
        allow_missing: leave out paintings whose image is missing or broken, and keep their number in dataset.json;
            otherwise one such image stops the import.
        workers: number of processes that open images, from 1; None takes one per core. Fewer than `MANY_FILES` images
            are opened in this process.

    Raises:
        ArtQuantError: no image folder, images that cannot be used (listed in import-report.csv), no paintings left.
    """
    if not images.is_dir():
        raise ArtQuantError(
            f"image folder '{images}' {'is a file' if images.exists() else 'does not exist'}; mend --images"
        )
    check_unique(annotations.splits)  # first, since opening all images may take an hour
    places = [(split, painting) for split, rows in annotations.splits.items() for painting in rows]
    hashes = _hashes(images, [painting.image for _, painting in places], workers)
    kept: dict[str, list[Painting]] = {split: [] for split in annotations.splits}
    failures: list[tuple[str, str, str, str]] = []
    for (split, painting), result in zip(places, hashes, strict=True):
        if isinstance(result, ImageError):
            failures.append((split, painting.image, result.reason, str(result)))
        else:
            kept[split].append(replace(painting, sha256=result))
    report = out / REPORT_FILE
    notes = list(annotations.notes)
    if failures:
        with atomic_write(report) as file:
            writer = csv.writer(file)
            writer.writerow(("split", "image", "reason", "detail"))
            writer.writerows(map(harmless, row) for row in failures)
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in Counter(row[2] for row in failures).items())
        summary = f"{len(failures):,} of {len(places):,} images cannot be used ({reasons}), see '{report}'"
        if not allow_missing:
            raise ArtQuantError(f"{summary}; complete the image folder or pass --allow-missing")
        notes.append(summary)
    else:
        report.unlink(missing_ok=True)
    missing = {split: dict(Counter(reason for where, _, reason, _ in failures if where == split)) for split in kept}
    notes.extend(_level_notes(kept))
    dataset = write_dataset(
        out,
        name=annotations.name,
        score_range=annotations.score_range,
        splits=kept,
        image_root=str(images.resolve()),
        source=annotations.source,
        license=annotations.license,
        missing=missing,
        split_method=annotations.split_method,
        split_seed=annotations.split_seed,
        folds=annotations.folds,
    )
    return ImportResult(dataset, tuple(notes))


def check_name(name: str) -> None:
    """Refuse a dataset's name that could not be a folder's.

    Args:
        name: begins with a letter, a digit or ``_``, and goes on with these, ``.`` and ``-``.

    Raises:
        ArtQuantError: it has other characters than a folder's name may have.
    """
    if not PLAIN_NAME.fullmatch(name):
        raise ArtQuantError(f"dataset name {name!r} is no plain name; use letters, digits, '.', '_' and '-'")


def check_range(score_range: tuple[float, float]) -> None:
    """Refuse a score range that holds nothing.

    Args:
        score_range: the lowest and the highest possible score, both finite, the lowest first.

    Raises:
        ArtQuantError: its ends are no numbers, or the wrong way round.
    """
    low, high = score_range
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ArtQuantError(f"score range {low:g} {high:g} has an end that is not finite; give --score-range LOW HIGH")
    if not low < high:
        raise ArtQuantError(f"score range {low:g} {high:g} is empty; give --score-range LOW HIGH, lowest first")


def seeded_split(names: Sequence[str], fractions: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Split n items by a seeded permutation of their sorted names, so that the order in the file does not matter.

    Args:
        names: the names to split, each of which occurs once.
        fractions: the share of each split, in (0, 1); they sum to 1, and the last split takes what rounding leaves.
        seed: of the permutation, from 0.

    Returns:
        Indices into `names` by split, ascending.
    """
    order = np.argsort(np.array(names))[np.random.default_rng(seed).permutation(len(names))]
    bounds = np.rint(np.cumsum(list(fractions.values()))[:-1] * len(names)).astype(int)
    return {split: sorted(part.tolist()) for split, part in zip(fractions, np.split(order, bounds), strict=True)}


def _hashes(root: Path, names: Sequence[str], workers: int | None) -> list[str | ImageError]:
    check: Callable[[str], str | ImageError] = partial(_checked_hash, root)
    shown = partial(progress, title="check images", unit="image", total=len(names))
    if len(names) < MANY_FILES:
        return list(shown(map(check, names)))
    with process_pool(workers) as pool:
        return list(shown(pool.map(check, names, chunksize=16)))


def _checked_hash(root: Path, name: str) -> str | ImageError:
    try:
        path = resolve_inside(root, name)
        open_image(path)
        return sha256_file(path)
    except ImageError as error:
        return error


def _level_notes(splits: Mapping[str, Sequence[Painting]]) -> list[str]:
    scores = [row.score for rows in splits.values() for row in rows]
    outside = outside_levels(scores)
    if not outside:
        return []
    return [
        f"{outside:,} of {len(scores):,} scores (from {min(scores):g} to {max(scores):g}) are outside the default "
        "levels' range [1, 10]; set levels.values in the training configuration so that they span the scores, such "
        "as [10, 7.5, 5, 3.5, 0]"
    ]
