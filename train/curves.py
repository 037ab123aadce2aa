"""The picture of a training: the loss and its terms, and below it what validation found, all stages on one axis."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artquant_plugin.common.appearance import LIGHT, LIGHT_SERIES
from artquant_plugin.common.drawing import in_our_style, new_figure, write_png
from artquant_plugin.common.text import one_line

TOTAL = "loss"
TERMS = {
    "ce_description": ("words of descriptions\n(cross-entropy)", LIGHT_SERIES[0]),
    "ce_answer": ("words around the level\n(cross-entropy)", LIGHT_SERIES[1]),
    "kl": ("levels' probabilities\n(KL divergence)", LIGHT_SERIES[2]),
    "ce_mass": ("level words among all\n(cross-entropy)", LIGHT_SERIES[3]),
    "ranking": ("order of pairs\n(ranking loss)", LIGHT_SERIES[5]),
}
METRIC_NAMES = {"eval_srocc": "SROCC", "eval_plcc": "PLCC", "eval_level_mass": "level mass"}
SROCC, LEVEL_MASS = "eval_srocc", "eval_level_mass"
KINDS = {"describe": "descriptions", "score": "scores"}  # what the samples of a stage teach
TITLE_WIDTH = 80  # characters of the title that fit into the picture's width
STAGE_WIDTH = 88  # characters that fit above the whole axis, for the stages' names together
BEST_LABEL = "best SROCC"


@dataclass(frozen=True, slots=True)
class BestEvaluation:
    """The evaluation with the largest SROCC.

    Args:
        stage: name of the stage in which it was made.
        step: optimisation steps of this stage before it.
        value: its SROCC, in [-1, 1].
    """

    stage: str
    step: int
    value: float


def best_evaluation(lines: Sequence[Mapping[str, Any]], stage: str | None = None) -> BestEvaluation | None:
    """The first of the evaluations with the largest SROCC; None where none has an SROCC.

    Args:
        lines: lines of the log, each with its ``stage`` and ``step``.
        stage: look at this stage alone; None for all stages.
    """
    found = [
        BestEvaluation(line["stage"], line["step"], line[SROCC])
        for line in lines
        if not math.isnan(line.get(SROCC, math.nan)) and stage in (None, line["stage"])
    ]
    return max(found, key=lambda evaluation: evaluation.value, default=None)


def caption(lines: Sequence[Mapping[str, Any]]) -> str:
    """What the picture shows, and what became of SROCC from stage to stage, in whole sentences.

    Args:
        lines: lines of the log, each with its ``stage`` and ``step``.
    """
    sentences = ["The total loss is the weighted sum of its terms; its axis is logarithmic."]
    best = best_evaluation(lines)
    if best is None:
        return " ".join([*sentences, "No evaluation has an SROCC."])
    sentences.append(
        f"SROCC on the validation split was best at step {best.step:,} of stage {best.stage}: {best.value:.3f}."
    )
    stages = [best_evaluation(lines, stage) for stage in dict.fromkeys(line["stage"] for line in lines)]
    evaluated = [stage for stage in stages if stage is not None]
    for before, after in zip(evaluated, evaluated[1:], strict=False):
        change = after.value - before.value
        if abs(change) < 0.0005:
            sentences.append(f"Stage {after.stage} left the best SROCC where it was.")
        elif change > 0:
            sentences.append(f"Stage {after.stage} raised it from {before.value:.3f} to {after.value:.3f}.")
        else:
            sentences.append(
                f"Stage {after.stage} made it worse: its best is {after.value:.3f}, {-change:.3f} below that of stage "
                f"{before.stage}."
            )
    return " ".join(sentences)


@in_our_style
def curves_figure(
    lines: Sequence[Mapping[str, Any]], *, title: str, samples: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """The picture of a training; `draw_curves` writes it.

    Args:
        lines: lines of the log, each with its ``stage``; ``step`` counts within the stage.
        title: one line above the curves; a longer one than fits is cut.
        samples: kinds of samples by stage, ``describe`` and ``score``, named beside the stage; None for none.
    """
    starts, end = _starts(lines)
    best = best_evaluation(lines)
    heights = {"loss": 3.0}
    if any(SROCC in line for line in lines):
        heights["agreement"] = 3.0
    if any(LEVEL_MASS in line for line in lines):
        heights["level mass"] = 1.2
    figure = new_figure(
        9, 1.5 + 0.85 * sum(heights.values()), title=one_line(title, TITLE_WIDTH), caption=caption(lines)
    )
    grid = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=list(heights.values()))
    panels: dict[str, Axes] = dict(zip(heights, grid[:, 0], strict=True))
    _draw_loss(panels["loss"], lines, starts)
    if "agreement" in panels:
        axes = panels["agreement"]
        _draw_metric(axes, lines, starts, SROCC, LIGHT_SERIES[0])
        _draw_metric(axes, lines, starts, "eval_plcc", LIGHT_SERIES[1])
        axes.set_ylabel("validation: agreement\nwith human scores")
        if best is not None:
            _mark_best(axes, best, starts[best.stage] + best.step, end)
    if "level mass" in panels:
        _draw_metric(panels["level mass"], lines, starts, LEVEL_MASS, LIGHT_SERIES[3])
        panels["level mass"].set(ylabel="validation:\nprobability", ylim=(0, 1.05))
    for axes in panels.values():
        for start in list(starts.values())[1:]:
            axes.axvline(start, color=LIGHT["soft"], linewidth=1.4, zorder=1)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1.02), alignment="left", labelspacing=0.9)
    axes.set_xlabel("optimisation step, counted through all stages")  # of the lowest panel
    axes.set_xlim(0, max(end, 1) * 1.01)
    for (stage, start), stop in zip(starts.items(), [*list(starts.values())[1:], end], strict=True):
        kinds = " and ".join(KINDS.get(kind, kind) for kind in (samples or {}).get(stage, ()))
        name = f"stage {stage}: {kinds}" if kinds else f"stage {stage}"
        panels["loss"].annotate(
            one_line(name, max(3, int(STAGE_WIDTH * (stop - start) / max(end, 1)))),
            (start, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 4),
            textcoords="offset points",
        )
    return figure


def draw_curves(
    path: Path, lines: Sequence[Mapping[str, Any]], *, title: str, samples: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Write the picture of a training as PNG.

    Above are the total loss and its terms, below SROCC and PLCC of the validation split with a ring around the best
    SROCC, and under these the level words' probability where it was measured. Stages follow each other on one axis,
    with a line between them.

    Args:
        path: the PNG file to write; an existing file is replaced.
        lines: lines of the log, each with its ``stage``; ``step`` counts within the stage.
        title: one line above the curves; a longer one than fits is cut.
        samples: kinds of samples by stage, ``describe`` and ``score``, named beside the stage; None for none.
    """
    write_png(path, curves_figure(lines, title=title, samples=samples))


