"""LAPIS: 11,723 artworks, each rated from 0 to 100 by about 24 people (Maerten and others 2025).

The annotations come on request. They are read in the layout that the authors' training code names: a table with a row
for each rater and artwork, and a list of the artworks of each split. The table also says who the raters are (age,
education, nationality, interest in art); those columns are never read, and of a rater's id a number stays.
"""

from pathlib import Path, PurePosixPath

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import TableRow
from artquant_plugin.data.dataset import Painting
from artquant_plugin.data.importers.annotations import read_annotations
from artquant_plugin.data.importers.importing import Annotations
from artquant_plugin.data.importers.raters import rated_in_rows, rated_painting
from artquant_plugin.data.ratings import PaintingRatings

FILE = "annotation/LAPIS_individualratings_metaANDdemodata.csv"
LISTS = {
    "train": "imageset/TrainImageSet.txt",
    "validation": "imageset/ValImageSet.txt",
    "test": "imageset/TestImageSet.txt",
}
IMAGE, RATER, RATING = "image_filename", "participant_id", "response"
SCALE = (0.0, 100.0)


def read_lapis(annotations: Path) -> Annotations:
    """Read LAPIS in its published split. The score is the mean rating, from 0 to 100.

    Args:
        annotations: the folder with annotation/ and imageset/, as it is unpacked.

    Raises:
        ArtQuantError: a file is absent or faulty, an artwork stands in two lists, or none of those listed was rated.
    """
    if not annotations.is_dir():
        raise ArtQuantError(f"'{annotations}' is no folder; name the one that holds {FILE} and imageset/")
    split_of = _split_of(annotations)
    rows = read_annotations(annotations / FILE, (IMAGE, RATER, RATING))
    given = [row for row in rows if row.text(RATING)]
    notes = []
    if len(given) < len(rows):
        notes.append(f"{len(rows) - len(given):,} rows without a rating were passed over")
    once: dict[tuple[str, str], TableRow] = {}
    for row in given:
        once.setdefault((row.text(RATER), row.text(IMAGE)), row)
    if len(once) < len(given):
        notes.append(f"{len(given) - len(once):,} further ratings of an artwork by the same person were passed over")
    rated = rated_in_rows(list(once.values()), image=IMAGE, rater=RATER, score=RATING, score_range=SCALE)
    splits: dict[str, list[Painting]] = {split: [] for split in LISTS}
    kept: dict[str, PaintingRatings] = {}
    unlisted = 0
    for row, ratings in rated:
        path = PurePosixPath(row.text(IMAGE))
        if path.name not in split_of:
            unlisted += 1
            continue
        painting = rated_painting(path.name, path.name, ratings, category=path.parent.name or None)
        splits[split_of[path.name]].append(painting)
        kept[painting.id] = ratings
    if unlisted:
        notes.append(f"{unlisted:,} artworks that stand in none of the lists of imageset/ were left out")
    if not kept:
        raise ArtQuantError(
            f"none of the artworks of '{annotations / FILE}' stands in the lists of imageset/; fetch both from the "
            "same release"
        )
    return Annotations(
        name="lapis",
        score_range=SCALE,
        splits={split: paintings for split, paintings in splits.items() if paintings},
        source="LAPIS, https://github.com/Anne-SofieMaerten/LAPIS",
        license="on request from its authors, for research",
        official=True,
        ratings=kept,
        notes=tuple(notes),
    )


def _split_of(folder: Path) -> dict[str, str]:
    """The split of each artwork's file name."""
    found: dict[str, str] = {}
    for split, name in LISTS.items():
        path = folder / name
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (FileNotFoundError, UnicodeDecodeError) as error:
            what = "is absent" if isinstance(error, FileNotFoundError) else "is no text in UTF-8"
            raise ArtQuantError(f"'{path}' {what}; unpack the annotations of LAPIS again") from error
        for number, line in enumerate(lines, start=1):
            image = PurePosixPath(line.strip()).name
            if image and found.setdefault(image, split) != split:
                raise ArtQuantError(
                    f"{path}:{number}: {image!r} stands in the list of the {found[image]} split, too; unpack the "
                    "annotations of LAPIS again"
                )
    return found
