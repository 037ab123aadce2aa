"""An import: annotations and an image folder become the dataset form, and every image is opened before it counts."""

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from artquant_plugin.common.csv_text import harmless
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.common.progress import progress
from artquant_plugin.common.text import listed, one_line
from artquant_plugin.common.workers import process_pool
from artquant_plugin.data.copies import SamePicture, counted, same_pictures
from artquant_plugin.data.dataset import (
    Dataset,
    Painting,
    check_unique,
    only_dataset_writer,
    outside_levels,
    write_dataset,
)
from artquant_plugin.data.find import PUBLISHED, import_command
from artquant_plugin.data.images import ImageError, open_image, resolve_inside
from artquant_plugin.data.importers.picture_names import Match, find_pictures
from artquant_plugin.data.ratings import PaintingRatings
from artquant_plugin.data.task_names import ENDINGS, check_task_name, is_in_data_home

REPORT_FILE = "import-report.csv"
# Reasons in the report, beside those of images that cannot be used.
COPY, COPY_KEPT, JOINED = "copy", "copy_kept", "joined"
SHOWN_REMEDIES = 4
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
        ratings: the single ratings of each painting, by its id; None where there are scores alone.
        match: how the authors' names are joined with their files, where these differ; what the user asks for comes
            before it. None where they do not differ.
        official: whether the annotations are those that a dataset's authors publish, which the user cannot mend.
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
    ratings: Mapping[str, PaintingRatings] | None = None
    match: Match | None = None
    official: bool = False
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A row of import-report.csv: a painting that was left out, shares its picture, or has a file of another name.

    Args:
        split: the split that the annotations give it, or that was made.
        image: its image's name, as the annotations spell it.
        reason: the kind of failure of `ImageError`, ``copy`` for a copy that was left out, ``copy_kept`` for one that
            stayed, ``joined`` for a name that the user had joined with a file.
        detail: what is wrong with the image, which other paintings have the same picture, or which file it is.
    """

    split: str
    image: str
    reason: str
    detail: str


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
    annotations: Annotations,
    images: Path,
    out: Path,
    *,
    allow_missing: bool = False,
    allow_copies: bool = False,
    match: Match | None = None,
    workers: int | None = None,
) -> ImportResult:
    """Check every image and write the dataset. A dataset that is there already is replaced in one step, at the end.

    A picture may stand in the annotations under several names: as copies of a file, or as links. In a split that is
    made here, its copies go to one side together. In a split that the annotations give, the picture stays in the
    strictest one (test before validation before train) and is left out of the others. Copies within a split stay.

    Args:
        annotations: the rows that an importer has read from the authors' files.
        images: the user's image folder; pictures stay where they are.
        out: the dataset's folder, which is made when absent.
        allow_missing: leave out paintings whose image is missing or broken, and keep their number in dataset.json;
            otherwise one such image stops the import.
        allow_copies: import although a picture stands in two splits, or has two scores. Otherwise such a picture stops
            the import, except where the annotations are official: then there is nothing that the user could mend.
        match: how names may be joined with files that differ by more than their spelling; None for not at all. Each
            painting that is joined is listed in import-report.csv.
        workers: number of processes that open images, from 1; None takes one per core. Fewer than `MANY_FILES` images
            are opened in this process.

    Raises:
        ArtQuantError: another process is writing the dataset, there is no image folder, there are images that cannot
            be used or copies that are not allowed (both are listed in import-report.csv), no paintings are left, or
            the folder lies in `data_home` under a name that is taken.
    """
    if is_in_data_home(out):
        check_task_name(out.absolute().name)
    with only_dataset_writer(out):
        return _import(
            annotations,
            images,
            out,
            allow_missing,
            allow_copies or annotations.official,
            match or annotations.match,
            workers,
        )


def _import(
    annotations: Annotations,
    images: Path,
    out: Path,
    allow_missing: bool,
    allow_copies: bool,
    match: Match | None,
    workers: int | None,
) -> ImportResult:
    if not images.is_dir():
        raise ArtQuantError(
            f"image folder '{images}' {'is a file' if images.exists() else 'does not exist'}; mend --images"
        )
    check_unique(annotations.splits)  # first, since opening all images may take an hour
    readable, unreadable, joined, notes = _look_at_images(annotations, images, match, workers)
    found = same_pictures(readable)
    folds = annotations.folds
    if annotations.split_method is None:
        kept, left_out = _in_strictest_split(readable, found), _copies_left_out(found)
    else:
        kept, left_out = _together(readable, found), []
        if folds is not None:
            folds = _folds_together(folds, found)
        found = same_pictures(kept)
    report = out / REPORT_FILE
    rows = [*unreadable, *_copy_rows(found, left_out), *joined]
    if rows:
        _write_report(report, rows)
    else:
        report.unlink(missing_ok=True)
    total = sum(map(len, annotations.splits.values()))
    if unreadable:
        summary = _unreadable(unreadable, total, report)
        if not allow_missing:
            remedies = dict.fromkeys(row.detail.rpartition("; ")[2] for row in unreadable)
            raise ArtQuantError(
                f"{summary}; {listed(remedies, SHOWN_REMEDIES)}, or pass --allow-missing to leave them out"
            )
        notes.append(summary)
        for split, paintings in annotations.splits.items():
            if paintings and not readable[split]:
                reasons = Counter(row.reason for row in unreadable if row.split == split)
                counts = listed([f"{count} {reason}" for reason, count in reasons.items()])
                raise ArtQuantError(
                    f"the {split} split has no paintings: none of its {len(paintings)} images can be used ({counts}); "
                    f"'{report}' lists them with their reasons: complete the images, or import without this split"
                )
    if found:
        summary = _copies(found, report)
        if not allow_copies and (left_out or any(picture.contradictory for picture in found)):
            raise ArtQuantError(
                f"{summary}; remove the repeated paintings, or pass --allow-copies to leave copies of test pictures "
                "out of training and keep the others"
            )
        notes.append(summary)
    for split, paintings in kept.items():
        if readable[split] and not paintings:
            raise ArtQuantError(
                f"no painting is left for the {split} split, since each of its pictures has copies in another split; "
                f"remove the repeated paintings, which are listed in '{report}'"
            )
    notes.extend(_level_notes(kept))
    missing = {
        split: dict(Counter(row.reason for row in [*unreadable, *left_out] if row.split == split)) for split in kept
    }
    dataset = write_dataset(
        out,
        name=annotations.name,
        score_range=annotations.score_range,
        splits=kept,
        image_root=str(images.resolve()),
        source=annotations.source,
        license=annotations.license,
        missing=missing,
        copies={split: counted(found, split) for split in kept},
        split_method=annotations.split_method,
        split_seed=annotations.split_seed,
        folds=folds,
        ratings=annotations.ratings,
    )
    if is_in_data_home(out) and out.absolute().name in PUBLISHED and not annotations.official:
        name = out.absolute().name
        listed_tasks = ", ".join(name + ending for ending in ENDINGS)
        notes.append(
            f"the tasks {listed_tasks} now evaluate these paintings, in the place of "
            f"those that `{import_command(name)}` imports; published figures on {name} are about the latter"
        )
    return ImportResult(dataset, (*annotations.notes, *notes))


def _look_at_images(
    annotations: Annotations, images: Path, match: Match | None, workers: int | None
) -> tuple[dict[str, list[Painting]], list[ReportRow], list[ReportRow], list[str]]:
    """Find and open every image.

    Returns the paintings with their hashes by split, those left out, those with a file of another name that the user
    had joined, and sentences for the user.
    """
    places = [(split, painting) for split, rows in annotations.splits.items() for painting in rows]
    names, notes, files = find_pictures(images, [painting.image for _, painting in places], match)
    joined = [
        ReportRow(split, painting.image, JOINED, f"read as '{files[painting.image]}'")
        for split, painting in places
        if painting.image in files
    ]
    check_unique(
        {
            split: [
                replace(painting, image=name)
                for (own, painting), name in zip(places, names, strict=True)
                if own == split and isinstance(name, str)
            ]
            for split in annotations.splits
        }
    )
    hashes = iter(_hashes(images, [name for name in names if isinstance(name, str)], workers))
    readable: dict[str, list[Painting]] = {split: [] for split in annotations.splits}
    unreadable = []
    for (split, painting), name in zip(places, names, strict=True):
        result = next(hashes) if isinstance(name, str) else name
        if isinstance(result, ImageError):
            unreadable.append(ReportRow(split, painting.image, result.reason, str(result)))
        else:
            readable[split].append(replace(painting, image=str(name), sha256=result))
    return readable, unreadable, joined, notes


def _unreadable(rows: Sequence[ReportRow], total: int, report: Path) -> str:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in Counter(row.reason for row in rows).items())
    return (
        f"{len(rows):,} of {total:,} images cannot be used ({reasons}), see '{report}'; the first: "
        f"{one_line(rows[0].detail.rpartition('; ')[0])}"
    )


def _copies(found: Sequence[SamePicture], report: Path) -> str:
    """How many pictures stand under several names, and the worst of them."""
    across = sum(len(picture.splits) > 1 for picture in found)
    contradictory = sum(picture.contradictory for picture in found)
    worst = max(found, key=lambda picture: (len(picture.splits) > 1, picture.contradictory))
    return (
        f"{len(found):,} pictures stand under several names, {across:,} of them in several splits and "
        f"{contradictory:,} with different scores, see '{report}'; such as {worst}"
    )


def _in_strictest_split(
    splits: Mapping[str, Sequence[Painting]], found: Sequence[SamePicture]
) -> dict[str, list[Painting]]:
    strictest = {picture.places[0][1].sha256: picture.splits[-1] for picture in found}
    return {
        split: [painting for painting in paintings if strictest.get(painting.sha256, split) == split]
        for split, paintings in splits.items()
    }


def _copies_left_out(found: Sequence[SamePicture]) -> list[ReportRow]:
    return [
        ReportRow(split, painting.image, COPY, f"left out, since {picture.splits[-1]} has the same picture: {picture}")
        for picture in found
        for split, painting in picture.places
        if split != picture.splits[-1]
    ]


def _copy_rows(found: Sequence[SamePicture], left_out: Sequence[ReportRow]) -> list[ReportRow]:
    """The report's rows about copies: those that are left out, then those that stay."""
    stay = [
        ReportRow(split, painting.image, COPY_KEPT, f"the same picture under several names: {picture}")
        for picture in found
        for split, painting in picture.places
        if split == picture.splits[-1]
    ]
    return [*left_out, *stay]


