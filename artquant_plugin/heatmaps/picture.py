"""The picture of a painting's heat maps: the painting, and each map over it, for one checkpoint or two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from artquant_plugin.common.appearance import LIGHT, PLOT_SIZES
from artquant_plugin.common.drawing import in_our_style, new_figure, write_png
from artquant_plugin.common.text import one_line
from artquant_plugin.heatmaps.maps import HeatMap, Method, PaintingMaps

HEADINGS: Mapping[Method, str] = {
    "rollout": "vision encoder",
    "attention": "last layer",
    "gradient": "score",
}
SENTENCES: Mapping[Method, str] = {
    "rollout": "Vision encoder: attention rollout through all of its layers.",
    "attention": "Last layer: attention of the last layer of the vision encoder that the model reads.",
    "gradient": "Score: gradient × input of the expected score.",
}
# From what is not looked at, where the painting shows as grey, to the densest part. Each colour is darker than the
# one before it and stands out from grey.
HEAT = LinearSegmentedColormap.from_list("heat", ["#f6d9a5", "#ee8f3c", LIGHT["warm"], "#5c1330"])
LARGEST_SIDE = 1024  # pixels of the painting's longer side in the picture
AREA = 7.4  # square inches of each panel
LOWEST_RATIO, HIGHEST_RATIO = 0.4, 2.5  # of a panel's width to its height
SEEN, FADING = 0.92, 0.7  # opacity of the densest part of a map, and how it fades where the map is less dense
BAR = 0.09  # height of a scale of colours, in inches
NARROWEST = 6.0  # width of a picture of narrow panels, in inches
CHARACTERS_PER_INCH = 10.5  # of the panels' titles, and fewer than fit of the letters above the panels


@dataclass(frozen=True, slots=True)
class MappedBy:
    """The maps of a painting by one checkpoint.

    Args:
        name: what the user typed for the checkpoint.
        image: the painting as the checkpoint sees it, an RGB picture of any size.
        painting: the maps and the score.
    """

    name: str
    image: Image.Image
    painting: PaintingMaps


def draw_heat_maps(path: Path, models: Sequence[MappedBy], *, title: str) -> None:
    """Write the picture of a painting's heat maps as PNG.

    Args:
        path: the PNG file to write; an existing file is replaced.
        models: the maps of the painting by one checkpoint or several, of which each gets a row.
        title: the line above the panels, such as the painting's name; a longer one than fits is cut.
    """
    write_png(path, heat_map_figure(models, title=title))


@in_our_style
def heat_map_figure(models: Sequence[MappedBy], *, title: str) -> Figure:
    """The picture that `draw_heat_maps` writes.

    Maps of one method have one scale of colours, whichever checkpoint they are of, so that they can be compared.

    Args:
        models: the maps of the painting by one checkpoint or several, of which each gets a row.
        title: the line above the panels, such as the painting's name; a longer one than fits is cut.
    """
    methods = list(dict.fromkeys(method for model in models for method in model.painting.maps))
    images = [_small(model.image) for model in models]
    ratio = float(np.clip(images[0].width / images[0].height, LOWEST_RATIO, HIGHEST_RATIO))
    width, height = (AREA * ratio) ** 0.5, (AREA / ratio) ** 0.5
    columns = 1 + len(methods)
    whole_width = max(columns * width + 0.4, NARROWEST)
    figure = new_figure(
        whole_width,
        len(models) * (height + 0.3) + 1.4,
        title=one_line(title, int(whole_width * CHARACTERS_PER_INCH)),
        caption=caption(models, methods),
    )
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0.02, 0, 0.96, 1), hspace=0.03)  # the panels begin where the title does
    heights = [*[height] * len(models), BAR]
    panels = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    for panel in (*panels[:-1].flat, panels[-1, 0]):
        panel.set_axis_off()
    greys = [np.asarray(image.convert("L"), dtype=float) / 255 for image in images]
    for row, image, model in zip(panels[:-1], images, models, strict=True):
        row[0].imshow(image)
        name = one_line(model.name, int(width * CHARACTERS_PER_INCH) - len(": 10.00"))
        row[0].set_title(f"{name}: {model.painting.score:.2f}", loc="left", fontsize=PLOT_SIZES["text"])
    for column, method in enumerate(methods, start=1):
        found = [model.painting.maps.get(method) for model in models]
        norm = Normalize(0, max(float(each.density.max()) for each in found if each is not None))
        for row, grey, each in zip(panels[:-1], greys, found, strict=True):
            if each is not None:
                row[column].imshow(_over(grey, each, norm))
                row[column].set_title(HEADINGS[method], loc="left", fontsize=PLOT_SIZES["text"])
        bar = figure.colorbar(
            ScalarMappable(norm, HEAT), cax=panels[-1, column], orientation="horizontal", label="times the map's mean"
        )
        bar.outline.set_visible(False)
    return figure


def caption(models: Sequence[MappedBy], methods: Sequence[Method]) -> str:
    """What the picture shows, in whole sentences: the methods, and what of a map lies on padding.

    Args:
        models: the maps by one checkpoint or several.
        methods: the methods whose maps are shown.
    """
    said = [SENTENCES[method] for method in methods]
    for method in methods:
        for model in models:
            found = model.painting.maps.get(method)
            if found is not None and found.padding >= 0.005:
                of = f" of {one_line(model.name, 40)}" if len(models) > 1 else ""
                said.append(
                    f"{found.padding:.0%} of the map of the {HEADINGS[method]}{of} lies on padding around the "
                    "painting and is left out."
                )
    return " ".join(said)


def _small(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return small


def _over(grey: np.ndarray, found: HeatMap, norm: Normalize) -> np.ndarray:
    """A map over a painting, as RGB values from 0 to 1; the painting is grey and pale, so that the map is seen."""
    cells = Image.fromarray(found.density.astype(np.float32)).resize(grey.shape[::-1], Image.Resampling.BILINEAR)
    heat = norm(np.asarray(cells).clip(0))
    opacity = (SEEN * heat**FADING)[..., None]
    lightness = grey[..., None]
    return HEAT(heat)[..., :3] * opacity * (0.7 + 0.3 * lightness) + (0.4 + 0.55 * lightness) * (1 - opacity)
