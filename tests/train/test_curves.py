"""The picture of a training: where its marks stand, and what its caption says."""

import math

import pytest

from artquant_plugin.common.appearance import LIGHT
from artquant_plugin.train.curves import best_evaluation, caption, curves_figure
from artquant_plugin.train.losses import LOGGED


def loss(stage: str, step: int, total: float, **terms: float) -> dict:
    return {"stage": stage, "step": step, "loss": total, **terms}


def evaluation(stage: str, step: int, srocc: float, **more: float) -> dict:
    return {"stage": stage, "step": step, "eval_srocc": srocc, "eval_plcc": srocc - 0.01, **more}


WORSE = [
    loss("mat", 10, 3.0, ce_description=2.0, kl=1.0),
    evaluation("mat", 10, 0.71),
    loss("mat", 20, 2.0, ce_description=1.5, kl=0.5),
    evaluation("mat", 20, 0.80),
    evaluation("mat", 30, 0.78),
    loss("sot", 5, 0.4, kl=0.4),
    evaluation("sot", 5, 0.74),
    loss("sot", 10, 0.3, kl=0.3),
    evaluation("sot", 10, 0.76),
]


def lines_of(axes) -> dict:
    return {line.get_label(): line for line in axes.lines}


def test_the_best_mark_stands_at_the_step_with_the_largest_srocc():
    agreement = curves_figure(WORSE, title="t").axes[1]
    (mark,) = [line for label, line in lines_of(agreement).items() if label.startswith("best SROCC")]
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([20], [0.80])
    # In the second stage, whose steps follow the first one's 30:
    better = [*WORSE, evaluation("sot", 15, 0.81)]
    agreement = curves_figure(better, title="t").axes[1]
    (mark,) = [line for label, line in lines_of(agreement).items() if label == "best SROCC: 0.810"]
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([45], [0.81])


def test_the_first_of_equal_evaluations_is_the_best_one_and_nan_is_none():
    lines = [evaluation("a", 1, math.nan), evaluation("a", 2, 0.5), evaluation("a", 3, 0.5)]
    best = best_evaluation(lines)
    assert best is not None and (best.stage, best.step, best.value) == ("a", 2, 0.5)
    assert best_evaluation(lines[:1]) is None
    assert caption(lines[:1]).endswith("No evaluation has an SROCC.")
    curves_figure(lines[:1], title="t")


def test_the_caption_tells_what_each_stage_did():
    text = caption(WORSE)
    assert "SROCC on the validation split was best at step 20 of stage mat: 0.800." in text
    # 0.80 - 0.76, the best of either stage:
    assert text.endswith("Stage sot made it worse: its best is 0.760, 0.040 below that of stage mat.")
    assert caption([*WORSE, evaluation("sot", 15, 0.81)]).endswith("Stage sot raised it from 0.800 to 0.810.")
    same = [evaluation("mat", 1, 0.5), evaluation("sot", 1, 0.5)]
    assert caption(same).endswith("Stage sot left the best SROCC where it was.")
    figure = curves_figure(WORSE, title="t")
    assert figure.get_supxlabel().replace("\n", " ") == text


def test_the_stages_are_named_and_a_line_stands_between_them():
    figure = curves_figure(WORSE, title="Training of x", samples={"mat": ["describe", "score"], "sot": ["score"]})
    assert figure.get_suptitle() == "Training of x"
    texts = {text.get_text(): text.xy[0] for text in figure.axes[0].texts}
    assert texts == {"stage mat: descriptions and scores": 0, "stage sot: scores": 30}
    for axes in figure.axes:
        boundaries = [line for line in axes.lines if list(line.get_xdata()) == [30, 30]]
        assert [line.get_color() for line in boundaries] == [LIGHT["soft"]]


def test_the_total_shows_where_it_equals_a_term():
    axes = curves_figure(WORSE, title="t").axes[0]
    total, kl = lines_of(axes)["total loss"], lines_of(axes)["levels' probabilities\n(KL divergence)"]
    assert total.get_linewidth() > 2 * kl.get_linewidth()  # broad, and beneath the terms
    assert list(axes.lines).index(total) < list(axes.lines).index(kl)
    assert total.get_color() == LIGHT["ink"] != kl.get_color()
    assert (list(total.get_xdata()), list(total.get_ydata())) == ([10, 20], [3.0, 2.0])


def test_every_term_of_the_loss_has_a_line_and_a_name():
    terms = [name for name in LOGGED if name != "level_mass"]  # which is watched and is no term
    lines = [loss("a", step, 5.0, **dict.fromkeys(terms, 1.0)) for step in (1, 2)]
    axes = curves_figure(lines, title="t").axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(labels) == len(set(labels)) == 1 + len(terms)
    assert len({line.get_color() for line in axes.lines}) == 1 + len(terms)


@pytest.mark.parametrize("lines", [[loss("only", 1, 1.0, kl=1.0)], [loss("only", 1, 0.0)]])
def test_a_run_of_one_step_has_a_picture(lines):
    figure = curves_figure(lines, title="a $ and \\frac")
    figure.canvas.draw()
    assert len(figure.axes) == 1  # nothing was evaluated


def test_the_level_words_probability_has_an_axis_of_its_own():
    lines = [evaluation("a", step, 0.8, eval_level_mass=0.02) for step in (1, 2)]
    _, agreement, mass = curves_figure(lines, title="t").axes
    assert agreement.get_ylim()[0] > 0.7  # differences of SROCC are not squeezed
    assert mass.get_ylim() == (0, 1.05)
