"""The one home of colours and type: contrast, colour blindness, and that nothing has colours of its own."""

import itertools
import re

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties, findfont

from artquant_plugin.common.appearance import (
    DARK,
    DARK_DENSITY,
    DARK_SERIES,
    LIGHT,
    LIGHT_DENSITY,
    LIGHT_SERIES,
    PLOT_SANS,
    PLOT_SERIF,
    SANS,
    SERIF,
    css,
)
from tests.paths import ROOT

TEXT, LINE = 4.5, 3.0  # contrast that WCAG 2.2 asks for at level AA: criteria 1.4.3 and 1.4.11
PALETTES = {"light": (LIGHT, LIGHT_SERIES, LIGHT_DENSITY), "dark": (DARK, DARK_SERIES, DARK_DENSITY)}

# From linear sRGB to CIE XYZ (IEC 61966-2-1).
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
# What people without one kind of cone see, in linear sRGB: Machado, Oliveira and Fernandes 2009, table 1, severity 1.
SEEN = {
    "all cones": np.eye(3),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no blue cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
OKABE_ITO = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """The contrast of WCAG, from 1 to 21."""
    dark, light = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a colour in linear sRGB, for the white of sRGB."""
    share = XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def smallest_distance(colours: tuple[str, ...]) -> float:
    """The distance of the two colours that are hardest to tell apart, for any reader of `SEEN`."""
    return min(
        float(np.linalg.norm(lab(matrix @ linear(one)) - lab(matrix @ linear(other))))
        for matrix in SEEN.values()
        for one, other in itertools.combinations(colours, 2)
    )


def mixed(one: str, share: float, other: str) -> str:
    """What `color-mix(in srgb, one share, other)` gives."""
    pairs = [(int(one[place : place + 2], 16), int(other[place : place + 2], 16)) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(share * first + (1 - share) * second):02x}" for first, second in pairs)


def test_contrast_is_that_of_known_pairs():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the lightest grey that fails


@pytest.mark.parametrize("mode", PALETTES)
def test_text_can_be_read_on_every_ground(mode):
    colours, _, _ = PALETTES[mode]
    for text, ground in itertools.product(
        ("ink", "soft", "accent", "warm", "good"), ("paper", "sheet", "wall", "hair")
    ):
        assert contrast(colours[text], colours[ground]) >= TEXT, (text, ground)
    for name in ("accent", "warm", "good"):
        assert contrast(colours[name], colours[f"{name}-soft"]) >= TEXT, name
        assert contrast(colours["ink"], colours[f"{name}-soft"]) >= TEXT, name


@pytest.mark.parametrize("mode", PALETTES)
def test_lines_bars_and_cells_can_be_seen(mode):
    colours, series, density = PALETTES[mode]
    for line, ground in itertools.product(
        (*series, *density, colours["bar"], colours["soft"]), (colours["paper"], colours["sheet"])
    ):
        assert contrast(line, ground) >= LINE, (line, ground)
    assert contrast(colours["ink"], colours["bar"]) >= LINE  # an outline over the bars of a histogram
    steps = [contrast(colour, colours["sheet"]) for colour in density]
    assert steps == sorted(steps)  # more paintings stand out more


@pytest.mark.parametrize("mode", PALETTES)
def test_series_differ_for_colour_blind_readers_more_than_okabe_and_itos(mode):
    assert smallest_distance(PALETTES[mode][1]) > smallest_distance(OKABE_ITO) > 15


@pytest.mark.parametrize("mode", PALETTES)
def test_a_heat_maps_figures_can_be_read_on_its_colours(mode):
    """The style sheet mixes the accent into the ground: below `.heat-7` the text is ink, from there on it is paper."""
    colours = PALETTES[mode][0]
    text = (ROOT / "artquant_plugin" / "report" / "site" / "assets" / "page.css").read_text()
    shares = dict(re.findall(r"\.heat-(\d+) \{ background: color-mix\(in srgb, var\(--accent\) (\d+)%", text))
    assert set(map(int, shares)) == set(range(10))
    for step, share in {**shares, "10": "100"}.items():
        ground = mixed(colours["accent"], int(share) / 100, colours["sheet"])
        assert contrast(colours["paper" if int(step) >= 7 else "ink"], ground) >= TEXT, step


def test_no_page_and_no_plot_has_colours_of_its_own():
    places = [f"artquant_plugin/{room}" for room in ("report", "publish", "common", "cli")] + ["train"]
    kinds = (".py", ".css", ".js", ".j2", ".jinja")
    found = {
        path.relative_to(ROOT).as_posix(): colours
        for place in places
        for path in (ROOT / place).rglob("*")
        if path.suffix in kinds and (colours := re.findall(r"[\"' :,(]#[0-9a-fA-F]{3,8}\b(?!\.)", path.read_text()))
    }
    assert set(found) == {"artquant_plugin/common/appearance.py"}


def test_every_variable_that_a_page_uses_is_written():
    written = set(re.findall(r"--[\w-]+(?=:)", css()))
    for name in (
        "artquant_plugin/report/site/assets/page.css",
        "artquant_plugin/report/site/assets/charts.js",
        "artquant_plugin/report/site/assets/paintings.js",
        "train/rad/report/page.css",
    ):
        used = set(re.findall(r"var\((--[\w-]+)\)|color\(\"(--[\w-]+)\"\)", (ROOT / name).read_text()))
        assert {one or other for one, other in used} <= written, name


def test_the_dark_page_has_every_colour_of_the_light_one():
    light, dark = css().split("@media (prefers-color-scheme: dark)")
    names = set(re.findall(r"--[\w-]+(?=: #)", light))
    assert names == set(re.findall(r"--[\w-]+(?=: #)", dark))
    assert f"--paper: {LIGHT['paper']};" in light and f"--paper: {DARK['paper']};" in dark
    assert {f"--series-{place}" for place in range(6)} < names


def test_the_plots_fonts_are_in_the_pages_lists_and_ship_with_matplotlib():
    for font, fonts in ((PLOT_SANS, SANS), (PLOT_SERIF, SERIF)):
        assert f'"{font}"' in fonts
        assert findfont(FontProperties(family=font), fallback_to_default=False)
