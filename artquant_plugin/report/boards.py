"""Output folders and prediction files -> one board per dataset: who scored which painting how."""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.data.dataset import INFO_FILE, Dataset, DatasetInfo, Painting
from artquant_plugin.data.find import find_dataset
from artquant_plugin.report.details import read_descriptions, read_details, without_variant
from artquant_plugin.report.entries import TOLERANCE, Columns, Entry, Names
from artquant_plugin.report.samples import TaskRun, read_runs
from artquant_plugin.report.sources import Source

SPLIT = "test"  # that the tasks are evaluated on

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Board:
    """One dataset and every model that was measured on it.

    Args:
        dataset: its name.
        ids: of all paintings with a human score, sorted.
        truth: of these paintings.
        entries: the models, in the order given.
        paintings: rows of the dataset's test split by id; empty when its folder is absent.
        info: dataset.json; None when the folder is absent.
        images: where the pictures are, for those whose file exists.
        missing: paintings that the dataset's import could not use.
    """

    dataset: str
    ids: list[str]
    truth: FloatArray
    entries: list[Entry]
    paintings: Mapping[str, Painting]
    info: DatasetInfo | None
    images: Mapping[str, Path]
    missing: int

    def matrix(self) -> FloatArray:
        """Predictions, shape (entries, paintings); NaN where there is none."""
        rows = [[entry.predictions.get(name, np.nan) for name in self.ids] for entry in self.entries]
        return np.array(rows, dtype=np.float64).reshape(len(self.entries), len(self.ids))

    def categories(self) -> list[str | None]:
        """Category of each painting."""
        known: dict[str, str | None] = {name: row.category for name, row in self.paintings.items()}
        for entry in self.entries:
            for name, sample in entry.samples.items():
                if known.get(name) is None:
                    known[name] = sample.category
        return [known.get(name) for name in self.ids]


def read_boards(sources: Sequence[Source], columns: Columns, *, dataset: str | None = None) -> list[Board]:
    """Read everything and put it together by dataset.

    Args:
        sources: folders and CSV files.
        columns: of the CSV files.
        dataset: take only this dataset's runs, and take CSV files for its.

    Returns:
        Boards in the order of their datasets' names.

    Raises:
        ArtQuantError: a source cannot be read; two models of a dataset bear the same name; human scores differ.
    """
    runs: dict[str, list[Entry]] = {}
    missing: dict[str, int] = {}
    for source in sources:
        if source.path.is_dir():
            for run, entry in _entries_of_folder(source, dataset):
                assert entry.details is not None
                runs.setdefault(entry.details.dataset, []).append(entry)
                missing[entry.details.dataset] = max(run.missing, missing.get(entry.details.dataset, 0))
    files = [source for source in sources if not source.path.is_dir()]
    for source in files:
        runs.setdefault(_dataset_of(source, dataset, list(runs)), [])
    boards = []
    for name in sorted(runs):
        own = [source for source in files if _dataset_of(source, dataset, list(runs)) == name]
        boards.append(_board(name, runs[name], own, columns, missing.get(name, 0)))
    return boards


def _entries_of_folder(source: Source, dataset: str | None) -> list[tuple[TaskRun, Entry]]:
    found = []
    for run in read_runs([source.path]):
        details = read_details(run)
        if dataset in (None, details.dataset, run.task):
            name = source.name or run.model
            label = f"{name} ({details.variant})" if details.variant else name
            entry = Entry(
                name=label,
                predictions=dict(zip(run.ids, run.predictions, strict=True)),
                failures=run.failures,
                samples={sample.id: sample for sample in run.samples},
                details=details,
                file=run.file,
                older=run.older,
                measured=run.measured,
                from_range=run.from_range,
                descriptions=read_descriptions(run, details.dataset),
            )
            found.append((run, entry))
    if not found:
        raise ArtQuantError(f"'{source.path}' holds no run of {dataset!r}; look at `artquant results {source.path}`")
    models = {run.model for run, _ in found}
    if source.name is not None and len(models) > 1:
        raise ArtQuantError(
            f"'{source.path}' holds {len(models)} models ({', '.join(sorted(models))}), which cannot all be called "
            f"{source.name!r}; name one model's folder"
        )
    return found


