"""The dataset form that training, RAD, tasks and publishing read: rows per split and one dataset.json.

A folder with ``dataset.json`` and ``train.jsonl``, ``validation.jsonl``, ``test.jsonl`` (those that exist), or with
Parquet files in their place, ``data/train-*.parquet`` and so on. A row is a `Painting`; every row of a file has the
same keys, so that any JSON-lines reader infers one schema.

A dataset is replaced in one step although it has several files. The new rows are written to ``train.jsonl.new`` and
so on, beside the old ones. Then dataset.json is replaced, which has the SHA-256 of each file: from here on the new
dataset counts. Then the new files take the places of the old ones. A reader takes a file ``….new`` if it is the one
that dataset.json describes. So a process that is killed at any point leaves the old dataset or the new one, whole.
"""

import hashlib
import json
import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.files import atomic_write, remove_leftovers
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.run_record import only_writer
from artquant_plugin.common.text import one_line
from artquant_plugin.data.images import resolve_inside
from artquant_plugin.data.paintings import Painting, plain_name, read_paintings, row_files
from artquant_plugin.data.rater_agreement import RaterAgreement, agreement_by_split
from artquant_plugin.data.ratings import RATINGS_FILE, PaintingRatings
from artquant_plugin.prompting.levels import LEVEL_VALUES

