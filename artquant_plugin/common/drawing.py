"""Plots as PNG files, all in the colours and the type of `appearance.py`."""

import textwrap
from io import BytesIO
from pathlib import Path

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from artquant_plugin.common.appearance import LIGHT, PLOT_SANS, PLOT_SERIF, PLOT_SIZES
from artquant_plugin.common.files import atomic_write

DOTS_PER_INCH = 150
CHARACTER_WIDTH = 0.53  # mean width of a character of the caption, as a share of its size

_STYLE = {
    "font.family": PLOT_SANS,
    "font.size": PLOT_SIZES["text"],
    "axes.labelsize": PLOT_SIZES["text"],
    "xtick.labelsize": PLOT_SIZES["small"],
    "ytick.labelsize": PLOT_SIZES["small"],
    "legend.fontsize": PLOT_SIZES["small"],
    "legend.frameon": False,
    "figure.dpi": DOTS_PER_INCH,
    "figure.facecolor": LIGHT["sheet"],
    "axes.facecolor": LIGHT["sheet"],
    "savefig.facecolor": LIGHT["sheet"],
    "text.color": LIGHT["ink"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.edgecolor": LIGHT["soft"],
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
    "xtick.labelcolor": LIGHT["ink"],
    "ytick.labelcolor": LIGHT["ink"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a dollar sign in a file's name begins no formula
}

# Decorates a function that makes a figure. What the reader's own matplotlibrc says does not change our plots.
in_our_style = style.context(_STYLE, after_reset=True)


def new_figure(width: float, height: float, *, title: str, caption: str) -> Figure:
    """An empty figure with a title above and a caption below, both at the left; plots fill what is between.

    Args:
        width: width of the picture in inches, of 150 pixels each.
        height: height of the picture in inches.
        title: one line above the plots; it is not shortened.
        caption: whole sentences below the plots; they are broken into lines here.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.02, ha="left", fontfamily=PLOT_SERIF, fontsize=PLOT_SIZES["title"])
    characters = int(0.96 * width * 72 / (CHARACTER_WIDTH * PLOT_SIZES["small"]))
    figure.supxlabel(
        textwrap.fill(caption, characters),
        x=0.02,
        ha="left",
        fontsize=PLOT_SIZES["small"],
        color=LIGHT["ink"],
        linespacing=1.35,
    )
    return figure


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure as PNG.

    Args:
        path: the PNG file to write; an existing file is replaced, and missing folders are made.
        figure: the figure, whose size in pixels is its size in inches times 150.
    """
    with atomic_write(path, "wb") as file:
        file.write(png_bytes(figure))


def png_bytes(figure: Figure) -> bytes:
    """Draw a figure and return the bytes of its PNG file.

    Args:
        figure: the figure, whose size in pixels is its size in inches times 150.
    """
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
