"""APDDv2: split files and the big file, as GitHub BestiVictory/APDDv2 publishes them at 3ff08cd.

The split files (UTF-8, ``Score`` from 0 to 10) hold no comments; the big file (GBK, ``Total aesthetic score`` from 0
to 100, ten times ``Score``) holds comments and no split. Given both, they are joined by file name and checked against
each other.
"""

from collections.abc import Mapping
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import TableRow
from artquant_plugin.data.dataset import Painting
from artquant_plugin.data.importers.annotations import REMEDY, check_once, read_annotations, read_rows
from artquant_plugin.data.importers.importing import Annotations, seeded_split

FILES = {"train": "train.csv", "validation": "valid.csv", "test": "test.csv"}
BIG_FILE = "APDDv2-10023.csv"
ATTRIBUTES = (
    "Theme and logic",
    "Creativity",
    "Layout and composition",
    "Space and perspective",
    "The sense of order",
    "Light and shadow",
    "Color",
    "Details and texture",
    "The overall",
    "Mood",
)
NAME, CATEGORY, SCORE, TOTAL, COMMENT = (
    "filename",
    "Artistic Categories",
    "Score",
    "Total aesthetic score",
    "Language Comment",
)
TOLERANCE = 0.01  # score points; the two files round differently


def read_apdd(annotations: Path, *, seed: int = 0) -> Annotations:
    """Read APDDv2.

    Args:
        annotations: folder with train.csv, valid.csv and test.csv, and with the big file for comments (beside them or
            one folder up, as in the repository); or the big file alone, which is then split 80/10/10.
        seed: of that split, from 0; the authors' own split needs none.

    Raises:
        ArtQuantError: a file is absent or faulty, or the two disagree about a score.
    """
    if annotations.is_file():
        paintings = read_rows(_read_big(annotations), lambda row: _painting(row, TOTAL, 10, row.text(COMMENT) or None))
        parts = seeded_split([p.id for p in paintings], {"train": 0.8, "validation": 0.1, "test": 0.1}, seed)
        return _annotations(
            {split: [paintings[index] for index in indices] for split, indices in parts.items()},
            split_method="random 80/10/10 by file name (numpy default_rng permutation); not the authors' split",
            split_seed=seed,
        )
    if not annotations.is_dir():
        raise ArtQuantError(f"'{annotations}' does not exist; name the folder that holds {', '.join(FILES.values())}")
    tables = {
        split: read_annotations(annotations / name, (NAME, CATEGORY, SCORE), optional=ATTRIBUTES)
        for split, name in FILES.items()
    }
    check_once(tables.values(), NAME)
    big = next((path for folder in (annotations, annotations.parent) if (path := folder / BIG_FILE).is_file()), None)
    notes = []
    comments: Mapping[str, str] = {}
    if big is None:
        notes.append(f"no {BIG_FILE} beside the split files: imported without comments")
    else:
        rows = _read_big(big)
        comments = {row.text(NAME): row.text(COMMENT) for row in rows if row.text(COMMENT)}
        _check_scores(rows, [row for table in tables.values() for row in table])
    splits = {
        split: read_rows(table, lambda row: _painting(row, SCORE, 1, comments.get(row.text(NAME))))
        for split, table in tables.items()
    }
    return _annotations(splits, notes=tuple(notes))


def _annotations(
    splits: Mapping[str, list[Painting]],
    *,
    split_method: str | None = None,
    split_seed: int | None = None,
    notes: tuple[str, ...] = (),
) -> Annotations:
    return Annotations(
        name="apdd",
        score_range=(0.0, 10.0),
        splits=splits,
        source="APDDv2, https://github.com/BestiVictory/APDDv2",
        license="CC BY-NC-ND 4.0",
        official=True,
        split_method=split_method,
        split_seed=split_seed,
        notes=notes,
    )


def _read_big(path: Path) -> list[TableRow]:
    rows = read_annotations(path, (NAME, CATEGORY, TOTAL, COMMENT), optional=ATTRIBUTES, encoding="gbk")
    check_once([rows], NAME)
    return rows


def _painting(row: TableRow, score_column: str, unit: float, comment: str | None) -> Painting:
    return Painting(
        id=Path(row.text(NAME)).stem,
        image=row.text(NAME),
        sha256="",
        score=round(row.number(score_column, 0, 10 * unit, REMEDY) / unit, 6),
        category=row.text(CATEGORY) or None,
        attributes={name: row.number(name, 0, 10, REMEDY) if row.text(name) else None for name in ATTRIBUTES},
        comment=comment,
    )


def _check_scores(big: list[TableRow], split: list[TableRow]) -> None:
    """The big file's total is ten times the split files' score."""
    totals = {row.text(NAME): row.number(TOTAL, 0, 100, REMEDY) / 10 for row in big}
    differing = [
        row
        for row in split
        if row.text(NAME) in totals and abs(totals[row.text(NAME)] - row.number(SCORE, 0, 10, REMEDY)) > TOLERANCE
    ]
    if differing:
        row = differing[0]
        raise ArtQuantError(
            f"{row.place}: score {row.text(SCORE)} of '{row.text(NAME)}' is not a tenth of {BIG_FILE}'s "
            f"({len(differing)} such rows); take both files from one release"
        )