FORM_VERSION = 1
INFO_FILE, FOLDS_FILE = "dataset.json", "folds.json"
RATERS = ("rating_sd", "raters")  # fields of a painting that rows have where the dataset knows its raters
PLAIN_NAME = re.compile(r"\w[\w.-]*")  # of a dataset: it becomes a folder's name under $ARTQUANT_DATA
DEMO = "artquant_demo"  # name of the dataset that `artquant data demo` paints
NEW = ".new"  # ends the name of a file that takes the place of an older one once dataset.json describes it
SPLITS = ("train", "validation", "test")  # a test painting must not be trained on: the later split is the stricter


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """Statistics of one split's scores, and the images that import could not use.

    Args:
        n: the number of paintings in the split.
        mean: the mean of the paintings' scores; None when there is no painting.
        median: the median of the paintings' scores; None when there is no painting.
        variance: the population variance of the paintings' scores (divided by n); None when there is no painting.
        missing: number of paintings that import left out, by reason, such as ``{"missing": 3, "copy": 1}``.
        copies: how many paintings of this split show a picture that the annotations also name in a split, by that
            split. ``{"train": 2}`` of a test split: two of its paintings stand in the annotations' training split as
            well; ``{"test": 4}``: four share their picture with another one of the test split.
        contradictory: how many paintings of this split share their picture with a painting of another score.
    """

    n: int
    mean: float | None
    median: float | None
    variance: float | None
    missing: dict[str, int] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    contradictory: int = 0


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What dataset.json says about a dataset.

    Args:
        name: also the folder's name under $ARTQUANT_DATA.
        score_range: lowest and highest possible score.
        image_root: folder of the images; relative to the dataset's folder, or absolute.
        splits: the statistics of each split, by its name.
        source: where the annotations are from.
        license: the terms under which the data may be used.
        level_values: scores of the five levels, best first, for a dataset that needs others than the default.
        split_method: how a split was made that its authors do not publish; None for a published one.
        split_seed: the seed of such a split; None for a published one.
        folds: number of cross-validation folds in folds.json; None where there are none.
        files: SHA-256 of each split's ``.jsonl`` file, of folds.json and of ratings.jsonl, by their names; empty where
            rows are Parquet.
        form_version: version of this form; another release may write another.
        rater_agreement: how well the raters agree on each split and on ``all`` paintings; None where the dataset holds
            no single ratings.
    """

    name: str
    score_range: tuple[float, float]
    image_root: str
    splits: dict[str, SplitInfo]
    source: str
    license: str
    level_values: tuple[float, ...] | None = None
    split_method: str | None = None
    split_seed: int | None = None
    folds: int | None = None
    files: dict[str, str] = field(default_factory=dict)
    form_version: int = FORM_VERSION
    rater_agreement: dict[str, RaterAgreement] | None = None


class Dataset:
    """A dataset folder, opened for reading; rows are read when they are asked for.

    Args:
        folder: the one that holds dataset.json.
        info: the contents of the folder's dataset.json.
    """

    def __init__(self, folder: Path, info: DatasetInfo) -> None:
        self.folder = folder
        self.info = info

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Open a dataset folder.

        Raises:
            ArtQuantError: no dataset.json, or one that is not of this form.
        """
        path = folder / INFO_FILE
        if not path.is_file():
            raise ArtQuantError(f"'{folder}' holds no {INFO_FILE}; import the dataset with `artquant data import`")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content["form_version"]
            if version != FORM_VERSION:
                raise ArtQuantError(
                    f"'{path}' has form version {version}, this release reads {FORM_VERSION}; update artquant-plugin"
                )
            low, high = content["score_range"]
            content["score_range"] = (float(low), float(high))
            content["splits"] = {name: SplitInfo(**split) for name, split in content["splits"].items()}
            texts = ("name", "image_root", "source", "license")
            if not all(isinstance(content[key], str) for key in texts):
                raise TypeError(f"one of {', '.join(texts)} is no text")
            if content["level_values"] is not None:
                content["level_values"] = tuple(content["level_values"])
            if content.get("rater_agreement") is not None:
                content["rater_agreement"] = {
                    name: RaterAgreement(**agreement) for name, agreement in content["rater_agreement"].items()
                }
            return cls(folder, DatasetInfo(**content))
        except ArtQuantError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ArtQuantError(
                f"'{path}' is not of the dataset form ({one_line(repr(error))}); import the dataset again"
            ) from error

    @property
    def image_root(self) -> Path:
        """Folder that the images' paths are relative to."""
        return self.folder / self.info.image_root

    def image_path(self, painting: Painting) -> Path:
        """Absolute path of a painting's image, checked to be inside the image root."""
        return resolve_inside(self.image_root, painting.image).absolute()

    def files(self, name: str) -> list[Path]:
        """The files that hold a split's rows.

        Raises:
            ArtQuantError: no such split, or its files are gone.
        """
        if name not in self.info.splits:
            raise ArtQuantError(f"dataset '{self.folder}' has no split {name!r}; it has {', '.join(self.info.splits)}")
        rows = self.file(f"{name}.jsonl")
        files = [rows] if rows.is_file() else row_files(self.folder, name)
        if not files:
            raise ArtQuantError(f"'{rows}' is missing although {INFO_FILE} lists it; import the dataset again")
        return files

    def file(self, name: str) -> Path:
        """The place of a file of the dataset, which need not exist.

        Args:
            name: ``train.jsonl``, ``folds.json`` and so on. Its new version is taken where the process that wrote
                dataset.json was killed before the file was in its place.
        """
        new = self.folder / f"{name}{NEW}"
        if name in self.info.files and new.is_file() and sha256_file(new) == self.info.files[name]:
            return new
        return self.folder / name

    def each(self, name: str) -> Iterator[Painting]:
        """The paintings of a split, checked, one after the other.

        Raises:
            ArtQuantError: no such split, a row that is not of the form (file and line are named), another number of
                rows than dataset.json gives, or the dataset was imported again since it was opened.

        Warns:
            ArtQuantWarning: the file is not the one that import wrote, so that somebody has changed it.
        """
        files = self.files(name)
        number = 0
        for path in files:
            for painting in read_paintings(path, self.info.score_range):
                number += 1
                yield painting
        if Dataset.load(self.folder).info.files != self.info.files:
            raise ArtQuantError(f"dataset '{self.folder}' was imported again while it was read; run the command again")
        if number != self.info.splits[name].n:
            raise ArtQuantError(
                f"'{files[0]}' has {number} rows, {INFO_FILE} says {self.info.splits[name].n}; "
                "import the dataset again"
            )
        self.warn_of_changes(name)

    def warn_of_changes(self, name: str) -> None:
        """Warn where the file of a split is not the one that was written together with dataset.json.

        Warns:
            ArtQuantWarning: its SHA-256 is another one.
        """
        for path in self.files(name):
            expected = self.info.files.get(path.name.removesuffix(NEW))
            if expected is not None and sha256_file(path) != expected:
                warnings.warn(
                    f"'{path}' is not the file that was written with {INFO_FILE}; import the dataset again, unless "
                    "you changed it yourself",
                    ArtQuantWarning,
                    stacklevel=3,
                )

    def split(self, name: str) -> list[Painting]:
        """All paintings of a split in a list; the errors are those of `each`."""
        return list(self.each(name))


