"""Writes the report as one HTML file that contains its pictures and styles, and needs no script and no request."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from artquant_plugin import __version__
from artquant_plugin.common.appearance import css
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.machine import machine_faults
from artquant_plugin.data.images import ImageError, open_image
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS
from artquant_plugin.train.rad.report.collect import QUANTILES, Example, RunStatistics
from artquant_plugin.train.rad.report.duplicates import SIMILAR, WORDS
from artquant_plugin.train.rad.report.figures import HEIGHT, WIDTH, Histogram, histogram, word_limit
from artquant_plugin.train.rad.table import RadRun

SCORE_BINS, WORD_BINS = 20, 25
LONGEST_SIDE, QUALITY = 360, 80  # size in pixels and JPEG quality of the examples' pictures

TEMPLATE = "page.html.jinja"


def write_report(path: Path, run: RadRun, found: RunStatistics, *, seed: int) -> None:
    """Write the HTML page of the report.

    Args:
        path: path of the HTML file, which is replaced if it exists.
        run: the run that the page is about.
        found: the statistics of this run, from `collect`.
        seed: the seed with which the examples were drawn.
    """
    # Everything is escaped, since texts come from a model and names from a dataset.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["signed"] = _rounded
    currency = run.record.config.get("currency")
    environment.filters["money"] = lambda cost, digits=2: f"{cost:,.{digits}f}" + (f" {currency}" if currency else "")
    page = environment.get_template(TEMPLATE).render(
        run=run,
        found=found,
        seed=seed,
        levels=DESCRIPTION_LEVELS,
        quantiles=QUANTILES,
        rule={"words": WORDS, "similar": SIMILAR},
        ended=found.states.get("accepted", 0) + found.states.get("failed", 0),
        mode=run.record.config.get("judge", {}).get("mode"),
        scores=_score_histogram(run, found),
        words=_word_histograms(found),
        plot={"width": WIDTH, "height": HEIGHT},
        examples=[_example_values(run, example) for example in found.examples],
        failures=[_example_values(run, example) for example in found.failures],
        currency=currency,
        style=css(),
        version=__version__,
    )
    with machine_faults(f"'{path}' cannot be written"), atomic_write(path) as file:
        file.write(page)


def _rounded(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _score_histogram(run: RadRun, found: RunStatistics) -> Histogram | None:
    if found.distribution is None:
        return None
    limits = run.dataset.info.score_range
    return histogram(found.distribution.every, limits, SCORE_BINS, over=found.distribution.accepted)


def _word_histograms(found: RunStatistics) -> Mapping[str, Histogram]:
    """Histograms of the texts' lengths by level, all on the same axis, so that they can be compared."""
    if not found.texts:
        return {}
    limit = word_limit([texts.words for texts in found.texts.values()], WORD_BINS)
    return {level: histogram(texts.words, (0, limit), WORD_BINS, whole=True) for level, texts in found.texts.items()}


def _example_values(run: RadRun, example: Example) -> dict[str, Any]:
    """The values that the template needs for an example, with its picture as a data URI or why it has none."""
    shown: dict[str, Any] = {"painting": example.painting, "result": example.result, "uri": None, "problem": None}
    try:
        picture = open_image(run.dataset.image_path(example.painting), longest_side=LONGEST_SIDE)
    except ImageError as error:
        return shown | {"problem": error.reason.replace("_", " ")}
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    content = base64.b64encode(buffer.getvalue()).decode()
    return shown | {"uri": f"data:image/jpeg;base64,{content}", "width": picture.width, "height": picture.height}
