"""The functions that the `*_describe` YAMLs name: documents, prompts, results and metrics of the description tasks."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from artquant_plugin.common.json_text import only_object
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.paintings import Painting
from artquant_plugin.metrics.diversity import distinct
from artquant_plugin.prompting.descriptions import read_description
from artquant_plugin.prompting.questions import join_description
from artquant_plugin.replies import first_answer, request_failed
from artquant_plugin.tasks.documents import Columns, Document, Documents, manifest
from artquant_plugin.tasks.scoring import doc_to_visual, failed, missing

__all__ = ["doc_to_visual", "failed", "missing"]  # the YAMLs name them here, with the rest

Described = dict[str, Any]  # one painting's result, as the samples file keeps it: `described` of `process_results`


def __getattr__(name: str) -> Any:
    """The attributes `NAME_file` and `NAME_docs` of any dataset, as `artquant_plugin.tasks.scoring` explains them."""
    dataset, _, kind = name.rpartition("_")
    if dataset and kind == "file":
        return manifest(dataset)
    if dataset and kind == "docs":
        return Documents(dataset, _columns)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _columns(dataset: Dataset, paintings: Sequence[Painting]) -> Columns:
    """The column `reference`: what descriptions are compared with, which is empty where a painting has nothing.

    It is the painting's description, or else a rater's comment, which is no description, but is what people wrote.
    """
    references = [
        join_description(painting.description) if painting.description else painting.comment or ""
        for painting in paintings
    ]
    return {"reference": references}


def doc_to_text(doc: Document, lmms_eval_specific_kwargs: dict[str, str] | None = None) -> str:
    """The question for models that have no question of their own.

    Args:
        doc: one document; the question is the same for all.
        lmms_eval_specific_kwargs: the prompt section of the YAML, with the question as `prompt`; without it the
            question is empty.
    """
    return (lmms_eval_specific_kwargs or {}).get("prompt", "")


def doc_to_target(doc: Document) -> str:
    """The reference: a description, or a rater's comment; empty where the dataset has neither."""
    return doc["reference"]


def process_results(doc: Document, results: Sequence[str | None]) -> dict[str, Any]:
    """What the metrics need of one reply. A reply that is no description is counted with its reason.

    Args:
        doc: the document of the painting.
        results: a list of one element, the model's reply; None where an endpoint answered without content.

    Returns:
        One entry for each metric that the YAML names. `described` is what the samples file keeps of the painting: id,
        description (None where there is none), reason, levels and category.
    """
    text, reason = _read(results[0])
    description = None if text is None else read_description(text)
    record = {
        "id": doc["id"],
        "description": text,
        "reason": reason,
        "levels": {} if description is None else description.levels,
        "category": doc["category"],
    }
    words = None if text is None else text.split()
    return {
        "described": record,
        "failed": text is None,
        "missing": doc["missing"],
        "complete": None if description is None else description.complete,
        "words": None if words is None else len(words),
        "distinct_1": text,
        "distinct_2": text,
        "chrf": (text, doc["reference"]),
        "referenced": bool(doc["reference"]),
    }


def _read(reply: str | None) -> tuple[str | None, str | None]:
    """The description in a reply and None, or None and the reason why the reply has none.

    A model of ours says that it could not describe an image by JSON with a null description and the reason.
    """
    if not reply:
        return None, "empty"
    if request_failed(reply):
        return None, "failed_request"
    try:
        content = only_object(reply)
    except ValueError:
        content = {}
    if "description" in content and content["description"] is None:
        return None, str(content.get("reason") or "not described")
    text = first_answer(reply)
    return (text, None) if text else (None, "empty")


def described(records: Sequence[Described]) -> int:
    """How many paintings have a description."""
    return sum(record["description"] is not None for record in records)


def mean(values: Sequence[float | None]) -> float:
    """The mean over the paintings that have a description.

    Args:
        values: one value for each painting; None where it has no description.

    Returns:
        NaN where no painting has a description.
    """
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan


def _distinct(length: int) -> Callable[[Sequence[str | None]], float]:
    def aggregate(texts: Sequence[str | None]) -> float:
        return distinct((text or "" for text in texts), length)

    aggregate.__doc__ = (
        f"The share of different sequences among all sequences of {length} words, over all descriptions; in (0, 1]."
    )
    return aggregate


distinct_1 = _distinct(1)
distinct_2 = _distinct(2)


def chrf(pairs: Sequence[tuple[str | None, str]]) -> float:
    """The chrF2 of the descriptions against their references, in [0, 100].

    Args:
        pairs: a description (None where there is none) and a reference (empty where there is none) for each painting.
            Only paintings with both count.

    Returns:
        NaN where no painting has both.

    Source: Popović 2015, "chrF: character n-gram F-score", as sacrebleu computes it over a corpus.
    """
    from sacrebleu import corpus_chrf

    known = [(text, reference) for text, reference in pairs if text is not None and reference]
    if not known:
        return math.nan
    texts, references = zip(*known, strict=True)
    return corpus_chrf(list(texts), [list(references)]).score


def referenced(flags: Sequence[bool]) -> int:
    """How many paintings have a reference.

    Args:
        flags: for each painting, whether it has one.
    """
    return sum(flags)
