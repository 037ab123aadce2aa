"""What the task YAMLs name: data, prompts, results and metrics of a task that asks for a score.

A YAML names its dataset by the attributes ``NAME_file`` and ``NAME_docs`` of this module, ``baid_file`` for example:
they are resolved when the task is loaded, so that a dataset that is not there stops the run before anything else
happens, with the command that imports it.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import INFO_FILE, Dataset
from artquant_plugin.data.find import find_dataset
from artquant_plugin.data.images import open_image
from artquant_plugin.metrics.agreement import RESAMPLES, Agreement, evaluate
from artquant_plugin.metrics.unscored import at_median
from artquant_plugin.prompting.levels import LEVEL_NAMES, LEVEL_VALUES
from artquant_plugin.prompting.questions import one_level
from artquant_plugin.replies import REASONS, Measurement, Reply, parse_reply

SPLIT = "test"
Record = dict[str, Any]  # what the samples file keeps of a painting, see `process_results`


def __getattr__(name: str) -> Any:
    """`NAME_file` and `NAME_docs` of any dataset."""
    dataset, _, kind = name.rpartition("_")
    if dataset and kind == "file":
        return manifest(dataset)
    if dataset and kind == "docs":
        return _documents(dataset)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def manifest(dataset: str) -> str:
    """A file of the dataset for the harness, which insists on loading one: dataset.json, the smallest.

    The documents are made from what `Dataset` reads (see `_documents`), so that rows are checked, and may stand in
    JSON lines or in Parquet files.

    Raises:
        ArtQuantError: the dataset is not there, or has no painting.
    """
    folder = find_dataset(dataset)
    split = Dataset.load(folder).info.splits.get(SPLIT)
    if split is None or not split.n:
        raise ArtQuantError(
            f"dataset '{folder}' has no painting in its {SPLIT} split; import it again with its images"
        )
    return str(folder / INFO_FILE)


def _documents(dataset: str) -> Callable[[Any], Any]:
    """The function that gives the harness its documents in the place of what it loaded."""

    def documents(rows: Any) -> Any:
        from datasets import Dataset as Table

        loaded = Dataset.load(find_dataset(dataset))
        missing = sum(loaded.info.splits[SPLIT].missing.values())
        paintings = loaded.split(SPLIT)
        paths = [str(loaded.image_path(painting)) for painting in paintings]
        low, high = loaded.info.score_range
        values = loaded.info.level_values or LEVEL_VALUES
        columns = {
            "id": [painting.id for painting in paintings],
            "score": [float(painting.score) for painting in paintings],
            "category": [painting.category for painting in paintings],
            "image": paths,
            "score_range": [[low, high]] * len(paths),
            "level_values": [list(values)] * len(paths),
            "missing": [missing] * len(paths),
        }
        return Table.from_dict(columns)

    return documents


def doc_to_visual(doc: Record) -> list[Image.Image]:
    """The painting, as a viewer shows it."""
    return [open_image(doc["image"])]


def doc_to_text(doc: Record, lmms_eval_specific_kwargs: dict[str, str] | None = None) -> str:
    """The question, with the dataset's scale and the level words filled in."""
    low, high = doc["score_range"]
    question = (lmms_eval_specific_kwargs or {}).get("prompt", "")
    for name, value in {"low": f"{low:g}", "high": f"{high:g}", "one_level": one_level(LEVEL_NAMES)}.items():
        question = question.replace(f"{{{name}}}", value)
    return question


def doc_to_target(doc: Record) -> float:
    """The human score."""
    return doc["score"]


