"""The plot of predictions against human scores: what is drawn, and what its caption says."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from PIL import Image

from artquant_plugin.common.appearance import LIGHT_DENSITY
from artquant_plugin.metrics.agreement import Agreement, Metric, evaluate
from artquant_plugin.report.scatter import caption, draw_scatter, scatter_figure
from tests.kills import kills


def pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truths = rng.normal(5, 1, n)
    return truths + rng.normal(0, 0.7, n), truths


def figure_of(n: int):
    predictions, truths = pairs(n)
    agreement = evaluate([str(i) for i in range(n)], predictions, truths, resamples=0)
    return scatter_figure(predictions, truths, title="t", agreement=agreement)


def test_up_to_a_thousand_paintings_are_dots():
    axes = figure_of(1000).axes
    (dots,) = [found for found in axes[0].collections if isinstance(found, PathCollection)]
    assert len(dots.get_offsets()) == 1000
    assert len(axes) == 1  # no scale of colours


@pytest.mark.parametrize("n", [1001, 6399])
def test_more_paintings_are_counted_in_hexagons(n):
    axes, bar = figure_of(n).axes
    assert not [found for found in axes.collections if isinstance(found, PathCollection)]
    (cells,) = [found for found in axes.collections if isinstance(found, PolyCollection)]
    counts = cells.get_array()
    assert counts.sum() == n  # each painting lies in one hexagon
    assert counts.min() >= 1 and len(counts) < n / 2
    assert bar.get_ylabel() == "paintings per hexagon, on a logarithmic scale"
    assert cells.norm.vmin == 1 and cells.norm.vmax == counts.max()
    assert [to_hex(cells.cmap(end)) for end in (0.0, 1.0)] == [LIGHT_DENSITY[0], LIGHT_DENSITY[-1]]


def test_a_hexagon_stands_where_its_paintings_are():
    # 900 paintings of human score 2 that are predicted as 8, and 101 of human score 9 predicted as 1.
    truths, predictions = [2.0] * 900 + [9.0] * 101, [8.0] * 900 + [1.0] * 101
    agreement = evaluate([str(i) for i in range(1001)], predictions, truths, resamples=0)
    axes, _ = scatter_figure(predictions, truths, title="t", agreement=agreement).axes
    (cells,) = [found for found in axes.collections if isinstance(found, PolyCollection)]
    places = {int(count): place for count, place in zip(cells.get_array(), cells.get_offsets(), strict=True)}
    size = (9 - 1) * 1.08 / 36  # of a hexagon: the axes end 4 % beyond the values on either side
    assert places[900] == pytest.approx((2, 8), abs=size)
    assert places[101] == pytest.approx((9, 1), abs=size)


@pytest.mark.parametrize("n", [3, 1500])
def test_the_dashed_line_is_where_both_scores_are_equal(n):
    axes = figure_of(n).axes[0]
    (line,) = axes.lines
    assert line.is_dashed()
    assert list(line.get_xdata()) == list(line.get_ydata()) == list(axes.get_xlim()) == list(axes.get_ylim())
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("human score", "predicted score")


def test_the_caption_has_the_intervals():
    none = Metric(0.5)
    agreement = Agreement(6399, Metric(0.8794, 0.8516, 0.8991), Metric(0.884, 0.862, 0.903), none, none)
    assert caption(agreement) == (
        "6,399 paintings: SROCC 0.879 (95 % interval 0.852 to 0.899) and PLCC 0.884 (95 % interval 0.862 to 0.903). "
        "The darker a hexagon, the more paintings it holds. On the dashed line, prediction and human score are equal."
    )
    predictions, truths = pairs(20)
    shown = evaluate([str(i) for i in range(20)], predictions, truths, resamples=50)
    figure = scatter_figure(predictions, truths, title="t", agreement=shown)
    assert figure.get_supxlabel().replace("\n", " ") == caption(shown)
    assert f"({'95 % interval'} {shown.plcc.low:.3f} to {shown.plcc.high:.3f})" in caption(shown)


def test_the_caption_says_why_there_are_no_intervals():
    few = Agreement(9, Metric(0.5), Metric(float("nan")), Metric(1.0), Metric(1.0))
    assert caption(few) == (
        "9 paintings: SROCC 0.500 and PLCC does not exist. Fewer than 10 paintings are too few for intervals. "
        "On the dashed line, prediction and human score are equal."
    )
    assert caption(Agreement(1, *[Metric(0.5)] * 4)).startswith("1 painting: ")


@pytest.mark.parametrize("spread", [0.0, 1e-15, 1e90])
def test_many_scores_of_any_size_are_drawn(spread, tmp_path):
    predictions, truths = [5.0] * 1200, [5.0 + spread * (i % 3) for i in range(1200)]
    agreement = Agreement(1200, *[Metric(float("nan"))] * 4)
    draw_scatter(tmp_path / "a.png", predictions, truths, title="t", agreement=agreement)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1035, 960)  # 6.9 × 6.4 inches of 150 pixels


def test_a_plot_that_is_killed_anywhere_leaves_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "watched" / "scatter.png"

    def draw(n):
        predictions, truths = pairs(n)
        agreement = evaluate([str(i) for i in range(n)], predictions, truths, resamples=0)
        draw_scatter(path, predictions, truths, title="t", agreement=agreement)

    draw(40)
    new = path.read_bytes()
    draw(20)
    old = path.read_bytes()

    def renew():
        for leftover in path.parent.iterdir():
            leftover.unlink()
        path.write_bytes(old)

    seen = []
    for _ in kills(lambda: draw(40), path.parent, renew):
        seen.append(path.read_bytes())
    assert seen[0] == old and seen[-1] == new != old and set(seen) == {old, new}