def _together(splits: Mapping[str, Sequence[Painting]], found: Sequence[SamePicture]) -> dict[str, list[Painting]]:
    """Move the copies of a picture to the split that has the first of them by name."""
    home = {picture.places[0][1].sha256: _first_by_name(picture)[0] for picture in found}
    moved: dict[str, list[Painting]] = {split: [] for split in splits}
    for split, paintings in splits.items():
        for painting in paintings:
            moved[home.get(painting.sha256, split)].append(painting)
    return moved


def _folds_together(folds: Mapping[str, int], found: Sequence[SamePicture]) -> dict[str, int]:
    moved = dict(folds)
    for picture in found:
        moved |= dict.fromkeys((painting.id for _, painting in picture.places), folds[_first_by_name(picture)[1].id])
    return moved


def _first_by_name(picture: SamePicture) -> tuple[str, Painting]:
    return min(picture.places, key=lambda place: place[1].image)


def _write_report(path: Path, rows: Sequence[ReportRow]) -> None:
    with atomic_write(path) as file:
        writer = csv.writer(file)
        writer.writerow(("split", "image", "reason", "detail"))
        for row in rows:
            # Names of JSON files may hold halves of surrogate pairs, which no file can.
            cells = (row.split, row.image, row.reason, row.detail)
            writer.writerow(harmless(cell.encode("utf-8", "backslashreplace").decode()) for cell in cells)


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