def _dataset_of(source: Source, dataset: str | None, known: Sequence[str]) -> str:
    chosen = source.dataset or dataset
    if chosen is not None:
        return without_variant(chosen)
    if len(known) == 1:
        return known[0]
    choice = f"one of {', '.join(sorted(known))}" if known else "its dataset"
    raise ArtQuantError(f"'{source.path}' may be of any dataset; write '{source.path}@DATASET' with {choice}")


def _board(name: str, entries: Sequence[Entry], files: Sequence[Source], columns: Columns, missing: int) -> Board:
    truth = _truths_of_runs(entries)
    dataset, paintings = _dataset(name, entries, truth)
    if dataset is not None:
        missing = max(missing, sum(dataset.info.splits[SPLIT].missing.values()))
    read = list(entries)
    if files:
        names = Names(truth, paintings, entries, columns)
        truth = names.truth
        for source in files:
            read.append(names.entry(source))
    twice = [label for label, count in Counter(entry.name for entry in read).items() if count > 1]
    if twice:
        places = " and ".join(f"'{entry.file}'" for entry in read if entry.name == twice[0])
        raise ArtQuantError(f"{twice[0]!r} is the name of {places} on {name}; tell them apart with NAME=PATH")
    ids = sorted(truth)
    return Board(
        dataset=name,
        ids=ids,
        truth=np.array([truth[one] for one in ids], dtype=np.float64),
        entries=read,
        paintings=paintings,
        info=None if dataset is None else dataset.info,
        images=_images(ids, dataset, paintings, entries),
        missing=missing,
    )


def _find(name: str, entries: Iterable[Entry]) -> Dataset | None:
    """The dataset's folder: where the runs found it, or where it would be imported to."""
    for entry in entries:
        if entry.details is not None and entry.details.folder is not None:
            if (entry.details.folder / INFO_FILE).is_file():
                return Dataset.load(entry.details.folder)
    try:
        folder = find_dataset(name)
    except ArtQuantError:
        return None
    return Dataset.load(folder)


def _dataset(
    name: str, entries: Iterable[Entry], truth: Mapping[str, float]
) -> tuple[Dataset | None, dict[str, Painting]]:
    """The dataset and its test split; nothing where it is absent or of another release than the runs'."""
    dataset = _find(name, entries)
    if dataset is None or SPLIT not in dataset.info.splits:
        return None, {}
    paintings = {painting.id: painting for painting in dataset.split(SPLIT)}
    for one, score in truth.items():
        if one in paintings and abs(paintings[one].score - score) > TOLERANCE:
            warnings.warn(
                f"'{dataset.folder}' gives {one!r} the human score {paintings[one].score:g}, the runs on {name} "
                f"{score:g}: they were run on another one, so its pictures, texts and statistics are not shown",
                ArtQuantWarning,
                stacklevel=2,
            )
            return None, {}
    return dataset, paintings


def _truths_of_runs(entries: Iterable[Entry]) -> dict[str, float]:
    truth: dict[str, float] = {}
    where: dict[str, Entry] = {}
    for entry in entries:
        for name, sample in entry.samples.items():
            if truth.setdefault(name, sample.truth) != sample.truth:
                raise ArtQuantError(
                    f"painting {name!r} has the human score {truth[name]:g} in '{where[name].file}' and "
                    f"{sample.truth:g} in '{entry.file}'; leave one of the runs out, or run it again"
                )
            where.setdefault(name, entry)
    return truth


def _images(
    ids: Sequence[str], dataset: Dataset | None, paintings: Mapping[str, Painting], entries: Sequence[Entry]
) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in ids:
        if dataset is not None and name in paintings:
            path = dataset.image_path(paintings[name])
            if path.is_file():
                found[name] = path
    for entry in entries:
        for name, sample in entry.samples.items():
            if name not in found and sample.image is not None and Path(sample.image).is_file():
                found[name] = Path(sample.image)
    return found
