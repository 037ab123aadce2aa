"""Reads output folders and prediction files into one board per dataset, with the scores of all models on it."""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.secrets import without_keys
from artquant_plugin.data.dataset import INFO_FILE, Dataset, DatasetInfo, Painting, data_home
from artquant_plugin.data.find import find_dataset
from artquant_plugin.report.model_names import readable_names, with_variant
from artquant_plugin.report.model_predictions import (
    TOLERANCE,
    ModelPredictions,
    PredictionColumns,
    PredictionFileReader,
)
from artquant_plugin.report.painting_pictures import find_pictures
from artquant_plugin.report.prediction_sources import PredictionSource
from artquant_plugin.report.run_details import dataset_of, read_descriptions, read_details, without_variant
from artquant_plugin.report.task_runs import ATTRIBUTE, LoggedSample, TaskRun, read_runs, titled
from artquant_plugin.report.training_data import seen_in_training

SPLIT = "test"  # the split that the tasks evaluate on
# The name of a dataset that, joined to the path of a folder, leads to no place outside that folder.
PLAIN_NAME = re.compile(r"\w[\w.-]*")

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Board:
    """One dataset and every model that was measured on it.

    Args:
        dataset: name of the dataset, such as ``baid``, with the attribute where one is scored: ``apdd: Color``.
        ids: the ids of all n paintings with a human score, sorted.
        truth: the human scores of these paintings; shape (n,).
        models: the models with their predictions; those of output folders first, then those of prediction files.
        paintings: the rows of the dataset's test split by id; empty when the dataset's folder is absent.
        info: the content of the dataset's ``dataset.json``; None when the folder is absent, or where an attribute is
            scored, about which it says nothing.
        images: the files of the pictures by id, as `find_pictures` found them.
        missing: number of paintings that the dataset's import could not use.
    """

    dataset: str
    ids: list[str]
    truth: FloatArray
    models: list[ModelPredictions]
    paintings: Mapping[str, Painting]
    info: DatasetInfo | None
    images: Mapping[str, Path]
    missing: int

    def matrix(self) -> FloatArray:
        """The predictions of all models; shape (M, n), NaN where a model has none for a painting."""
        rows = [[model.predictions.get(name, np.nan) for name in self.ids] for model in self.models]
        return np.array(rows, dtype=np.float64).reshape(len(self.models), len(self.ids))

    def categories(self) -> list[str | None]:
        """The category of each painting, in the order of the ids; None where it has none."""
        known: dict[str, str | None] = {name: row.category for name, row in self.paintings.items()}
        for model in self.models:
            for name, sample in model.samples.items():
                if known.get(name) is None:
                    known[name] = sample.category
        return [known.get(name) for name in self.ids]


def read_boards(
    sources: Sequence[PredictionSource],
    columns: PredictionColumns,
    *,
    dataset: str | None = None,
    images: Sequence[Path] = (),
) -> list[Board]:
    """Read output folders and prediction files, and put the models of each dataset on one board.

    Args:
        sources: the output folders of lmms-eval and the prediction files.
        columns: the columns of the prediction files, and where to find human scores for them.
        dataset: name of the only dataset to read runs of, which is also that of the prediction files; None to read
            the runs of all datasets.
        images: folders with pictures of paintings that are in no imported dataset.

    Returns:
        The boards, in the order of the datasets' names.

    Raises:
        ArtQuantError: a source cannot be read, a prediction file does not say of which dataset it is, two models on a
            dataset have the same name, or two sources give a painting different human scores.
    """
    runs: dict[str, list[ModelPredictions]] = {}
    missing: dict[str, int] = {}
    found = [(source, _runs_of_folder(source, dataset)) for source in sources if source.path.is_dir()]
    names = readable_names(run.full_name for source, own in found if source.name is None for run in own)
    for source, its_runs in found:
        for run in its_runs:
            board = _board_of(run)
            runs.setdefault(board, []).append(_model_of_run(run, source.name or names[run.full_name]))
            missing[board] = max(run.missing, missing.get(board, 0))
    files = [source for source in sources if not source.path.is_dir()]
    for source in files:
        runs.setdefault(_dataset_of(source, dataset, list(runs)), [])
    boards = []
    for name in sorted(runs):
        own = [source for source in files if _dataset_of(source, dataset, list(runs)) == name]
        by_user = name in {without_variant(chosen) for chosen in (dataset, *(file.dataset for file in own)) if chosen}
        boards.append(_board(name, runs[name], own, columns, missing.get(name, 0), images, by_user))
    return boards


def _runs_of_folder(source: PredictionSource, dataset: str | None) -> list[TaskRun]:
    """The runs of a folder that are on the wanted dataset; an error where there is none."""
    found = [run for run in read_runs([source.path]) if dataset in (None, run.task, _board_of(run))]
    if not found:
        raise ArtQuantError(f"'{source.path}' holds no run of {dataset!r}; look at `artquant results {source.path}`")
    names = {run.model for run in found}
    if source.name is not None and len(names) > 1:
        raise ArtQuantError(
            f"'{source.path}' holds {len(names)} models ({', '.join(sorted(names))}), which cannot all be called "
            f"{source.name!r}; name one model's folder"
        )
    return found


def _board_of(run: TaskRun) -> str:
    """The name of the board that a run is on; each attribute of a dataset has one of its own."""
    return titled(dataset_of(run)[0], run.attribute)


