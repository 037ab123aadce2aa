"""A run opened together with its dataset, and the table with one row per painting that is exported from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import INFO_FILE, Dataset
from artquant_plugin.data.paintings import Painting
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS, join_description
from artquant_plugin.train.rad.record import RECORD_FILE, RunRecord
from artquant_plugin.train.rad.store import STORE_FILE, RunStore
from artquant_plugin.train.rad.store_rows import PaintingResult

ExportRow = dict[str, Any]

# Name, type and meaning of each column. `features` adds `attributes` and `image` for exports that have them.
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("id", "string", "the painting's id, unique in the dataset"),
    ("file_name", "string", "path of the picture, relative to the dataset's image folder"),
    ("sha256", "string", "hash of the picture's file; empty where the dataset does not know it"),
    ("dataset", "string", "name of the source dataset"),
    ("split", "string", "as in that dataset"),
    ("score", "float64", "mean human score, in the dataset's range"),
    ("category", "string", "as in the dataset"),
    ("comment", "string", "a rater's words, as in the dataset"),
    (
        "perception",
        "string",
        "what is seen; null, as the other texts are, where none was accepted",
    ),
    ("cognition", "string", "what it means"),
    ("emotion", "string", "what it makes one feel"),
    ("description", "string", "the three levels as one text, which a model learns to write"),
    ("state", "string", "accepted, failed, refining (no end yet) or pending (never asked about)"),
    ("reason", "string", "why it failed"),
    ("rounds", "int32", "descriptions that were asked for"),
    ("judge_score", "float64", "the judge's own estimate from the text; in blind mode alone"),
    ("generator", "string", "name of the model that describes; null where nothing was asked"),
    ("judge", "string", "name of the model that judges"),
)
# A picture that is in several splits stays in the strictest one, so that nothing is trained on that is tested.
STRICTNESS = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True, slots=True)
class RadRun:
    """A run's folder with its dataset, opened for reading; a process may still be writing to the folder.

    Args:
        folder: the folder that was given to `artquant rad generate --out`.
        record: what the run is made from.
        store: the run's results, open for reading.
        dataset: the dataset that the run describes.
    """

    folder: Path
    record: RunRecord
    store: RunStore
    dataset: Dataset

    @classmethod
    def open(cls, folder: Path, data: Path | None = None) -> Self:
        """Open a run for reading, with its dataset.

        Args:
            folder: the run directory, which was given to `artquant rad generate --out`.
            data: the dataset's folder, if it was moved since the run; None for the folder that the run's record names.

        Raises:
            ArtQuantError: the folder is no run directory, or the dataset is not where it should be.
        """
        record = RunRecord.read(folder)
        if record is None:
            raise ArtQuantError(f"'{folder}' holds no {RECORD_FILE}; give the folder of `artquant rad generate --out`")
        source = Path(record.data["folder"]) if data is None else data
        if not (source / INFO_FILE).is_file():
            raise ArtQuantError(f"the run's dataset is not in '{source}'; pass --data with its folder")
        return cls(folder, record, RunStore(folder / STORE_FILE, readonly=True), Dataset.load(source))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def paintings(self) -> Iterator[tuple[Painting, PaintingResult]]:
        """Yield every painting of the dataset with its result, in the dataset's order.

        Raises:
            ArtQuantError: the dataset is not the one that the run described.
        """
        results = self.store.results()
        for split in self.dataset.info.splits:
            for painting in self.dataset.each(split):
                result = next(results, None)
                if result is None or _painting_key(result.split, result) != _painting_key(split, painting):
                    raise self._dataset_differs(painting.id)
                yield painting, result
        left = next(results, None)
        if left is not None:
            raise self._dataset_differs(left.id)

    def _dataset_differs(self, name: str) -> ArtQuantError:
        return ArtQuantError(
            f"dataset '{self.dataset.folder}' is not the one that '{self.folder}' described: painting {name!r} "
            "differs; put it back, or pass --data with the folder of the right one"
        )


def _painting_key(split: str, row: Painting | PaintingResult) -> tuple[str, str, str, str, float]:
    """The values by which a painting of the dataset and a result of the run are recognized as the same painting."""
    return split, row.id, row.image, row.sha256, row.score


def features(attributes: Sequence[str], *, with_images: bool) -> Any:
    """Return the columns of the rows and their types, as `datasets.Features`.

    Args:
        attributes: names of the dataset's attributes; without names there is no column ``attributes``.
        with_images: whether there is a column ``image`` with the pictures' files.
    """
    from datasets import Features, Image, Value

    columns: dict[str, Any] = {name: Value(kind) for name, kind, _ in COLUMNS}
    if attributes:
        columns["attributes"] = {name: Value("float64") for name in attributes}
    if with_images:
        columns["image"] = Image()
    return Features(columns)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A painting that the export leaves out, since its picture is also in a stricter split.

    Args:
        id: the painting's name, unique in the dataset.
        split: the dataset's split that has the painting.
        kept: the stricter split that has the same picture and keeps it.
    """

    id: str
    split: str
    kept: str