def _starts(lines: Sequence[Mapping[str, Any]]) -> tuple[dict[str, int], int]:
    """The step on the common axis at which each stage begins, and the last step of all."""
    starts: dict[str, int] = {}
    end = 0
    for line in lines:
        starts.setdefault(line["stage"], end)
        end = max(end, starts[line["stage"]] + line["step"])
    return starts, end


def _points(
    lines: Sequence[Mapping[str, Any]], starts: Mapping[str, int], key: str, stage: str
) -> tuple[list[int], list[float]]:
    some = [line for line in lines if line["stage"] == stage and key in line]
    return [starts[stage] + line["step"] for line in some], [line[key] for line in some]


def _draw_loss(axes: Axes, lines: Sequence[Mapping[str, Any]], starts: Mapping[str, int]) -> None:
    # The total is a broad line beneath its terms: where it equals one of them, as in a stage with one term, both show.
    drawn = {TOTAL: ("total loss", LIGHT["ink"], 3.6), **{key: (*term, 1.4) for key, term in TERMS.items()}}
    for key, (name, colour, width) in drawn.items():
        label: str | None = name
        for stage in starts:
            steps, values = _points(lines, starts, key, stage)
            if steps:
                marker = "." if len(steps) == 1 else None  # one point makes no line
                axes.plot(steps, values, color=colour, label=label, linewidth=width, marker=marker)
                label = None  # one entry of the legend for all stages
    axes.set_ylabel("loss")
    if any(line.get(TOTAL, 0) > 0 for line in lines):
        axes.set_yscale("log")


def _draw_metric(
    axes: Axes, lines: Sequence[Mapping[str, Any]], starts: Mapping[str, int], key: str, colour: str
) -> None:
    label: str | None = "level words'\nprobability" if key == LEVEL_MASS else METRIC_NAMES[key]
    for stage in starts:
        steps, values = _points(lines, starts, key, stage)
        if steps:
            axes.plot(steps, values, color=colour, label=label, linewidth=1.4, marker="o", markersize=4)
            label = None


def _mark_best(axes: Axes, best: BestEvaluation, step: int, end: int) -> None:
    """A ring around the best evaluation, and a dashed line at its height, below which everything is worse."""
    axes.margins(y=0.16)
    axes.axhline(best.value, color=LIGHT["warm"], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.plot(
        [step],
        [best.value],
        linestyle="none",
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor=LIGHT["warm"],
        markeredgewidth=2,
        clip_on=False,  # the ring of the last evaluation reaches beyond the axis
        label=f"{BEST_LABEL}: {best.value:.3f}",
    )
    side = "right" if step > end / 2 else "left"
    axes.annotate(
        f"best: {best.value:.3f}",
        (step, best.value),
        xytext=(-9 if side == "right" else 9, 7),
        textcoords="offset points",
        ha=side,
        color=LIGHT["warm"],
    )
