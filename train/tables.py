"""Samples of `datasets` objects: tables in memory or on the disk, and streams."""

import itertools
import math
import numbers
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import datasets
from torch.utils.data import IterableDataset

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import listed
from artquant_plugin.prompting.questions import join_description
from artquant_plugin.train.config import ArtQuantConfig
from artquant_plugin.train.data import (
    KINDS,
    MixedSamples,
    Sample,
    ScoredPainting,
    TableImage,
    attribute_samples,
    cell_content,
    check_attributes,
    opened_or_error,
    score_samples,
)
from artquant_plugin.train.sections import LevelsSection, SampleKind

Table: TypeAlias = datasets.Dataset | datasets.IterableDataset


class TableColumns:
    """Reads scores, descriptions and images from the columns of a table.

    - ``image``: an `Image` feature, or the path of a file.
    - ``score``: a number in the unit of the levels' values.
    - ``description``: a text, or a struct of ``perception``, ``cognition`` and ``emotion``; null or empty for a
      painting without one. Only description samples need it.
    - ``attributes``: a struct of numbers, null where a painting has no score of an attribute. Only the attributes that
      `ArtQuantConfig.attributes` names need it.
    - ``id``: what messages call the painting; the number of its row where there is no such column.

    Args:
        table: The table or stream whose columns are read.
        kinds: What is asked of each painting; None for the score, and for the description where there is the column.
        name: What messages call the table.

    Raises:
        ArtQuantError: A column is missing.
    """

    def __init__(self, table: Table, kinds: Sequence[str] | None, name: str) -> None:
        table = table.with_format(None)  # values as Python has them, whatever format the user works with
        # A stream that is made by a generator knows its columns by its rows alone.
        columns = list(table.column_names or next(iter(table), {}))
        if kinds is None:
            kinds = KINDS if "description" in columns else ["score"]
        self.kinds: list[SampleKind] = [kind for kind in KINDS if kind in kinds]
        needed = ["image", *("description" if kind == "describe" else "score" for kind in self.kinds)]
        for column in needed:
            if column not in columns:
                raise ArtQuantError(
                    f"{name} has no column {column!r}, only {listed(columns, 10)}; rename the column that holds it "
                    "with `rename_column`"
                )
        # Files are read as they are, so that rotation, transparency and broken images are treated as everywhere else.
        self.table = table if table.features is None else table.cast_column("image", datasets.Image(decode=False))
        self.name = name
        self.texts = [column for column in columns if column != "image"]

    def score(self, row: dict[str, Any], number: int) -> float:
        """The score of a row.

        Args:
            row: Values of the row by column.
            number: Number of the row from 0, for messages.

        Raises:
            ArtQuantError: It is no number.
        """
        score = row["score"]
        if isinstance(score, bool) or not isinstance(score, numbers.Real) or not math.isfinite(score):
            raise ArtQuantError(
                f"{self.name}: row {number} has the score {score!r}, which is no number; leave such rows out with "
                "`filter`"
            )
        return float(score)

    def description(self, row: dict[str, Any]) -> str | None:
        """The description of a row as one text; None where there is none.

        Args:
            row: Values of the row by column.
        """
        given = row["description"]
        if isinstance(given, dict):
            given = join_description(given) if all(given.values()) else None
        return given or None

    def painting_id(self, row: dict[str, Any], number: int) -> str:
        """What messages call a row's painting.

        Args:
            row: Values of the row by column.
            number: Number of the row from 0.
        """
        return str(row.get("id", number))


def row_score_samples(
    columns: TableColumns, rows: Sequence[dict[str, Any]], images: Sequence[TableImage], levels: LevelsSection
) -> list[Sample]:
    """One score sample per row.

    Args:
        columns: Reads the image and the score of each row.
        rows: Values of each row by column.
        images: The image of each row, which knows the row's number in the table.
        levels: The levels, and how a score becomes a soft label; `deviation` may name a column.

    Raises:
        ArtQuantError: A score is no number or outside the levels' range, or a row lacks the deviation.
    """
    numbers = [image.row for image in images]
    return score_samples(
        [columns.painting_id(row, number) for row, number in zip(rows, numbers, strict=True)],
        images,
        [columns.score(row, number) for row, number in zip(rows, numbers, strict=True)],
        levels,
        deviation_of=lambda index, name: rows[index].get(name),
        missing=lambda index: (
            f"{columns.name}: row {numbers[index]} has no {levels.deviation!r}; set levels['deviation'] to a number "
            "or to a column of numbers"
        ),
    )


def row_attribute_samples(
    columns: TableColumns, rows: Sequence[dict[str, Any]], images: Sequence[TableImage], args: ArtQuantConfig
) -> list[Sample]:
    """A score sample for each row and each attribute that it has a score of.

    Args:
        columns: Says what messages call each row.
        rows: Values of each row by column.
        images: The image of each row, which knows the row's number in the table.
        args: Says which attributes are trained, and their levels.

    Raises:
        ArtQuantError: A score is outside the range of the levels' values.
    """
    names = [columns.painting_id(row, image.row) for row, image in zip(rows, images, strict=True)]
    given = [row.get("attributes") for row in rows]
    return attribute_samples(names, images, given, args.levels_section(), args.attributes_section())


def row_description_samples(
    columns: TableColumns, rows: Sequence[dict[str, Any]], images: Sequence[TableImage]
) -> list[Sample]:
    """One description sample per row that has a description; the arguments are those of `row_score_samples`."""
    made = []
    for row, image in zip(rows, images, strict=True):
        text = columns.description(row)
        if text is not None:
            made.append(Sample("describe", columns.painting_id(row, image.row), image, description=text))
    return made


