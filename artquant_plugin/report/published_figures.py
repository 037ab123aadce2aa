"""Figures that papers print, read from a data file: Table 1 of the ArtQuant paper, its sources and its oddities."""

import functools
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import yaml

FILE = "published_figures.yaml"
Group = Literal["generalist", "specialist", "this paper"]


@dataclass(frozen=True, slots=True)
class PublishedFigures:
    """The figures that a paper prints for one method on one dataset.

    Args:
        method: name of the method, as the paper prints it.
        dataset: name of the dataset: ``apdd``, ``baid`` or ``vaps``.
        srocc: the SROCC, as printed, in [-1, 1].
        plcc: the PLCC, as printed, in [-1, 1].
        group: the part of the table that the method is listed in.
        reference: the publication of the method, as the table cites it.
        source: short name of the table that prints the figures.
        modality: what the method takes as input, letters joined by ``+``: I(mage), T(ext), A(udio), V(ideo).
        epochs: the epochs of training, as printed; None where the table has none.
        note: what looks wrong about the figures; empty when nothing does.
    """

    method: str
    dataset: str
    srocc: float
    plcc: float
    group: Group
    reference: str
    source: str
    modality: str
    epochs: str | None
    note: str


def published_figures(dataset: str) -> list[PublishedFigures]:
    """All published figures on a dataset, in the order of the table; empty for a dataset that no table has."""
    content = _content()
    return [
        PublishedFigures(
            method=row["method"],
            dataset=dataset,
            srocc=row[dataset]["srocc"],
            plcc=row[dataset]["plcc"],
            group=row["group"],
            reference=row["reference"],
            source=content["sources"][row["source"]]["name"],
            modality=row["modality"],
            epochs=row["epochs"],
            note=row.get("notes", {}).get(dataset, ""),
        )
        for row in content["rows"]
        if isinstance(row.get(dataset), dict)
    ]


def dataset_note(dataset: str) -> str:
    """A caution about all published figures on a dataset; empty when there is none."""
    return _content()["datasets"].get(dataset, {}).get("note", "")


def full_sources() -> list[str]:
    """The sources of the figures, each written as in a list of references."""
    return [source["title"] for source in _content()["sources"].values()]


def same_method(name: str, method: str) -> bool:
    """Whether a measured model has the name of a published method; case and punctuation do not count.

    Args:
        name: name of the measured model.
        method: name of the method, as the paper prints it.

    Example:
        >>> same_method("gpt_4o (cot)", "GPT-4o (+CoT)"), same_method("gpt-4o-mini", "GPT-4o")
        (True, False)
    """
    return _key(name) == _key(method)


def _key(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


@functools.cache
def _content() -> dict[str, Any]:
    return yaml.safe_load(files("artquant_plugin.report").joinpath(FILE).read_text(encoding="utf-8"))
