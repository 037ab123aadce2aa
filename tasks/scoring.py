"""The functions that the task YAMLs name: documents, prompts, results and metrics of the tasks that ask for a score.

A YAML names its dataset by the attributes ``NAME_file`` and ``NAME_docs`` of this module, ``baid_file`` for example:
they are resolved when the task is loaded, so that a dataset that is not there stops the run before anything else
happens, with the command that imports it.
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from artquant_plugin.common.errors import ArtQuantWarning
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.images import open_image
from artquant_plugin.data.paintings import Painting
from artquant_plugin.metrics.agreement import Agreement, evaluate
from artquant_plugin.prompting.levels import LEVEL_NAMES, LEVEL_VALUES
from artquant_plugin.prompting.questions import one_level
from artquant_plugin.replies import Measurement, ParsedReply, parse_reply
from artquant_plugin.tasks.documents import Columns, Document, Documents, manifest

Scored = dict[str, Any]  # one painting's result, as the samples file keeps it: `scored` of `process_results`


def __getattr__(name: str) -> Any:
    """The attributes `NAME_file` and `NAME_docs` of any dataset, for example `baid_file`."""
    dataset, _, kind = name.rpartition("_")
    if dataset and kind == "file":
        return manifest(dataset)
    if dataset and kind == "docs":
        return Documents(dataset, columns)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def columns(dataset: Dataset, paintings: Sequence[Painting]) -> Columns:
    """The columns of tasks that ask for a score.

    They are the human `score`, the dataset's `score_range` (lowest and highest) and `level_values` (one per level
    word, in the order of `LEVEL_NAMES`).
    """
    values = dataset.info.level_values or LEVEL_VALUES
    return {
        "score": [float(painting.score) for painting in paintings],
        "score_range": [list(dataset.info.score_range)] * len(paintings),
        "level_values": [list(values)] * len(paintings),
    }


def doc_to_visual(doc: Document) -> list[Image.Image]:
    """The painting's image as a viewer shows it, in a list of one element."""
    return [open_image(doc["image"])]


def doc_to_text(doc: Document, lmms_eval_specific_kwargs: dict[str, str] | None = None) -> str:
    """The question about a painting.

    Args:
        doc: the document of the painting.
        lmms_eval_specific_kwargs: the prompt section of the YAML, with the question as `prompt`: its ``{low}``,
            ``{high}`` and ``{one_level}`` become the ends of the dataset's scale and the list of level words. Without
            the section the question is empty.
    """
    low, high = doc["score_range"]
    question = (lmms_eval_specific_kwargs or {}).get("prompt", "")
    for name, value in {"low": f"{low:g}", "high": f"{high:g}", "one_level": one_level(LEVEL_NAMES)}.items():
        question = question.replace(f"{{{name}}}", value)
    return question


def doc_to_target(doc: Document) -> float:
    """The human score of the painting, in the dataset's range."""
    return doc["score"]


def process_results(doc: Document, results: Sequence[str | None]) -> dict[str, Any]:
    """What the metrics need of one reply. A reply without a readable score stays unscored, with its reason.

    Args:
        doc: the document of the painting.
        results: a list of one element, the model's reply; None where an endpoint answered without content.

    Returns:
        One entry for each metric that the YAML names. `scored` is what the samples file keeps of the painting, and
        what reports are made from. The metrics that compare scores share one list: id, prediction (None where the
        painting is unscored), human score.
    """
    measured = Measurement.from_reply(results[0])
    if measured is None:
        low, high = doc["score_range"]
        values = dict(zip(LEVEL_NAMES, doc["level_values"], strict=True))
        reply = parse_reply(results[0], score_range=(low, high), level_values=values)
    else:
        reply = ParsedReply(score=measured.prediction, levels=measured.levels, checkpoint=measured.checkpoint)
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
            "measurement": None if measured is None else measured.record,
            "truth": doc["score"],
            "category": doc["category"],
            "checkpoint": reply.checkpoint,
        },
        "failed": reply.score is None,
        "missing": doc["missing"],
    }


def _scores(pairs: Sequence[Sequence[Any]]) -> Agreement | None:
    """The metrics over the scored paintings; None where no painting is scored."""
    known = tuple((name, prediction, truth) for name, prediction, truth in pairs if prediction is not None)
    return _evaluate(known) if known else None


@functools.lru_cache(maxsize=4)  # the harness asks for each metric of a task by itself
def _evaluate(pairs: tuple[tuple[str, float, float], ...]) -> Agreement:
    ids, predictions, truths = zip(*pairs, strict=True)
    scores = evaluate(ids, predictions, truths, resamples=0)
    for caution in scores.cautions:  # once for all the metrics
        warnings.warn(caution, ArtQuantWarning, stacklevel=2)
    return scores


def _aggregation(metric: str) -> Callable[[Sequence[Sequence[Any]]], float]:
    def aggregate(pairs: Sequence[Sequence[Any]]) -> float:
        scores = _scores(pairs)
        return math.nan if scores is None else getattr(scores, metric).value

    aggregate.__doc__ = f"{metric.upper()} over the scored paintings; NaN where no painting is scored."
    return aggregate


srocc = _aggregation("srocc")
plcc = _aggregation("plcc")
mae = _aggregation("mae")
rmse = _aggregation("rmse")


def scored(records: Sequence[Scored]) -> int:
    """How many paintings have a prediction."""
    return sum(record["prediction"] is not None for record in records)


def failed(flags: Sequence[bool]) -> int:
    """How many paintings have no prediction.

    Args:
        flags: for each painting, whether it has none.
    """
    return sum(flags)


def missing(counts: Sequence[int]) -> int:
    """How many of the dataset's paintings could not be used at import.

    Args:
        counts: that number once for each painting, as every document carries it.
    """
    return max(counts)
