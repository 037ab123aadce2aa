"""What papers print, as data: the figures of Table 1 with their sources and what is odd about them."""

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
    """One method's figures on one dataset.

    Args:
        method: as printed.
        dataset: apdd, baid or vaps.
        srocc: as printed.
        plcc: as printed.
        group: the table's part.
        reference: of the method, as the table cites it.
        source: the table, in short.
        modality: what the method takes: I(mage), T(ext), A(udio), V(ideo).
        epochs: of training, as printed; None where the table has none.
        note: what is odd about the figures; empty when nothing is.
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
    """Every figure on a dataset, in the table's order; none for a dataset that no table has."""
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
    """What holds for every published figure on a dataset; empty when nothing is known."""
    return _content()["datasets"].get(dataset, {}).get("note", "")


def full_sources() -> list[str]:
    """The sources, as a list of references has them."""
    return [source["title"] for source in _content()["sources"].values()]


def same_method(name: str, method: str) -> bool:
    """Whether a measured model bears a method's name, whatever its case and punctuation.

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