def table_samples(table: datasets.Dataset, args: ArtQuantConfig) -> MixedSamples:
    """The samples of a table.

    Args:
        table: Columns as `TableColumns` reads them.
        args: Kinds of samples, levels and seed.

    Raises:
        ArtQuantError: A column is missing, there is no row, a score is no number or outside the levels' values, or no
            row has a description although descriptions are asked for.
    """
    columns = TableColumns(table, args.sample_kinds, "train_dataset")
    rows = columns.table.select_columns(columns.texts).to_list()
    pictures = columns.table.select_columns(["image"])
    images = [TableImage(pictures, number) for number in range(len(rows))]
    if not rows:
        raise ArtQuantError("train_dataset has no row; give one with paintings")
    groups: list[tuple[list[Sample], float]] = []
    for kind in columns.kinds:
        if kind == "score":
            made = row_score_samples(columns, rows, images, args.levels_section())
        else:
            made = row_description_samples(columns, rows, images)
            if not made:
                raise ArtQuantError("no row of train_dataset has a description; set sample_kinds=['score']")
        groups.append((made, 1.0))
    asked = args.attributes_section()
    if asked.names and "score" in columns.kinds:
        made = row_attribute_samples(columns, rows, images, args)
        check_attributes(
            asked.names, made, {name for row in rows for name in row.get("attributes") or ()}, columns.name
        )
        groups.append((made, asked.weight))
    return MixedSamples(groups, args.seed)


class StreamedSamples(IterableDataset[dict[str, Any]]):
    """The samples of a stream, painting by painting, as items of `SampleDataset`.

    The stream starts over when it ends, so that one pass of training goes on until `max_steps`; each time, `set_epoch`
    has a shuffled stream come in another order. A painting's samples follow each other.

    Args:
        stream: Columns as `TableColumns` reads them.
        args: Kinds of samples and levels.

    Raises:
        ArtQuantError: A column is missing.
    """

    def __init__(self, stream: datasets.IterableDataset, args: ArtQuantConfig) -> None:
        self._columns = TableColumns(stream, args.sample_kinds, "train_dataset")
        self._args, self._levels = args, args.levels_section()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for epoch in itertools.count():
            self._columns.table.set_epoch(epoch)
            found = False
            for number, row in enumerate(self._columns.table):
                for item in self._items(row, number):
                    found = True
                    yield item
            if not found:
                return

    def _items(self, row: dict[str, Any], number: int) -> list[dict[str, Any]]:
        opened = opened_or_error(TableImage([row], 0))
        # The samples' image only says which of them are of one painting; it must not keep the row in memory.
        of_row = [TableImage(None, number)]
        made: list[Sample] = []
        for kind in self._columns.kinds:
            if kind == "score":
                made += row_score_samples(self._columns, [row], of_row, self._levels)
                made += row_attribute_samples(self._columns, [row], of_row, self._args)
            else:
                made += row_description_samples(self._columns, [row], of_row)
        return [{"sample": sample, **opened} for sample in made]


def table_paintings(table: Table) -> list[ScoredPainting]:
    """The paintings of a table, for an evaluation.

    Args:
        table: Columns as `TableColumns` reads them; of a stream, the images' files are kept in memory.

    Raises:
        ArtQuantError: A column is missing, or a score is no number.
    """
    columns = TableColumns(table, ["score"], "eval_dataset")
    if isinstance(columns.table, datasets.IterableDataset):
        return [
            ScoredPainting(columns.painting_id(row, number), cell_content(row["image"]), columns.score(row, number))
            for number, row in enumerate(columns.table)
        ]
    pictures = columns.table.select_columns(["image"])
    return [
        ScoredPainting(columns.painting_id(row, number), TableImage(pictures, number), columns.score(row, number))
        for number, row in enumerate(columns.table.select_columns(columns.texts).to_list())
    ]


def training_samples(
    given: MixedSamples | Table | None, args: ArtQuantConfig
) -> MixedSamples | StreamedSamples | None:
    """What a trainer trains on, made of what it was given.

    Args:
        given: A table, a stream, or samples, which stay as they are.
        args: Arguments of the training; for a stream, accelerate is told to have each process read it.

    Raises:
        ArtQuantError: It is of another kind, or a table or stream does not fit the arguments.
    """
    if isinstance(given, datasets.IterableDataset):
        if args.max_steps <= 0:
            raise ArtQuantError("a stream does not tell its length; set max_steps")
        if args.group_by_length:
            raise ArtQuantError("a stream comes in its own order; leave group_by_length out")
        # Left to itself, accelerate has one process read a stream and cut its batches for the others.
        accelerator: Any = args.accelerator_config
        accelerator.dispatch_batches = False
        return StreamedSamples(given, args)
    if isinstance(given, datasets.Dataset):
        return table_samples(given, args)
    if given is None or isinstance(given, MixedSamples):
        return given
    raise ArtQuantError(f"train_dataset is a {type(given).__name__}; give a datasets.Dataset or an IterableDataset")


def evaluation_paintings(given: Sequence[ScoredPainting] | Table) -> list[ScoredPainting]:
    """The paintings of an evaluation, made of what a trainer was given.

    Args:
        given: A table, a stream that ends, or paintings.

    Raises:
        ArtQuantError: It is of another kind, or a table does not fit.
    """
    if isinstance(given, datasets.Dataset | datasets.IterableDataset):
        return table_paintings(given)
    if isinstance(given, list | tuple) and all(isinstance(painting, ScoredPainting) for painting in given):
        return list(given)
    raise ArtQuantError(f"eval_dataset is a {type(given).__name__}; give one datasets.Dataset or IterableDataset")