@dataclass(frozen=True, slots=True)
class ExportSurvey:
    """What a first pass over a run finds, so that the export knows its columns and sizes before it writes.

    Args:
        attributes: names of the dataset's attributes, sorted.
        sizes: number of rows by split, without the paintings that are left out.
        left_out: paintings whose picture is also in a stricter split.
    """

    attributes: tuple[str, ...]
    sizes: Mapping[str, int]
    left_out: tuple[LeftOut, ...]


def survey(run: RadRun) -> ExportSurvey:
    """Read every painting once to find the attributes, and the pictures that are in several splits.

    Two files with the same hash are the same picture, whatever their names.

    Raises:
        ArtQuantError: the dataset is not the one that the run described.
    """
    attributes: set[str] = set()
    places: list[tuple[str, str, str]] = []
    strictest: dict[str, str] = {}
    for painting, result in run.paintings():
        attributes.update(painting.attributes or {})
        picture = picture_hash(run, painting) or f"path {painting.image}"
        places.append((painting.id, result.split, picture))
        if STRICTNESS[result.split] >= STRICTNESS[strictest.setdefault(picture, result.split)]:
            strictest[picture] = result.split
    sizes = dict.fromkeys(run.dataset.info.splits, 0)
    left_out = []
    for name, split, picture in places:
        if strictest[picture] == split:
            sizes[split] += 1
        else:
            left_out.append(LeftOut(name, split, strictest[picture]))
    return ExportSurvey(tuple(sorted(attributes)), sizes, tuple(left_out))


def picture_hash(run: RadRun, painting: Painting) -> str:
    """SHA-256 of a painting's file in hexadecimal digits; empty when there is no file.

    Args:
        run: the run whose dataset has the painting.
        painting: the painting, whose file is read only if the dataset does not know the hash.
    """
    if painting.sha256:
        return painting.sha256
    path = run.dataset.image_path(painting)
    return sha256_file(path) if path.is_file() else ""


def rows(run: RadRun, found: ExportSurvey) -> Iterator[tuple[ExportRow, Path]]:
    """Yield the rows in the dataset's order, each with the path of its picture; they have no column ``image``.

    Args:
        run: the run to be exported.
        found: the result of `survey` for the same run.
    """
    absent = {item.id for item in found.left_out}
    for painting, result in run.paintings():
        if painting.id not in absent:
            yield _row(run, painting, result, found.attributes), run.dataset.image_path(painting)


def _row(run: RadRun, painting: Painting, result: PaintingResult, attributes: Sequence[str]) -> ExportRow:
    levels = result.description
    asked = result.rounds > 0
    row: ExportRow = {
        "id": painting.id,
        "file_name": painting.image,
        "sha256": picture_hash(run, painting),
        "dataset": run.dataset.info.name,
        "split": result.split,
        "score": float(painting.score),
        "category": painting.category,
        "comment": painting.comment,
        **{level: levels[level] if levels else None for level in DESCRIPTION_LEVELS},
        "description": join_description(levels) if levels else None,
        "state": result.state,
        "reason": result.reason,
        "rounds": result.rounds,
        "judge_score": result.judge_score,
        "generator": run.record.models["generator"] if asked else None,
        "judge": run.record.models["judge"] if asked else None,
    }
    if attributes:
        given = painting.attributes or {}
        row["attributes"] = {name: given.get(name) for name in attributes}
    return row
