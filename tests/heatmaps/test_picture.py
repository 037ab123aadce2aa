"""The picture of heat maps: panels, titles, sentences, and where the colour is."""

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.heatmaps.maps import HeatMap, PaintingMaps
from artquant_plugin.heatmaps.picture import MappedBy, caption, draw_heat_maps, heat_map_figure


def mapped(name="runs/demo", size=(120, 80), methods=("rollout", "gradient"), corner=9.0, padding=0.0) -> MappedBy:
    """Maps whose density is at the top right, over a grey painting."""
    density = np.zeros((10, 10))
    density[:5, 5:] = corner
    maps = {method: HeatMap(density, padding) for method in methods}
    return MappedBy(name, Image.new("RGB", size, (128, 128, 128)), PaintingMaps(7.157, maps))


def texts(figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_each_checkpoint_has_a_row_with_the_painting_and_its_maps():
    figure = heat_map_figure([mapped(), mapped("runs/other")], title="a.jpg")
    assert texts(figure)[:6] == [
        *("runs/demo: 7.16", "vision encoder", "score"),
        *("runs/other: 7.16", "vision encoder", "score"),
    ]
    pictured = [axes for axes in figure.axes if axes.images]
    assert len(pictured) == 6
    assert figure.get_suptitle() == "a.jpg"


def test_a_map_that_one_checkpoint_lacks_is_left_out_of_its_row():
    figure = heat_map_figure([mapped(), mapped("runs/conv", methods=("gradient",))], title="a.jpg")
    assert texts(figure)[3:6] == ["runs/conv: 7.16", "", "score"]


def test_two_checkpoints_share_the_scale_of_colours():
    """The denser map of the two has the darkest colour, and the other one a lighter one at the same place."""
    figure = heat_map_figure([mapped(corner=9.0), mapped(corner=3.0)], title="a.jpg")
    strong, weak = (figure.axes[index].images[0].get_array() for index in (1, 4))
    assert strong[20, 90].sum() < weak[20, 90].sum()
    labelled = [axes for axes in figure.axes if axes.get_xlabel() == "times the map's mean"]
    assert [axes.get_xlim() for axes in labelled] == [(0, 9), (0, 9)]


def test_the_colour_is_where_the_map_is_dense_and_grey_elsewhere():
    shown = heat_map_figure([mapped()], title="a.jpg").axes[1].images[0].get_array()
    assert shown.shape == (80, 120, 3)
    dense, empty = shown[20, 90], shown[60, 30]
    assert dense[0] - dense[2] > 0.1  # red
    assert np.ptp(empty) == pytest.approx(0)


def test_the_caption_says_what_is_shown_and_what_lies_on_padding():
    assert caption([mapped(padding=0.357)], ["rollout"]) == (
        "Vision encoder: attention rollout through all of its layers. 36% of the map of the vision encoder lies on "
        "padding around the painting and is left out."
    )
    assert caption([mapped(padding=0.004)], ["gradient"]) == "Score: gradient × input of the expected score."
    both = caption([mapped(), mapped("runs/other", padding=0.5)], ["gradient"])
    assert "50% of the map of the score of runs/other lies on padding" in both
    assert "runs/demo" not in both


@pytest.mark.parametrize("size", [(2000, 300), (60, 400), (1, 1)])
def test_narrow_and_wide_paintings_are_drawn(size, tmp_path):
    draw_heat_maps(tmp_path / "a.png", [mapped(size=size)], title="a name that is too long for the picture " * 9)
    with Image.open(tmp_path / "a.png") as drawn:
        assert drawn.width < 2500
        assert drawn.height < 1500
