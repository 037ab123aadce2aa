"""The predictions of one model on one dataset, from a run of lmms-eval or from a prediction file of any tool."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import UTF8
from artquant_plugin.data.dataset import Painting
from artquant_plugin.metrics.predictions import (
    JoinedPredictions,
    TableForm,
    Truth,
    file_name,
    join_predictions,
    read_predictions,
    read_truth,
)
from artquant_plugin.report.prediction_sources import PredictionSource
from artquant_plugin.report.run_details import RunDetails
from artquant_plugin.report.task_runs import LoggedSample

TOLERANCE = 1e-6  # two human scores that differ by no more are the same score


@dataclass(frozen=True, slots=True)
class ModelPredictions:
    """The predictions of one model on one dataset.

    Args:
        name: name of the model; unique on the board.
        predictions: the predicted scores by the painting's id.
        failures: number of paintings without a prediction, by reason.
        samples: the logged samples of an lmms-eval run, by the painting's id; empty for a prediction file.
        details: how the lmms-eval run was made; None for a prediction file.
        file: the file that the predictions were read from.
        left_out: number of rows of a prediction file that were not used, by reason; empty for a run.
        older: number of older runs of the same model and task that were not used.
        has_own_unit: whether the predictions are in a unit of their own, so that errors against human scores mean
            nothing.
        from_range: number of predictions that are the mid-point of a range that the model replied with.
        descriptions: the model's descriptions by the painting's id; empty where no run of the dataset's describing
            task is in the same folder.
        training_note: a sentence without its full stop, where the model is known to have been trained on the dataset;
            empty otherwise.
    """

    name: str
    predictions: Mapping[str, float]
    failures: Mapping[str, int]
    samples: Mapping[str, LoggedSample]
    details: RunDetails | None
    file: Path
    left_out: Mapping[str, int] = field(default_factory=dict)
    older: int = 0
    has_own_unit: bool = False
    from_range: int = 0
    descriptions: Mapping[str, str] = field(default_factory=dict)
    training_note: str = ""


@dataclass(frozen=True, slots=True)
class PredictionColumns:
    """The columns of prediction files, and where to find human scores for them.

    Args:
        image: the column of a prediction file that names the image; None for ``image``, or for ``path`` of a file that
            `artquant score` wrote.
        prediction: the column of a prediction file that holds the predicted score; None for ``prediction``, or for
            ``score`` of a file that `artquant score` wrote.
        truth: where human scores are: a CSV file, or a dataset with an optional ``:split``. None takes the human
            scores of the runs and, for other paintings, those of the imported dataset.
        truth_image: the column of a CSV file of human scores that names the image.
        score: the column of a CSV file of human scores that holds the score.
        delimiter: what sets the fields of a line apart in all of these files; None for what each header line shows.
        encoding: the encoding of all of these files that are text.
    """

    image: str | None = None
    prediction: str | None = None
    truth: str | None = None
    truth_image: str = "image"
    score: str = "score"
    delimiter: str | None = None
    encoding: str = UTF8

    @property
    def of_predictions(self) -> TableForm:
        """How a prediction file is read."""
        return TableForm(self.image, self.prediction, self.delimiter, self.encoding)

    @property
    def of_truth(self) -> TableForm:
        """How a table of human scores is read."""
        return TableForm(self.truth_image, self.score, self.delimiter, self.encoding)


class PredictionFileReader:
    """Reads the prediction files of one dataset.

    A file may name a painting by the path of its image, by the image's file name with or without its ending, or by the
    painting's id. Of these ways to name paintings, the one under which most rows are known is used for the file.

    Args:
        truth: the human scores that the runs logged, by the painting's id; may be empty.
        paintings: the dataset's test split by id; empty where the dataset is absent.
        models: the models of the runs, whose samples name images; may be empty.
        columns: the columns of the files, and where to find human scores.

    Attributes:
        truth: the human scores of all paintings, by the painting's id.

    Raises:
        ArtQuantError: there are no human scores at all, or the file of human scores differs from the runs.
    """

    def __init__(
        self,
        truth: Mapping[str, float],
        paintings: Mapping[str, Painting],
        models: Sequence[ModelPredictions],
        columns: PredictionColumns,
    ) -> None:
        self.columns = columns
        self.left_out: dict[str, int] = {}
        pictures = {painting_id: painting.image for painting_id, painting in paintings.items()}
        for model in models:
            for painting_id, sample in model.samples.items():
                if sample.image is not None:
                    pictures.setdefault(painting_id, sample.image)
        if columns.truth is None:
            self.truth = {painting_id: painting.score for painting_id, painting in paintings.items()}
        else:
            self.truth = self._given_truth(columns.truth, truth, pictures)
        self.truth |= truth  # the runs' scores alone would not do: a run may cover only a part of the paintings
        if not self.truth:
            raise ArtQuantError(
                "there are no human scores: neither an lmms-eval run nor an imported dataset is there; pass --truth "
                "with a CSV file, or a dataset with an optional :split"
            )
        known = {painting_id: pictures.get(painting_id, painting_id) for painting_id in self.truth}
        # The ways to name a painting: for each the names with the ids that they stand for, and the function that makes
        # such a name of what a file says. A file name that two paintings share names neither of them.
        self._naming: list[tuple[dict[str, str], Callable[[str], str] | None]] = [
            ({image: painting_id for painting_id, image in known.items()}, None),
            (_unique({painting_id: file_name(image) for painting_id, image in known.items()}), file_name),
            (_unique({painting_id: _stem(image) for painting_id, image in known.items()}), _stem),
            ({painting_id: painting_id for painting_id in known}, None),
            ({painting_id: painting_id for painting_id in known}, _stem),
        ]

    def _given_truth(self, source: str, truth: Mapping[str, float], pictures: Mapping[str, str]) -> dict[str, float]:
        """The human scores that --truth names, by the painting's id; by the image where no id is known for it."""
        given = read_truth(source, self.columns.of_truth)
        self.left_out = given.left_out
        by_image = {file_name(image): painting_id for painting_id, image in pictures.items()}
        found: dict[str, float] = {}
        for image, score in given.scores.items():
            names = (by_image.get(file_name(image), image), image, _stem(image))
            painting_id = next((name for name in names if name in truth or name in pictures), image)
            if abs(truth.get(painting_id, score) - score) > TOLERANCE:
                raise ArtQuantError(
                    f"'{source}' gives {image!r} the human score {score:g}, the runs {truth[painting_id]:g}; leave "
                    "--truth out, or name the file that the runs were made with"
                )
            found[painting_id] = score
        return found

    def read(self, source: PredictionSource) -> ModelPredictions:
        """Read a prediction file.

        Args:
            source: the file, whose model has the file's name without its ending where the source names none.

        Raises:
            ArtQuantError: the file cannot be read, lacks a column, or names no painting that has a human score.
        """
        found = read_predictions(source.path, self.columns.of_predictions)
        best: tuple[JoinedPredictions, dict[str, str]] | None = None
        error: ArtQuantError | None = None
        for keys, shorten in self._naming:
            scores = {key: self.truth[painting_id] for key, painting_id in keys.items()}
            try:
                joined = join_predictions(found, Truth(scores, self.left_out), shorten=shorten)
            except ArtQuantError as problem:
                error = error or problem
                continue
            if best is None or len(joined.images) > len(best[0].images):
                best = joined, keys
        if best is None:
            assert error is not None
            raise error
        joined, keys = best
        predictions = {keys[image]: value for image, value in zip(joined.images, joined.predictions, strict=True)}
        lists = {
            "not predicted": joined.missing,
            "not scored": joined.failed,
            "no number": joined.unparsable,
            "several rows": joined.duplicates,
        }
        return ModelPredictions(
            name=source.name or source.path.stem,
            predictions=predictions,
            failures={reason: len(names) for reason, names in lists.items() if names},
            samples={},
            details=None,
            file=source.path,
            left_out={"without a human score": len(joined.unknown)} if joined.unknown else {},
        )


def _stem(path: str) -> str:
    return Path(file_name(path)).stem


def _unique(names: Mapping[str, str]) -> dict[str, str]:
    counts = Counter(names.values())
    return {name: painting_id for painting_id, name in names.items() if counts[name] == 1}