def write_dataset(
    folder: Path,
    *,
    name: str,
    score_range: tuple[float, float],
    splits: Mapping[str, Sequence[Painting]],
    image_root: str,
    source: str,
    license: str,
    missing: Mapping[str, Mapping[str, int]] | None = None,
    copies: Mapping[str, tuple[dict[str, int], int]] | None = None,
    level_values: Sequence[float] | None = None,
    split_method: str | None = None,
    split_seed: int | None = None,
    folds: Mapping[str, int] | None = None,
    ratings: Mapping[str, PaintingRatings] | None = None,
) -> Dataset:
    """Write a dataset folder. A dataset that is there already stays readable until the new one is whole.

    Args:
        folder: made when absent; files of splits that are not given are removed. One process at a time may write it:
            the caller holds `only_dataset_writer` where another one could.
        name: the name under which the dataset is found.
        score_range: lowest and highest possible score.
        splits: paintings by split name (train, validation, test), in the order to be kept.
        image_root: folder of the images; relative to the dataset's folder, or absolute.
        source: where the annotations are from.
        license: the terms under which the data may be used.
        missing: how many paintings were left out, by split and reason.
        copies: the fields `copies` and `contradictory` of `SplitInfo`, by split; None where nobody looked for copies.
        level_values: scores of the five levels, best first, for a dataset that needs others than the default.
        split_method: how a split was made that the authors do not publish; None for a published one.
        split_seed: the seed of such a split; None for a published one.
        folds: fold of each painting's id, for cross-validation; written to folds.json.
        ratings: the single ratings of each painting, by its id; written to ratings.jsonl, for the paintings of the
            splits alone.

    Raises:
        ArtQuantError: nothing to write, a split of another name, a painting twice, a score outside the range.
    """
    for split in splits:
        if split not in SPLITS:
            raise ArtQuantError(f"split {split!r} is not one of {', '.join(SPLITS)}; rename it")
    if not any(splits.values()):
        raise ArtQuantError(f"dataset {name!r} has no paintings; check the annotations and the image folder")
    check_unique(splits)
    attributes = sorted({key for rows in splits.values() for row in rows for key in row.attributes or {}})
    low, high = score_range
    statistics = {}
    for split, rows in splits.items():
        for row in rows:
            if not low <= row.score <= high:
                raise ArtQuantError(
                    f"score {row.score:g} of '{row.image}' is outside [{low:g}, {high:g}]; mend the annotations or "
                    "pass another score range"
                )
        found, contradictory = (copies or {}).get(split, ({}, 0))
        statistics[split] = replace(
            split_info([row.score for row in rows], (missing or {}).get(split, {})),
            copies=found,
            contradictory=contradictory,
        )
    info = DatasetInfo(
        name=name,
        score_range=(float(low), float(high)),
        image_root=image_root,
        splits=statistics,
        source=source,
        license=license,
        level_values=None if level_values is None else tuple(float(value) for value in level_values),
        split_method=split_method,
        split_seed=split_seed,
        folds=None if folds is None else len(set(folds.values())),
        rater_agreement=agreement_by_split({name: [row.id for row in rows] for name, rows in splits.items()}, ratings)
        if ratings
        else None,
    )
    contents: dict[str, Iterable[str]] = {
        f"{split}.jsonl": (
            json.dumps(_row(row, attributes, rated=bool(ratings)), ensure_ascii=False, allow_nan=False) + "\n"
            for row in rows
        )
        for split, rows in splits.items()
    }
    if folds is not None:
        content = {"seed": split_seed, "method": split_method, "folds": dict(folds)}
        contents[FOLDS_FILE] = [json.dumps(content, indent=1, ensure_ascii=False) + "\n"]
    if ratings:
        contents[RATINGS_FILE] = (
            json.dumps(ratings[row.id].row(row.id), ensure_ascii=False) + "\n"
            for rows in splits.values()
            for row in rows
            if row.id in ratings
        )
    folder.mkdir(parents=True, exist_ok=True)
    names = (*(f"{split}.jsonl" for split in SPLITS), FOLDS_FILE, RATINGS_FILE)
    for name in (*names, INFO_FILE):
        remove_leftovers(folder / name)
    files = {name: _write_lines(folder / f"{name}{NEW}", lines) for name, lines in contents.items()}
    info = replace(info, files=files)
    write_info(folder, info)
    for name in names:
        if name in files:
            os.replace(folder / f"{name}{NEW}", folder / name)
        else:
            (folder / f"{name}{NEW}").unlink(missing_ok=True)
            (folder / name).unlink(missing_ok=True)
    return Dataset(folder, info)