def process_results(doc: Record, results: Sequence[str | None]) -> dict[str, Any]:
    """Read one reply; an unreadable one stays unscored, with its reason.

    Args:
        doc: a document of `_documents`.
        results: the model's one reply; None where an endpoint answered without content.

    Returns:
        One entry per metric. `scored` carries the record that reports are made from; the metrics that need pairs
        share one short list (id, prediction or None, truth).
    """
    measured = Measurement.from_reply(results[0])
    if measured is None:
        low, high = doc["score_range"]
        values = dict(zip(LEVEL_NAMES, doc["level_values"], strict=True))
        reply = parse_reply(results[0], score_range=(low, high), level_values=values)
    else:
        reply = Reply(score=measured.prediction)
    pair = [doc["id"], reply.score, doc["score"]]
    # A metric's value is in its own unit: it can be ranked with human scores, but has no error against them.
    error = pair if measured is None else [doc["id"], None, doc["score"]]
    return {
        "srocc": pair,
        "plcc": pair,
        "mae": error,
        "rmse": error,
        "scored": {
            "id": doc["id"],
            "prediction": reply.score,
            "reason": reply.reason,
            "detail": reply.detail,
            "origin": "measurement" if measured else reply.origin,
            "from_range": reply.from_range,
            "levels": reply.levels,
            "measurement": None if measured is None else asdict(measured),
            "truth": doc["score"],
            "category": doc["category"],
            "checkpoint": reply.checkpoint,
        },
        "n": 1,
        "failed": reply.score is None,
        **{f"n_{reason}": reply.reason == reason for reason in REASONS},
        "from_range": reply.from_range,
        "missing": doc["missing"],
        "spearman_low": pair,
        "spearman_high": pair,
        "pearson_low": pair,
        "pearson_high": pair,
        "spearman_filled": pair,
        "pearson_filled": pair,
    }


def _scores(pairs: Sequence[Sequence[Any]], *, intervals: bool = False) -> Agreement | None:
    """Metrics over the scored paintings; None when none was scored."""
    known = tuple((name, prediction, truth) for name, prediction, truth in pairs if prediction is not None)
    if not known:
        return None
    return _evaluate(known, RESAMPLES if intervals else 0)


@functools.lru_cache(maxsize=4)  # the harness asks for each metric of a task by itself
def _evaluate(pairs: tuple[tuple[str, float, float], ...], resamples: int) -> Agreement:
    ids, predictions, truths = zip(*pairs, strict=True)
    return evaluate(ids, predictions, truths, resamples=resamples)


def _filled(metric: str) -> Callable[[Sequence[Sequence[Any]]], float]:
    def aggregate(pairs: Sequence[Sequence[Any]]) -> float:
        predictions = at_median([prediction for _, prediction, _ in pairs])
        if not predictions:
            return math.nan
        known = zip((name for name, _, _ in pairs), predictions, (truth for _, _, truth in pairs), strict=True)
        return getattr(_evaluate(tuple(known), 0), metric).value

    aggregate.__doc__ = f"{metric.upper()} over all paintings, those without a score at the model's median."
    return aggregate


def _aggregation(metric: str, bound: str) -> Callable[[Sequence[Sequence[Any]]], float]:
    def aggregate(pairs: Sequence[Sequence[Any]]) -> float:
        scores = _scores(pairs, intervals=bound != "value")
        return math.nan if scores is None else getattr(getattr(scores, metric), bound)

    aggregate.__doc__ = f"The {bound} of {metric.upper()} over the scored paintings; NaN when none was."
    return aggregate


srocc = _aggregation("srocc", "value")
plcc = _aggregation("plcc", "value")
mae = _aggregation("mae", "value")
rmse = _aggregation("rmse", "value")
# lmms-eval matches a group's metrics by substring: these names must not hold those above.
spearman_low = _aggregation("srocc", "low")
spearman_high = _aggregation("srocc", "high")
pearson_low = _aggregation("plcc", "low")
pearson_high = _aggregation("plcc", "high")
spearman_filled = _filled("srocc")
pearson_filled = _filled("plcc")


def count(ones: Sequence[int]) -> int:
    """How many paintings were asked about."""
    return len(ones)


def scored(records: Sequence[Record]) -> int:
    """How many paintings have a prediction."""
    return sum(record["prediction"] is not None for record in records)


def failed(flags: Sequence[bool]) -> int:
    """How many paintings have none, in all or for one reason."""
    return sum(flags)


def missing(counts: Sequence[int]) -> int:
    """How many of the dataset's paintings could not be used at import, the same number with every painting."""
    return max(counts)
