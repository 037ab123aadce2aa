"""How pictures and pages look: their colours, their type and its sizes, for light and for dark screens.

The plots (`drawing.py`) and the pages of the reports take everything from here, so that all of them look alike. The
pages get the colours as CSS variables, of which `css` writes the text. Plots are PNG files and always light.
"""

from collections.abc import Mapping

# Names of the colours:
#   paper, sheet      the ground of a page, and of a table, a card or a plot upon it
#   wall              the ground behind a painting
#   ink, soft         text, and text of less weight; soft is also the colour of an axis and of a dashed line
#   line, hair        the edge of a box, and the grid of a plot; both may be faint, since nothing is read from them
#   accent, warm, good        a link or what is chosen; a warning or too high; better
#   *-soft            the ground of text in that colour
#   shadow, veil      below a raised box, and over the page behind a dialog; both let the ground through
#   bar               the bars of a histogram, over which a line in ink is seen
#   series            lines of several models or terms in one plot; the colours differ for colour-blind readers, too
LIGHT: Mapping[str, str] = {
    "paper": "#faf8f3",
    "sheet": "#fffefb",
    "wall": "#efece4",
    "ink": "#1d1b18",
    "soft": "#68635b",
    "line": "#e2ddd2",
    "hair": "#efebe2",
    "accent": "#1f4e79",
    "accent-soft": "#dde8f2",
    "warm": "#a33f1b",
    "warm-soft": "#f7e3d9",
    "good": "#1e6b4a",
    "good-soft": "#dcefe4",
    "bar": "#7a8fa6",
    "shadow": "#00000044",
    "veil": "#0f0e12b8",
}
DARK: Mapping[str, str] = {
    "paper": "#15141a",
    "sheet": "#1c1b22",
    "wall": "#111016",
    "ink": "#ece8df",
    "soft": "#a29d93",
    "line": "#34323c",
    "hair": "#26252d",
    "accent": "#8db9e3",
    "accent-soft": "#22344a",
    "warm": "#ef9a74",
    "warm-soft": "#45281d",
    "good": "#84cfa9",
    "good-soft": "#1d3a2d",
    "bar": "#5f6f86",
    "shadow": "#00000077",
    "veil": "#0f0e12b8",
}
LIGHT_SERIES = ("#1f4e79", "#c8700f", "#0d9488", "#a1304f", "#3d1f10", "#8f7fd6")
DARK_SERIES = ("#8db9e3", "#ee6a2e", "#6ff0cc", "#bb4f86", "#fff0a0", "#8a66ee")

# Of a density plot's cells: from one painting to the most. Each colour can be told from the plot's ground.
LIGHT_DENSITY = ("#6c91bb", "#3a6a9c", "#1f4e79", "#0b1f33")
DARK_DENSITY = ("#4f7196", "#6f9cc9", "#a9cbea", "#f2f7fc")

SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", Arial, sans-serif'
SERIF = (
    '"Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", P052, "Book Antiqua", Georgia, '
    '"DejaVu Serif", serif'
)
PLOT_SANS = "DejaVu Sans"  # the one font of the two lists above that every installation of matplotlib has
PLOT_SERIF = "DejaVu Serif"

BODY_SIZE = 16  # of a page's text, in CSS pixels
SMALL, SMALLEST = 0.86, 0.8  # sizes of notes and of labels in a page, as shares of its text's
PLOT_SIZES: Mapping[str, float] = {"title": 12.0, "text": 9.5, "small": 8.5}  # in points

MANY_PAINTINGS = 1000  # above so many paintings, their dots would cover each other: a plot shows their density instead


def css() -> str:
    """The colours and the type as variables of CSS, for the head of a style sheet.

    The variables are named as the colours above, and ``--series-0``, ``--density-0`` and so on, ``--sans``,
    ``--serif``, ``--body``, ``--small`` and ``--smallest``. A page in the dark has the dark ones.
    """
    type_ = f"--sans: {SANS}; --serif: {SERIF}; --body: {BODY_SIZE}px; --small: {SMALL}rem; --smallest: {SMALLEST}rem;"
    light = _variables(LIGHT, LIGHT_SERIES, LIGHT_DENSITY)
    dark = _variables(DARK, DARK_SERIES, DARK_DENSITY)
    return (
        f":root {{\n  color-scheme: light dark;\n  {type_}\n  {light}\n}}\n"
        f"@media (prefers-color-scheme: dark) {{\n  :root {{\n    {dark}\n  }}\n}}\n"
    )


def _variables(colours: Mapping[str, str], series: tuple[str, ...], density: tuple[str, ...]) -> str:
    named = dict(colours)
    named |= {f"series-{place}": colour for place, colour in enumerate(series)}
    named |= {f"density-{place}": colour for place, colour in enumerate(density)}
    return " ".join(f"--{name}: {colour};" for name, colour in named.items())
