"""The functions that the `*_attributes` YAMLs name: a document for each painting and attribute with a human score.

A YAML names its dataset by the attributes ``NAME_file``, ``NAME_docs`` and ``NAME_metrics`` of this module, as
`artquant_plugin.tasks.scoring` explains them; the metrics follow from the attributes that the dataset has.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.find import find_dataset
from artquant_plugin.data.paintings import Painting
from artquant_plugin.data.task_names import TEST_SPLIT
from artquant_plugin.prompting.attributes import in_a_sentence
from artquant_plugin.tasks import scoring
from artquant_plugin.tasks.documents import Columns, Document, Documents, manifest
from artquant_plugin.tasks.scoring import doc_to_target, doc_to_visual, failed, missing, scored

__all__ = ["doc_to_target", "doc_to_visual"]  # the YAMLs name them here, with the rest

Asked = list[Any]  # attribute, id, prediction (None where there is none), human score, gaps of the attribute


def __getattr__(name: str) -> Any:
    """The attributes `NAME_file`, `NAME_docs` and `NAME_metrics` of any dataset."""
    dataset, _, kind = name.rpartition("_")
    if dataset and kind == "file":
        path = manifest(dataset)
        _attributes(dataset)
        return path
    if dataset and kind == "docs":
        return Documents(dataset, _columns, one_per_attribute)
    if dataset and kind == "metrics":
        return metrics(_attributes(dataset))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _attributes(dataset: str) -> list[str]:
    """The names of a dataset's attributes; an error where the paintings of its test split have no scores of any."""
    paintings = Dataset.load(find_dataset(dataset)).split(TEST_SPLIT)
    names = list(dict.fromkeys(name for row in one_per_attribute(paintings) for name in row.attributes or {}))
    if not names:
        raise ArtQuantError(
            f"the test split of dataset {dataset!r} has no scores of attributes; evaluate on task {dataset!r} instead"
        )
    return names


def one_per_attribute(paintings: Sequence[Painting]) -> list[Painting]:
    """Each painting once for each of its attributes that has a score, and with that one alone.

    Args:
        paintings: the rows of a split. A painting without a score of an attribute is a gap, and gives no row.
    """
    return [
        replace(painting, attributes={name: value})
        for painting in paintings
        for name, value in (painting.attributes or {}).items()
        if value is not None and not math.isnan(value)
    ]


def _columns(dataset: Dataset, rows: Sequence[Painting]) -> Columns:
    """The columns of tasks that ask for attributes.

    They are `attribute`, its human `score`, the dataset's `score_range` and `level_values`, `attributes`, the names of
    all of them, and `gaps`: how many paintings of the split have no score of that attribute.
    """
    given = [next(iter((row.attributes or {}).items())) for row in rows]
    counts = Counter(name for name, _ in given)
    total = dataset.info.splits[TEST_SPLIT].n
    return {
        **scoring.columns(dataset, rows),
        "attribute": [name for name, _ in given],
        "score": [float(value or 0) for _, value in given],
        "attributes": [list(counts)] * len(rows),
        "gaps": [total - counts[name] for name, _ in given],
    }


def doc_to_text(doc: Document, lmms_eval_specific_kwargs: dict[str, str] | None = None) -> str:
    """The question about an attribute of a painting.

    Args:
        doc: the document of the painting and the attribute.
        lmms_eval_specific_kwargs: the prompt section of the YAML, as for the tasks that ask for the whole painting's
            score; ``{attribute}`` becomes the attribute's name.
    """
    return scoring.doc_to_text(doc, lmms_eval_specific_kwargs).replace("{attribute}", in_a_sentence(doc["attribute"]))


def process_results(doc: Document, results: Sequence[str | None]) -> dict[str, Any]:
    """What the metrics need of one reply, which is read as that of a task that asks for the whole painting's score.

    Args:
        doc: the document of the painting and the attribute.
        results: a list of one element, the model's reply; None where an endpoint answered without content.

    Returns:
        One entry for each metric that `metrics` names, all of them in every document, since processes exchange them.
    """
    found = scoring.process_results(doc, results)
    record = {**found["scored"], "attribute": doc["attribute"], "gaps": doc["gaps"]}
    asked = [doc["attribute"], doc["id"], record["prediction"], doc["score"], doc["gaps"]]
    of_attribute = {f"{kind}_{key(name)}": asked for name in doc["attributes"] for kind in _KINDS}
    kept = {"failed": found["failed"], "missing": found["missing"]}
    return {**kept, "scored": record, "srocc": asked, "plcc": asked, **of_attribute}


def key(name: str) -> str:
    """An attribute's name as a part of a metric's name.

    Args:
        name: the attribute's name in its dataset.

    Example:
        >>> key("Light and shadow")
        'light_and_shadow'
    """
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def metrics(attributes: Sequence[str]) -> list[dict[str, Any]]:
    """The entry ``metric_list`` of a task's configuration.

    Args:
        attributes: the names of the dataset's attributes.

    Returns:
        ``srocc`` and ``plcc``, the means over the attributes; for each of these ``srocc_NAME``, ``plcc_NAME``, and the
        numbers of paintings that have no prediction and that have no human score, ``failed_NAME`` and ``gaps_NAME``;
        and the counts over all of them, as other tasks have them.
    """
    listed = [_metric(kind, _mean(kind), higher=True) for kind in ("srocc", "plcc")]
    for name in attributes:
        listed += [
            _metric(f"{kind}_{key(name)}", make(name), higher=kind in ("srocc", "plcc"))
            for kind, make in _KINDS.items()
        ]
    return [
        *listed,
        _metric("scored", scored, higher=True),
        _metric("failed", failed, higher=False),
        _metric("missing", missing, higher=False),
    ]


def _metric(name: str, aggregation: Callable[..., float], *, higher: bool) -> dict[str, Any]:
    return {"metric": name, "aggregation": aggregation, "higher_is_better": higher}


def _of(records: Sequence[Asked], attribute: str) -> list[Asked]:
    return [record for record in records if record[0] == attribute]


def _agreement(records: Sequence[Asked], kind: str) -> float:
    """SROCC or PLCC over the scored paintings; NaN where there are none."""
    aggregate: Callable[[Sequence[Sequence[Any]]], float] = getattr(scoring, kind)
    return aggregate([record[1:4] for record in records])


def _correlation(kind: str) -> Callable[[str], Callable[[Sequence[Asked]], float]]:
    """Makes the aggregation that gives SROCC or PLCC of one attribute."""
    return lambda attribute: lambda records: _agreement(_of(records, attribute), kind)


def _mean(kind: str) -> Callable[[Sequence[Asked]], float]:
    """The aggregation that gives the mean of SROCC or PLCC over the attributes where it is defined; else NaN."""

    def aggregate(records: Sequence[Asked]) -> float:
        names = dict.fromkeys(record[0] for record in records)
        values = [_agreement(_of(records, name), kind) for name in names]
        known = [value for value in values if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    return aggregate


# What is told of each attribute: the beginning of the metric's name, and what makes its aggregation.
_KINDS: dict[str, Callable[[str], Callable[[Sequence[Asked]], float]]] = {
    "srocc": _correlation("srocc"),
    "plcc": _correlation("plcc"),
    "failed": lambda attribute: lambda records: sum(record[2] is None for record in _of(records, attribute)),
    "gaps": lambda attribute: lambda records: max((record[4] for record in _of(records, attribute)), default=0),
}
