"""The script files that hold a page's data: a board's numbers in one file, texts in files that are loaded on demand.

Browsers let a page that is opened from the disk load scripts, but not fetch data, so that the data are scripts.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from artquant_plugin.common.appearance import MANY_PAINTINGS
from artquant_plugin.report.analysis import Analysis, calibration, score_range
from artquant_plugin.report.board_tables import ordered
from artquant_plugin.report.site.page_pictures import Picture

TEXTS_PER_FILE = 200  # number of paintings whose texts are in the same file
CASES = 12  # number of best, of highest and of lowest cases per model that get a larger picture
LONGEST = 6000  # characters of a reply or description that are kept
DIGITS = 4  # decimals of the numbers

# The first three could end the script element; the last two end a line in JavaScript before 2019, even in a string.
_ESCAPES = {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"}


@dataclass(frozen=True, slots=True)
class PageOrder:
    """The paintings in the order of a page: by human score, then by id.

    Args:
        ids: the ids of the paintings.
        places: the position of each painting among the board's ids.
    """

    ids: list[str]
    places: list[int]


def painting_order(analysis: Analysis) -> PageOrder:
    """Sort the paintings of a board for its page, with the lowest human score first."""
    board = analysis.board
    places = sorted(range(len(board.ids)), key=lambda place: (board.truth[place], board.ids[place]))
    return PageOrder([board.ids[place] for place in places], places)


def cases(analysis: Analysis) -> set[str]:
    """Ids of the paintings that a page shows as cases: where a model is best, and worst in either direction."""
    found: set[str] = set()
    for row, evaluation in zip(analysis.board.matrix(), analysis.evaluations, strict=True):
        known = np.flatnonzero(~np.isnan(row))
        errors = row[known] - analysis.board.truth[known]
        if not evaluation.on_scale:  # scores on different scales are compared by their ranks
            errors = _scaled_ranks(row[known]) - _scaled_ranks(analysis.board.truth[known])
        by_sign, by_size = np.argsort(errors, kind="stable"), np.argsort(np.abs(errors), kind="stable")
        for places in (by_sign[:CASES], by_sign[-CASES:], by_size[:CASES]):
            found |= {analysis.board.ids[known[place]] for place in places}
    return found


def board_script(analysis: Analysis, slug: str, pictures: Mapping[str, Picture]) -> str:
    """The script that holds a board's numbers.

    Args:
        analysis: the figures of the board.
        slug: name of the board's page without the ending.
        pictures: the pictures that were written, by the painting's id.
    """
    board, chosen = analysis.board, painting_order(analysis)
    matrix = board.matrix()[:, chosen.places]
    categories = board.categories()
    names = sorted({category for category in categories if category is not None})
    index = {name: place for place, name in enumerate(names)}
    models = []
    for evaluation in ordered(analysis.evaluations):
        row = matrix[board.models.index(evaluation.model)]
        known = ~np.isnan(row)
        truth = board.truth[chosen.places][known]
        models.append(
            {
                "name": evaluation.model.name,
                "onScale": evaluation.on_scale,
                "n": int(known.sum()),
                "srocc": None if evaluation.agreement is None else _number(evaluation.agreement.srocc.value),
                "plcc": None if evaluation.agreement is None else _number(evaluation.agreement.plcc.value),
                "predictions": [_number(value) for value in row],
                "calibration": [[_number(x), _number(y), n] for x, y, n in calibration(row[known], truth)],
            }
        )
    content = {
        "dataset": board.dataset,
        "slug": slug,
        "range": list(score_range(board)),
        "part": TEXTS_PER_FILE,
        "many": MANY_PAINTINGS,
        "ids": chosen.ids,
        "truth": [_number(board.truth[place]) for place in chosen.places],
        "categories": names,
        "category": [index.get(categories[place] or "", -1) for place in chosen.places],
        "pictures": [pictures[painting_id].name if painting_id in pictures else "" for painting_id in chosen.ids],
        "previews": [
            place
            for place, painting_id in enumerate(chosen.ids)
            if painting_id in pictures and pictures[painting_id].preview
        ],
        "models": models,
    }
    return f"window.ARTQUANT_BOARD = {script_json(content)};\n"


def text_scripts(analysis: Analysis) -> Iterator[str]:
    """The scripts that hold texts and level distributions, one for each `TEXTS_PER_FILE` paintings."""
    ids = painting_order(analysis).ids
    for part, start in enumerate(range(0, len(ids), TEXTS_PER_FILE)):
        texts = [_texts(analysis, painting_id) for painting_id in ids[start : start + TEXTS_PER_FILE]]
        yield f"window.ARTQUANT_TEXTS({part}, {script_json(texts)});\n"


def script_json(content: Any) -> str:
    """JSON that is safe within a script, whatever text it holds.

    Args:
        content: what `json.dumps` takes, without NaN and infinite numbers.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign, escape in _ESCAPES.items():
        text = text.replace(sign, escape)
    return text


def _texts(analysis: Analysis, painting_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    painting = analysis.board.paintings.get(painting_id)
    if painting is not None and painting.description is not None:
        found["description"] = painting.description
    if painting is not None and painting.comment:
        found["comment"] = painting.comment
    models: dict[int, dict[str, Any]] = {}
    for place, evaluation in enumerate(ordered(analysis.evaluations)):
        model = evaluation.model
        own: dict[str, Any] = {}
        sample = model.samples.get(painting_id)
        if sample is not None:
            levels = sample.levels
            if levels is not None:
                own["levels"] = [[word, _number(share)] for word, share in levels.items()]
            elif sample.reply:
                own["reply"] = sample.reply[:LONGEST]
            if sample.reason:
                own["reason"] = sample.reason
        if painting_id in model.descriptions:
            own["description"] = model.descriptions[painting_id][:LONGEST]
        if own:
            models[place] = own
    if models:
        found["models"] = models
    return found


def _scaled_ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value, scaled to [0, 1]; shape (n,). Ties keep their order."""
    return np.argsort(np.argsort(values, kind="stable"), kind="stable") / max(len(values) - 1, 1)


def _number(value: float) -> float | None:
    return None if not math.isfinite(value) else round(float(value), DIGITS)
