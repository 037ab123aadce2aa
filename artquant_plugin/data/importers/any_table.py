"""Any dataset that is one table of image names and scores."""

from dataclasses import dataclass
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import UTF8, TableRow
from artquant_plugin.data.dataset import SPLITS, Painting
from artquant_plugin.data.importers.annotations import check_once, read_annotations, read_rows, tell_together
from artquant_plugin.data.importers.importing import Annotations, check_range, seeded_split
from artquant_plugin.data.task_names import check_task_name

SPLIT_WORDS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
SPLIT_WORDS |= {"validation": "validation", "dev": "validation", "test": "test", "testing": "test"}


@dataclass(frozen=True, slots=True)
class AnnotationColumns:
    """Which column of a table holds what.

    Args:
        image: paths relative to the image folder.
        score: the name of the column with the human scores.
        split: the split's name, one of `SPLIT_WORDS` in any case; None has a split made.
        category: of the painting, as a text; None where the table has none.
        comment: a rater's words; None where the table has none.
    """

    image: str
    score: str
    split: str | None = None
    category: str | None = None
    comment: str | None = None


def read_csv(
    path: Path,
    columns: AnnotationColumns,
    *,
    name: str,
    score_range: tuple[float, float],
    encoding: str = UTF8,
    delimiter: str | None = None,
    header: bool = True,
    seed: int = 0,
    test_fraction: float = 0.2,
    source: str | None = None,
    license: str = "unknown",
) -> Annotations:
    """Read a table.

    Args:
        path: the table; `artquant_plugin.common.tables.read_table` says which formats it may have.
        columns: which columns are read; without a split column a seeded split is made.
        name: of the dataset, which becomes a folder's name.
        score_range: the lowest and the highest possible score.
        encoding: of a text table, as Python names it.
        delimiter: the character between the fields of a text table; None takes the one that its first line shows.
        header: whether the first line of a text table has the names of the columns. Where it has not, `columns` names
            them by their numbers, ``"1"``, ``"2"`` and so on.
        seed: of the permutation by which a split is made.
        test_fraction: the share of the rows that a made split tests with, in (0, 1).
        source: where the table is from; None takes its file name.
        license: the terms under which the data may be used.

    Raises:
        ArtQuantError: the range, the fraction or the file is faulty, or rows are, which are told together.
    """
    check_task_name(name)
    check_range(score_range)
    if not 0 < test_fraction < 1:
        raise ArtQuantError(f"test fraction {test_fraction:g} is not between 0 and 1; pass one such as 0.2")
    needed = [
        column
        for column in (columns.image, columns.score, columns.split, columns.category, columns.comment)
        if column is not None
    ]
    rows = read_annotations(
        path,
        needed,
        encoding=encoding,
        delimiter=delimiter,
        remedy="pass the right --image-column, --score-column …",
        has_options=True,
        header=header,
        header_option="--no-header --image-column {image} --score-column {score}",
    )
    _, paintings, split_of_each = tell_together(
        lambda: check_once([rows], columns.image),
        lambda: read_rows(rows, lambda row: _painting(row, columns, score_range)),
        lambda: read_rows(rows, lambda row: _split(row, columns.split) if columns.split else None),
    )
    source = source or path.name
    if columns.split is not None:
        splits: dict[str, list[Painting]] = {}
        for split, painting in zip(split_of_each, paintings, strict=True):
            splits.setdefault(split, []).append(painting)
        ordered = {split: splits[split] for split in SPLITS if split in splits}
        return Annotations(name, score_range, ordered, source, license)
    parts = seeded_split([p.image for p in paintings], {"train": 1 - test_fraction, "test": test_fraction}, seed)
    for split, indices in parts.items():
        if not indices:
            raise ArtQuantError(
                f"{len(rows)} rows leave no painting for the {split} split; "
                f"{'raise' if split == 'test' else 'lower'} --test-fraction, or name a --split-column"
            )
    return Annotations(
        name,
        score_range,
        {split: [paintings[index] for index in indices] for split, indices in parts.items()},
        source,
        license,
        split_method=f"random, {test_fraction:g} for test, by image name (numpy default_rng permutation)",
        split_seed=seed,
    )


def _painting(row: TableRow, columns: AnnotationColumns, score_range: tuple[float, float]) -> Painting:
    return Painting(
        id=_image(row, columns.image),  # with its ending: a folder may hold a.jpg and a.png
        image=_image(row, columns.image),
        sha256="",
        score=row.number(
            columns.score,
            *score_range,
            "write a number",
            range_remedy="mend the table or pass another --score-range",
        ),
        category=row.text(columns.category) or None if columns.category else None,
        comment=row.text(columns.comment) or None if columns.comment else None,
    )


def _image(row: TableRow, column: str) -> str:
    name = row.text(column)
    if not name:
        raise ArtQuantError(f"{row.place}: {column} is empty; write the image's name or remove the row")
    return name


def _split(row: TableRow, column: str) -> str:
    word = row.text(column).lower()
    if word not in SPLIT_WORDS:
        raise ArtQuantError(f"{row.place}: split {row.text(column)!r} is not one of {', '.join(SPLIT_WORDS)}; mend it")
    return SPLIT_WORDS[word]