def _model_of_run(run: TaskRun, name: str) -> ModelPredictions:
    """The predictions of a run.

    Args:
        run: the run, as `read_runs` read it.
        name: the name of its model, without the variant of the task.
    """
    details = read_details(run)
    clean = partial(without_keys, keys=details.keys)
    descriptions = read_descriptions(run, details.dataset)
    return ModelPredictions(
        name=with_variant(name, details.variant),
        predictions=dict(zip(run.ids, run.predictions, strict=True)),
        failures=run.failures,
        samples={sample.id: _without_keys(sample, clean) for sample in run.samples},
        details=details,
        file=run.file,
        older=run.older,
        has_own_unit=run.has_own_unit,
        from_range=run.from_range,
        descriptions={painting_id: clean(text) for painting_id, text in descriptions.items()},
        training_note=seen_in_training(run.names, details.dataset),
    )


def _without_keys(sample: LoggedSample, clean: Callable[[str], str]) -> LoggedSample:
    """A sample without the secrets that an endpoint repeated in its reply."""
    return replace(sample, reply=clean(sample.reply), reason=None if sample.reason is None else clean(sample.reason))


def _dataset_of(source: PredictionSource, dataset: str | None, known: Sequence[str]) -> str:
    chosen = source.dataset or dataset
    if chosen is not None:
        return without_variant(chosen)
    if len(known) == 1:
        return known[0]
    choice = f"one of {', '.join(sorted(known))}" if known else "its dataset"
    raise ArtQuantError(f"'{source.path}' may be of any dataset; write '{source.path}@DATASET' with {choice}")


def _board(
    name: str,
    models: Sequence[ModelPredictions],
    files: Sequence[PredictionSource],
    columns: PredictionColumns,
    missing: int,
    images: Sequence[Path],
    named_by_user: bool,
) -> Board:
    truth = _truths_of_runs(models)
    dataset, paintings = _matching_dataset(name, named_by_user, truth)
    if dataset is not None:
        missing = max(missing, sum(dataset.info.splits[SPLIT].missing.values()))
    read = list(models)
    if files:
        reader = PredictionFileReader(truth, paintings, models, columns)
        truth = reader.truth
        for source in files:
            read.append(reader.read(source))
    twice = [label for label, count in Counter(model.name for model in read).items() if count > 1]
    if twice:
        places = " and ".join(f"'{model.file}'" for model in read if model.name == twice[0])
        raise ArtQuantError(f"{twice[0]!r} is the name of {places} on {name}; tell them apart with NAME=PATH")
    ids = sorted(truth)
    return Board(
        dataset=name,
        ids=ids,
        truth=np.array([truth[painting_id] for painting_id in ids], dtype=np.float64),
        models=read,
        paintings=paintings,
        info=None if dataset is None or ATTRIBUTE in name else dataset.info,
        images=find_pictures(ids, dataset, paintings, models, images),
        missing=missing,
    )


def _find_imported(name: str, named_by_user: bool) -> Dataset | None:
    """The dataset of a board; None where it is not imported.

    A name that only a results folder gives is looked for among the imported datasets alone. Somebody else may have
    made that folder, and put a dataset beside it or at the place that it names whose pictures are private files of
    this machine; a published page would show them.
    """
    if not named_by_user:
        return imported_dataset(name)
    try:
        return Dataset.load(find_dataset(name))
    except ArtQuantError:
        return None


def imported_dataset(name: str) -> Dataset | None:
    """The dataset of a name that somebody else may have written, such as that in a results folder.

    Args:
        name: the name of the dataset; it is looked for under `data_home` alone.

    Returns:
        The dataset; None where none of that name was imported, or where its dataset.json cannot be read.
    """
    folder = data_home() / name
    try:
        return Dataset.load(folder) if PLAIN_NAME.fullmatch(name) and (folder / INFO_FILE).is_file() else None
    except ArtQuantError:
        return None


def _matching_dataset(
    name: str, named_by_user: bool, truth: Mapping[str, float]
) -> tuple[Dataset | None, dict[str, Painting]]:
    """The imported dataset of a board, and the paintings of its test split by id.

    They are None and empty where the dataset is absent, or where its human scores are not those of the runs.
    """
    plain, _, attribute = name.partition(ATTRIBUTE)
    dataset = _find_imported(plain, named_by_user)
    if dataset is None or SPLIT not in dataset.info.splits:
        return None, {}
    paintings = {painting.id: painting for painting in dataset.split(SPLIT)}
    if attribute:
        paintings = {
            painting.id: replace(painting, score=score)
            for painting in paintings.values()
            if (score := (painting.attributes or {}).get(attribute)) is not None
        }
    for painting_id, score in truth.items():
        if painting_id in paintings and abs(paintings[painting_id].score - score) > TOLERANCE:
            warnings.warn(
                f"'{dataset.folder}' gives {painting_id!r} the human score {paintings[painting_id].score:g}, the runs "
                f"on {name} {score:g}: the runs used another release of the dataset, so its pictures, texts and "
                "statistics are not shown",
                ArtQuantWarning,
                stacklevel=2,
            )
            return None, {}
    return dataset, paintings


def _truths_of_runs(models: Iterable[ModelPredictions]) -> dict[str, float]:
    """The human scores that the runs logged, by the painting's id; an error where two runs differ."""
    truth: dict[str, float] = {}
    where: dict[str, ModelPredictions] = {}
    for model in models:
        for name, sample in model.samples.items():
            if truth.setdefault(name, sample.truth) != sample.truth:
                raise ArtQuantError(
                    f"painting {name!r} has the human score {truth[name]:g} in '{where[name].file}' and "
                    f"{sample.truth:g} in '{model.file}'; leave one of the runs out, or run it again"
                )
            where.setdefault(name, model)
    return truth
