"""`artquant study`: plan, carry out what is missing, collect, and write tables, figures and the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from accelerate import PartialState

from artquant_plugin.bulk.shards import Share
from artquant_plugin.common.drawing import write_png
from artquant_plugin.common.files import atomic_write
from artquant_plugin.report.site.studies_page import StudyView, write_studies_page
from artquant_plugin.report.table_formats import ENDINGS, FORMATS, as_markdown
from artquant_plugin.train.studies.config import StudiesConfig
from artquant_plugin.train.studies.outcome import Outcome, Study
from artquant_plugin.train.studies.plan import Grid, Trial, joined
from artquant_plugin.train.studies.trials import (
    Say,
    carry_out,
    carry_out_on_ray,
    check,
    estimated_bytes,
    is_finished,
    needed_bytes,
)

MARKDOWN, PAGE = "studies.md", "index.html"


def run_studies(
    studies: Sequence[Study],
    config: StudiesConfig,
    *,
    say: Say,
    share: Share | None = None,
    engine: Literal["local", "ray"] = "local",
    dry_run: bool = False,
) -> list[Path]:
    """Carry out studies and write what they found.

    Args:
        studies: The studies; trials that several of them have are carried out once.
        config: The configuration of the studies.
        say: Gets lines about the progress.
        share: The trials of this process; None for all of them.
        engine: ``ray`` gives each trial to a process of a Ray cluster.
        dry_run: Check everything and tell the plan; train and write nothing.

    Returns:
        The files that were written; none where trials of other shares are missing yet, or with `dry_run`.

    Raises:
        ArtQuantError: The configuration, the data or the disk do not allow one of the trials, or a trial failed.
    """
    grid = Grid(config)
    trials = joined(trial for study in studies for trial in study.plan(grid))
    if dry_run:
        check(trials, config.run_gigabytes, write=False)
        for line in plan_lines(trials, config.run_gigabytes):
            say(line)
        return []
    state = PartialState()
    with state.main_process_first():
        check(trials, config.run_gigabytes, write=True)
    quiet = say if state.is_main_process else _nobody
    if engine == "ray":
        carry_out_on_ray(trials, quiet)
    else:
        carry_out(trials, share or Share(), quiet)
    if not state.is_main_process:
        return []
    missing = [trial for trial in trials if not is_finished(trial)]
    if missing:
        say(
            f"{len(trials) - len(missing)} of {len(trials)} runs are finished; when the other shards are, the same "
            "command without --shard writes the results"
        )
        return []
    return write_outcomes([(study, study.collect(grid)) for study in studies], config.output.expanduser())


def _nobody(line: str) -> None:
    """Say nothing: the main process speaks for all."""


def plan_lines(trials: Sequence[Trial], run_gigabytes: float | None) -> list[str]:
    """The plan for a terminal: each run, whether it is finished, and the room on the disk.

    Args:
        trials: All trials of the studies.
        run_gigabytes: Room that a finished run takes, in 10**9 bytes; None to estimate it.
    """
    lines = []
    for number, trial in enumerate(trials, start=1):
        stages = [
            f"{stage.name} ({' and '.join(stage.samples)}) {stage.epochs:g}"
            for training in trial.trainings
            for stage in training.stages
        ]
        tests = ", ".join(test.name for test in trial.tests)
        state = "finished" if is_finished(trial) else "missing"
        lines.append(f"{number:3d}  {state}  {trial.name}: epochs of {', '.join(stages)}; scores {tests}")
    missing = sum(not is_finished(trial) for trial in trials)
    one, needed = estimated_bytes(trials, run_gigabytes), needed_bytes(trials, run_gigabytes)
    if one is None or needed is None:
        room = "the room on the disk is not known before the first run; set run_gigabytes to have it checked"
    else:
        room = f"about {one / 1e6:,.1f} MB each on the disk, {needed / 1e6:,.1f} MB in all while the last one trains"
    return [*lines, f"{len(trials)} runs, {missing} of them missing; {room}"]


def write_outcomes(found: Sequence[tuple[Study, Outcome]], folder: Path) -> list[Path]:
    """Write tables as Markdown, CSV and LaTeX, figures as PNG, and one page of all of them.

    Args:
        found: The studies and what they found.
        folder: Folder that the files are written to.

    Returns:
        The written files, the page last.
    """
    written = []
    for study, outcome in found:
        for form, ending in ENDINGS.items():
            for table in outcome.tables:
                path = folder / f"{table.name}.{ending}"
                with atomic_write(path) as file:
                    file.write(FORMATS[form](table) + "\n")
                written.append(path)
        figure = folder / f"{study.name}.png"
        write_png(figure, outcome.figure)
        written.append(figure)
    with atomic_write(folder / MARKDOWN) as file:
        file.write("\n".join(markdown_page(found)))
    views = [
        StudyView(study.name, study.title, study.claim, outcome.sentence, outcome.tables, folder / f"{study.name}.png")
        for study, outcome in found
    ]
    write_studies_page(folder / PAGE, views)
    return [*written, folder / MARKDOWN, folder / PAGE]


def markdown_page(found: Sequence[tuple[Study, Outcome]]) -> list[str]:
    """The outcomes as lines of Markdown, with the figures beside the file.

    Args:
        found: The studies and what they found.
    """
    lines = []
    for study, outcome in found:
        lines += [f"## {study.title}", "", f"The paper: {study.claim}", "", f"**{outcome.sentence}**", ""]
        lines += [f"![{study.title}]({study.name}.png)", ""]
        for table in outcome.tables:
            lines += [as_markdown(table), ""]
    return lines
