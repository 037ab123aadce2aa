"""One model on one dataset, from a run or from a prediction file of any tool."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Painting
from artquant_plugin.metrics.predictions import Joined, Truth, join_predictions, read_truth
from artquant_plugin.report.prediction_sources import PredictionSource
from artquant_plugin.report.run_details import RunDetails
from artquant_plugin.report.task_runs import LoggedSample

TOLERANCE = 1e-6  # by which human scores may differ and still be the same


@dataclass(frozen=True, slots=True)
class ModelPredictions:
    """One model on one dataset.

    Args:
        name: unique on the board.
        predictions: by painting.
        failures: paintings without a prediction, by reason.
        samples: of an lmms-eval run, by painting; empty for a CSV file.
        details: of an lmms-eval run.
        file: that the predictions are from.
        left_out: what of a CSV file was not used, by reason.
        older: runs of the same model and task that were passed over.
        has_own_unit: whether the predictions are in a unit of their own.
        from_range: predictions that are the mid-point of a range.
        descriptions: the model's own, where a run of the dataset's describing task lies beside its scores.
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


@dataclass(frozen=True, slots=True)
class PredictionColumns:
    """Columns of prediction files, and where their human scores are when no run brings them.

    Args:
        image: of the predictions.
        prediction: of the predictions.
        truth: a CSV file, or a dataset with an optional split; None for the runs' own, or the dataset's.
        truth_image: of a truth file.
        score: of a truth file.
    """

    image: str = "image"
    prediction: str = "prediction"
    truth: str | None = None
    truth_image: str = "image"
    score: str = "score"


class PredictionFileReader:
    """What a CSV file may call a painting: its image, the image's file name, or its id.

    Args:
        truth: human scores of the runs, by painting; may be empty.
        paintings: of the dataset; may be empty.
        models: the runs.
        columns: of the CSV files.
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
        pictures = {one: painting.image for one, painting in paintings.items()}
        for model in models:
            for one, sample in model.samples.items():
                if sample.image is not None:
                    pictures.setdefault(one, sample.image)
        if columns.truth is None:
            self.truth = {one: painting.score for one, painting in paintings.items()}
        else:
            self.truth = self._given(columns.truth, truth, pictures)
        self.truth |= truth  # a run may have been about a part of the paintings
        if not self.truth:
            raise ArtQuantError(
                "nothing says what people gave: neither an lmms-eval run nor an imported dataset is there; pass "
                "--truth with a CSV file, or a dataset with an optional :split"
            )
        known = {one: pictures.get(one, one) for one in self.truth}
        # PredictionFileReader that two paintings share tell neither.
        self.ways: list[tuple[dict[str, str], Callable[[str], str]]] = [
            ({image: one for one, image in known.items()}, str),
            (_unique({one: Path(image).name for one, image in known.items()}), _name),
            (_unique({one: Path(image).stem for one, image in known.items()}), _stem),
            ({one: one for one in known}, str),
            ({one: one for one in known}, _stem),
        ]

    def _given(self, source: str, truth: Mapping[str, float], pictures: Mapping[str, str]) -> dict[str, float]:
        """What --truth names, by painting where the runs or the dataset know its image, else by image."""
        given = read_truth(source, image_column=self.columns.truth_image, score_column=self.columns.score)
        self.left_out = given.left_out
        by_image = {_name(image): one for one, image in pictures.items()}
        found: dict[str, float] = {}
        for image, score in given.scores.items():
            names = (by_image.get(_name(image), image), image, _stem(image))
            one = next((name for name in names if name in truth or name in pictures), image)
            if abs(truth.get(one, score) - score) > TOLERANCE:
                raise ArtQuantError(
                    f"'{source}' gives {image!r} the human score {score:g}, the runs {truth[one]:g}; leave --truth "
                    "out, or name the file that the runs were made with"
                )
            found[one] = score
        return found

    def read(self, source: PredictionSource) -> ModelPredictions:
        """The predictions of a CSV file, under the names by which most of them are known."""
        best: tuple[Joined, dict[str, str]] | None = None
        error: ArtQuantError | None = None
        for keys, shorten in self.ways:
            scores = {key: self.truth[one] for key, one in keys.items()}
            try:
                joined = join_predictions(
                    source.path,
                    Truth(scores, self.left_out),
                    image_column=self.columns.image,
                    prediction_column=self.columns.prediction,
                    shorten=shorten,
                )
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


def _name(path: str) -> str:
    return Path(path).name


def _stem(path: str) -> str:
    return Path(path).stem


def _unique(names: Mapping[str, str]) -> dict[str, str]:
    counts = Counter(names.values())
    return {name: one for one, name in names.items() if counts[name] == 1}
