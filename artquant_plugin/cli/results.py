"""`artquant results` shows the runs in lmms-eval's output folders as a table and a plot."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artquant_plugin.cli.idle_options import Noted, add_idle_options
from artquant_plugin.cli.options import NO_INTERVALS
from artquant_plugin.cli.table_options import add_table_options, beside_tables, in_chosen_format

if TYPE_CHECKING:
    from artquant_plugin.report.results_table import ResultRow
    from artquant_plugin.report.task_runs import TaskRun


def add_parser(subparsers: Any) -> None:
    """Add `artquant results`."""
    parser = subparsers.add_parser(
        "results",
        help="table and scatter plots of lmms-eval's output folders",
        description="Read the samples that lmms-eval logged; print counts, SROCC and PLCC with intervals per run.",
        epilog="example: artquant results results/ --task baid --plot results/scatter.png",
    )
    parser.add_argument("folders", type=Path, nargs="+", help="folders that lmms-eval's --output_path named")
    parser.add_argument(
        "--task",
        action="append",
        metavar="NAME",
        help="read the runs of this task or dataset alone; may be repeated (default: all)",
    )
    parser.add_argument(
        "--table",
        choices=("runs", "datasets"),
        default="runs",
        help="a row for each run, or a row for each model with its SROCC and PLCC on each dataset (default: runs)",
    )
    add_table_options(parser)
    parser.add_argument(
        "--resamples",
        type=int,
        default=2000,
        help="number of bootstrap resamples; 0 leaves the intervals out (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", action=Noted, type=int, default=0, help="seed of the bootstrap (default: %(default)s)"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="PNG",
        help="draw predicted against human scores; of several runs each into a file PNG-TASK-MODEL beside PNG",
    )
    parser.set_defaults(run=run)
    add_idle_options(parser, NO_INTERVALS)


def run(args: argparse.Namespace) -> None:
    """Read the runs, evaluate them, and print or plot the result."""
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.common.text import visible
    from artquant_plugin.report.datasets_table import ModelResult, datasets_table
    from artquant_plugin.report.model_names import with_variant
    from artquant_plugin.report.results_table import results_table, row_of
    from artquant_plugin.report.run_details import dataset_of
    from artquant_plugin.report.task_runs import read_runs, titled

    if args.resamples < 0 or args.seed < 0:
        raise ArtQuantError(
            f"--resamples {args.resamples} and --seed {args.seed} must not be negative; leave them out for 2000 and 0"
        )
    runs = _of_tasks(read_runs(args.folders), args.task or ())
    rows = [row_of(found, resamples=args.resamples, seed=args.seed) for found in runs]
    if args.table == "datasets":
        places = [dataset_of(found) for found in runs]
        table = datasets_table(
            [
                ModelResult(titled(dataset, found.attribute), with_variant(row.model, variant), row.scores)
                for found, (dataset, variant), row in zip(runs, places, rows, strict=True)
            ]
        )
    else:
        table = results_table(rows, _notes(runs, rows))
    printed = in_chosen_format([table], args, several=False)
    plots = _plot(args.plot, runs, rows) if args.plot else []
    print(printed)
    for plot in plots:
        print(visible(f"plot: {plot}"), file=beside_tables(args))


def _of_tasks(runs: "list[TaskRun]", tasks: Sequence[str]) -> "list[TaskRun]":
    """The runs of the named tasks and datasets; all runs where none is named, an error where one has no run."""
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.common.text import did_you_mean
    from artquant_plugin.report.run_details import dataset_of

    names = [{found.task, dataset_of(found)[0]} for found in runs]
    known = sorted(set().union(*names))
    for task in tasks:
        if task not in known:
            hints = filter(None, (did_you_mean(task, known), f"There are runs of {', '.join(known)}"))
            raise ArtQuantError(f"there is no run of {task!r}; {' '.join(hints)}")
    return [found for found, own in zip(runs, names, strict=True) if not tasks or own & set(tasks)]


def _notes(runs: "Sequence[TaskRun]", rows: "Sequence[ResultRow]") -> list[str]:
    """What a reader of the table has to know about single runs."""
    from artquant_plugin.report.boards import imported_dataset
    from artquant_plugin.report.human_ceiling import ceiling_note
    from artquant_plugin.report.run_details import dataset_of
    from artquant_plugin.report.training_data import seen_in_training

    notes = []
    for found, row in zip(runs, rows, strict=True):
        name = f"{found.model} on {found.title}"
        if found.gaps:
            notes.append(f"{name}: paintings without a human score of it, which are left out: {found.gaps}")
        if found.from_range:
            notes.append(f"{name}: {found.from_range} scores are the mid-point of a range")
        notes += [f"{name}: {caution}" for caution in (row.scores.cautions if row.scores else ())]
        if seen := seen_in_training(found.names, dataset_of(found)[0]):
            notes.append(f"{name}: {seen}")
        if found.older:
            notes.append(f"{name}: {found.older} older runs passed over, {found.date} shown")
    for name in dict.fromkeys(dataset_of(found)[0] for found in runs if not found.attribute):
        dataset = imported_dataset(name)
        note = ceiling_note(name, None if dataset is None else dataset.info)
        notes.append(f"{name}: {note[0].lower()}{note[1:-1]}")
    return notes


def _plot(path: Path, runs: "Sequence[TaskRun]", rows: "Sequence[ResultRow]") -> list[Path]:
    """Draw each run that has scores: one run into the named file, several into files beside it.

    Returns:
        The files, in the order of the runs.
    """
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.report.file_names import file_names
    from artquant_plugin.report.scatter import draw_scatter

    drawn = [(found, row.scores) for found, row in zip(runs, rows, strict=True) if row.scores is not None]
    if not drawn:
        raise ArtQuantError("--plot has nothing to draw: no painting of these runs has a score; leave --plot out")
    files = [path]
    if len(drawn) > 1:
        names = file_names([f"{found.title}-{found.model}" for found, _ in drawn])
        files = [path.with_name(f"{path.stem}-{name}{path.suffix}") for name in names]
    for file, (found, scores) in zip(files, drawn, strict=True):
        draw_scatter(file, found.predictions, found.truths, title=f"{found.model} on {found.title}", agreement=scores)
    return files