def _write_lines(path: Path, lines: Iterable[str]) -> str:
    """Write a text file in one step; returns its SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with atomic_write(path) as file:
        for line in lines:
            try:
                digest.update(line.encode())
            except UnicodeEncodeError as error:
                raise ArtQuantError(
                    f"a text of {ascii(line[: error.start])[1:60]}… holds half of a surrogate pair, which is no "
                    "character; mend it in the annotations"
                ) from error
            file.write(line)
    return digest.hexdigest()


def split_info(scores: Sequence[float], missing: Mapping[str, int]) -> SplitInfo:
    """Compute the statistics of a split.

    Args:
        scores: of the split's paintings; may be empty.
        missing: number of paintings that were left out, by reason.
    """
    values = np.array(scores, dtype=np.float64)
    nothing = values.size == 0
    return SplitInfo(
        n=values.size,
        mean=None if nothing else float(values.mean()),
        median=None if nothing else float(np.median(values)),
        variance=None if nothing else float(values.var()),
        missing=dict(missing),
    )


def write_info(folder: Path, info: DatasetInfo) -> None:
    """Write dataset.json. It must be the last of a folder's files to be written, since readers look for it first."""
    with atomic_write(folder / INFO_FILE) as file:
        file.write(json.dumps(asdict(info), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _row(painting: Painting, attributes: Sequence[str], *, rated: bool) -> dict[str, Any]:
    row = asdict(painting)
    if not rated:
        for key in RATERS:
            del row[key]
    if attributes:
        given = painting.attributes or {}
        row["attributes"] = {
            key: None if (value := given.get(key)) is None or math.isnan(value) else value for key in attributes
        }
    return row


def check_unique(splits: Mapping[str, Sequence[Painting]]) -> None:
    """One painting may stand in one place only: a test image in training would make its score worthless.

    Args:
        splits: the paintings of each split, by the split's name.

    Raises:
        ArtQuantError: an id or an image stands twice.
    """
    for key in ("id", "image"):
        where: dict[str, list[str]] = {}
        for split, rows in splits.items():
            for row in rows:
                where.setdefault(row.id if key == "id" else plain_name(row.image), []).append(split)
        twice = {value: found for value, found in where.items() if len(found) > 1}
        if twice:
            value, found = next(iter(twice.items()))
            kinds = Counter("within a split" if len(set(f)) == 1 else "across splits" for f in twice.values())
            counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            raise ArtQuantError(
                f"{key} {value!r} stands in {' and '.join(found)}; a painting may stand in one split once "
                f"(duplicates: {counts}); remove the repeated rows"
            )


@contextmanager
def only_dataset_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a dataset's folder while it is written.

    Args:
        folder: of the dataset; it need not exist. The lock's file lies beside it.

    Raises:
        ArtQuantError: another process is writing the dataset.
        OSError: the folder above it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    with only_writer(place.with_name(f".{place.name}.lock"), folder):
        yield


def data_home() -> Path:
    """Where imported datasets are: $ARTQUANT_DATA, or ~/.cache/artquant/data."""
    return expanded(os.environ.get("ARTQUANT_DATA") or "~/.cache/artquant/data")


def outside_levels(scores: Sequence[float], values: Sequence[float] | None = None) -> int:
    """How many scores no distribution over the levels can express.

    Args:
        scores: the human scores of a dataset's paintings.
        values: the scores of the levels; None takes the default ones, `LEVEL_VALUES`.
    """
    chosen = values or LEVEL_VALUES
    return sum(not min(chosen) <= score <= max(chosen) for score in scores)
