"""`artquant data`: make, import and show datasets."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artquant_plugin.cli.idle_options import IdleOptions, Noted, add_idle_options
from artquant_plugin.cli.options import positive, whole_number
from artquant_plugin.common.text import visible

MADE_SPLIT = IdleOptions(
    ("--seed", "--test-fraction"),
    lambda args: args.split_column is not None,
    "with --split-column, which names the split of every row",
    "leave --split-column out to have a split made",
)


def add_parser(subparsers: Any) -> None:
    """Add `artquant data` and its own sub-commands."""
    parser = subparsers.add_parser(
        "data", help="make, import and show datasets", description="Make, import and show datasets."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_import(commands)
    _add_show(commands)


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="write a set of procedural paintings with scores and descriptions",
        description="Write procedural paintings with categories, scores and three-level descriptions.",
        epilog="example: artquant data demo --seed 1 --out data/demo",
    )
    parser.add_argument("--out", type=Path, help="folder (default: artquant_demo under $ARTQUANT_DATA)")
    parser.add_argument("--seed", type=whole_number, default=0, help="seed of all paintings (default: %(default)s)")
    for split, size in (("train", 4000), ("validation", 200), ("test", 400)):
        parser.add_argument(
            f"--{split}", type=whole_number, default=size, help="number of paintings (default: %(default)s)"
        )
    parser.add_argument("--workers", type=positive, help="processes (default: one per core)")
    parser.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> None:
    from artquant_plugin.data.dataset import DEMO, data_home
    from artquant_plugin.data.demo.painting import write_demo

    dataset = write_demo(
        args.out or data_home() / DEMO,
        seed=args.seed,
        train=args.train,
        validation=args.validation,
        test=args.test,
        workers=args.workers,
    )
    print(dataset.folder)


def _add_import(commands: Any) -> None:
    parser = commands.add_parser(
        "import",
        help="import a dataset from its authors' annotation files and a folder of images",
        description="Import a dataset: read the annotations, check every image, write the dataset form.",
    )
    parser.add_argument(
        "--list", action=_ListDatasets, help="show the datasets that have an importer: size, scale, license, origin"
    )
    kinds = parser.add_subparsers(title="datasets", metavar="DATASET", required=True)
    described = {
        "apdd": ("APDDv2: folder with train.csv, valid.csv, test.csv and APDDv2-10023.csv", "APDDv2/csvfiles"),
        "baid": ("BAID: folder with train_set.csv, val_set.csv and test_set.csv", "BAID/dataset"),
        "vaps": ("VAPS: vaps_dataset.csv", "vaps_dataset.csv"),
        "lapis": ("LAPIS: folder with annotation/ and imageset/", "LAPIS"),
        "sidhu": ("Sidhu and others 2018: folder with the tables of beauty and liking, or one of them", "abstract"),
        "ava": ("AVA: AVA.txt", "AVA.txt"),
        "csv": ("any table of image names and scores", "scores.csv"),
        "rad": ("RAD's label files as its authors publish them, scores and descriptions", "score.json texts.json"),
    }
    extras = {
        "csv": " --name mine --image-column file --score-column mos --score-range 0 100",
        "rad": " --name rad-apdd --test test.json",
    }
    for kind, (text, example) in described.items():
        command = kinds.add_parser(
            kind,
            help=text,
            description=f"Import {text}.",
            epilog=f"example: artquant data import {kind} --annotations {example} --images images"
            + extras.get(kind, ""),
        )
        if kind == "rad":
            command.add_argument(
                "--annotations",
                type=Path,
                nargs="+",
                required=True,
                metavar="FILE",
                help="label files of the training split",
            )
            _add_rad_options(command)
        else:
            command.add_argument(
                "--annotations",
                type=Path,
                required=True,
                metavar="FILE_OR_FOLDER",
                help="the authors' annotation files, or the table of a dataset of your own",
            )
        command.add_argument(
            "--images", type=Path, required=True, metavar="FOLDER", help="folder of the images, which stay there"
        )
        command.add_argument("--out", type=Path, help="folder (default: the dataset's name under $ARTQUANT_DATA)")
        command.add_argument(
            "--allow-missing",
            action="store_true",
            help="leave out paintings whose image is missing or broken; their number is kept and shown",
        )
        command.add_argument(
            "--allow-copies",
            action="store_true",
            help="import although a picture stands under several names in two splits, or with two scores: it stays "
            "only in the strictest split, test before validation before train; the numbers are kept and shown",
        )
        command.add_argument(
            "--match",
            nargs="+",
            default=[],
            metavar="stem|FILE",
            help="join names with files that differ in more than spelling: 'stem' where only case, ending and leading "
            "zeros differ, a table with the columns name and file for the others; import-report.csv lists them",
        )
        command.add_argument("--workers", type=positive, help="processes that open images (default: one per core)")
        if kind != "rad":
            command.add_argument(
                "--descriptions",
                type=Path,
                nargs="+",
                metavar="FILE",
                help="label files of RAD; paintings of the same names get their descriptions",
            )
        if kind in ("apdd", "vaps", "sidhu", "ava", "csv"):
            command.add_argument(
                "--seed",
                action=Noted,
                type=whole_number,
                default=0,
                help="seed of a split that has to be made (default: 0)",
            )
        command.set_defaults(run=_import, kind=kind)
        if kind == "sidhu":
            command.add_argument(
                "--rating",
                choices=("beauty", "liking"),
                default="beauty",
                help="which of the two ratings is the score (default: %(default)s)",
            )
        if kind == "vaps":
            command.add_argument("--fold", type=whole_number, help="take this fold of 5 (0 to 4) as the test split")
        if kind == "csv":
            _add_table_options(command)
            add_idle_options(command, MADE_SPLIT)


class _ListDatasets(argparse.Action):
    """Prints the table of datasets and ends the command, as `--help` does."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from artquant_plugin.data.importers.known_datasets import KNOWN_DATASETS

        rows = [("dataset", "size", "scale", "license", "annotations from")]
        rows += [(known.name, known.size, known.scale, known.license, known.origin) for known in KNOWN_DATASETS]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        print("any other: artquant data import csv")
        parser.exit()


def _add_table_options(command: Any) -> None:
    command.add_argument("--name", required=True, help="name of the dataset, and of its task in lmms-eval")
    command.add_argument("--image-column", default="image", help="column of the images' names (default: %(default)s)")
    scores = command.add_mutually_exclusive_group()
    scores.add_argument("--score-column", default="score", help="column of the human scores (default: %(default)s)")
    scores.add_argument(
        "--score-columns",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="a column for each rater, empty where that rater gave no score: the score is their mean",
    )
    scores.add_argument(
        "--count-columns",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="a column for each possible rating, the lowest first, with the number of people who gave it",
    )
    command.add_argument(
        "--rater-column",
        help="column that says who gave the score, of a table with one row per rater and painting: the score is the "
        "mean",
    )
    command.add_argument(
        "--score-range",
        type=float,
        nargs=2,
        required=True,
        metavar=("LOW", "HIGH"),
        help="lowest and highest possible score",
    )
    command.add_argument("--split-column", help="column with train, validation or test; without it a split is made")
    command.add_argument("--category-column", help="column with the painting's category")
    command.add_argument("--comment-column", help="column with a rater's words")
    command.add_argument("--encoding", default="utf-8-sig", help="encoding of the table (default: UTF-8)")
    command.add_argument("--delimiter", help="character between fields (default: the one that the first line shows)")
    command.add_argument(
        "--no-header",
        action="store_true",
        help="the table has no line with the names of its columns: --image-column 1 is the first one, and so on",
    )
    command.add_argument(
        "--test-fraction",
        action=Noted,
        type=float,
        default=0.2,
        help="share of the rows in the test split, where a split is made (default: %(default)s)",
    )
    command.add_argument("--source", help="where the table is from (default: the file's name)")
    command.add_argument("--license", default="unknown", help="terms of the data (default: %(default)s)")


def _add_rad_options(command: Any) -> None:
    for split in ("validation", "test"):
        command.add_argument(
            f"--{split}", type=Path, nargs="+", default=[], metavar="FILE", help=f"label files of the {split} split"
        )
    command.add_argument("--name", required=True, help="name of the dataset")
    command.add_argument(
        "--score-range",
        type=float,
        nargs=2,
        default=(0.0, 10.0),
        metavar=("LOW", "HIGH"),
        help="lowest and highest possible score (default: 0 10)",
    )
    command.add_argument(
        "--source",
        default="RAD, https://huggingface.co/datasets/Liuuuu123/RAD",
        help="where the files are from (default: %(default)s)",
    )
    command.add_argument("--license", default="unknown", help="terms of the data (default: %(default)s)")


def _import(args: argparse.Namespace) -> None:
    from artquant_plugin.data.dataset import data_home
    from artquant_plugin.data.importers.importing import import_dataset
    from artquant_plugin.data.importers.picture_names import read_match

    annotations = _annotations(args)
    if args.kind != "rad" and args.descriptions:
        from artquant_plugin.data.importers.rad import add_descriptions

        annotations = add_descriptions(annotations, args.descriptions)
    out = args.out or data_home() / annotations.name
    imported = import_dataset(
        annotations,
        args.images,
        out,
        allow_missing=args.allow_missing,
        allow_copies=args.allow_copies,
        match=read_match(args.match),
        workers=args.workers,
    )
    for note in imported.notes:
        print(f"note: {visible(note)}")
    _print_dataset(imported.dataset)


def _annotations(args: argparse.Namespace) -> Any:
    if args.kind == "apdd":
        from artquant_plugin.data.importers.apdd import read_apdd

        return read_apdd(args.annotations, seed=args.seed)
    if args.kind == "baid":
        from artquant_plugin.data.importers.baid import read_baid

        return read_baid(args.annotations)
    if args.kind == "vaps":
        from artquant_plugin.data.importers.vaps import read_vaps

        return read_vaps(args.annotations, seed=args.seed, fold=args.fold)
    if args.kind == "lapis":
        from artquant_plugin.data.importers.lapis import read_lapis

        return read_lapis(args.annotations)
    if args.kind == "sidhu":
        from artquant_plugin.data.importers.sidhu import read_sidhu

        return read_sidhu(args.annotations, rating=args.rating, seed=args.seed)
    if args.kind == "ava":
        from artquant_plugin.data.importers.ava import read_ava

        return read_ava(args.annotations, seed=args.seed)
    if args.kind == "rad":
        from artquant_plugin.data.importers.rad import read_rad

        given = {"train": args.annotations, "validation": args.validation, "test": args.test}
        files = {split: paths for split, paths in given.items() if paths}
        return read_rad(
            files, name=args.name, score_range=tuple(args.score_range), source=args.source, license=args.license
        )
    from artquant_plugin.data.importers.any_table import AnnotationColumns, read_csv

    return read_csv(
        args.annotations,
        AnnotationColumns(
            args.image_column,
            args.score_column,
            args.split_column,
            args.category_column,
            args.comment_column,
            args.rater_column,
            tuple(args.score_columns),
            tuple(args.count_columns),
        ),
        name=args.name,
        score_range=tuple(args.score_range),
        encoding=args.encoding,
        delimiter=args.delimiter,
        header=not args.no_header,
        seed=args.seed,
        test_fraction=args.test_fraction,
        source=args.source,
        license=args.license,
    )


def _add_show(commands: Any) -> None:
    parser = commands.add_parser(
        "show", help="show a dataset's splits and statistics", epilog="example: artquant data show baid"
    )
    parser.add_argument("dataset", help="name under $ARTQUANT_DATA, or a folder")
    parser.set_defaults(run=_show)


def _show(args: argparse.Namespace) -> None:
    from artquant_plugin.data.copies import copy_notes
    from artquant_plugin.data.dataset import Dataset
    from artquant_plugin.data.find import find_dataset

    dataset = Dataset.load(find_dataset(args.dataset))
    for split in dataset.info.splits:
        dataset.warn_of_changes(split)
    for note in copy_notes(dataset.info):
        print(f"note: {note}")
    _print_dataset(dataset)


def _print_dataset(dataset: Any) -> None:
    info = dataset.info
    low, high = info.score_range
    print(f"{info.name}: {dataset.folder}")
    print(f"scores in [{low:g}, {high:g}]; {info.license}; {info.source}")
    if info.split_method:
        print(f"split: {info.split_method}, seed {info.split_seed}")
    print(f"{'split':<12}{'n':>8}{'mean':>8}{'median':>8}{'sd':>8}  left out")
    for name, split in info.splits.items():
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in split.missing.items()) or "none"
        deviation = None if split.variance is None else split.variance**0.5
        values = (split.mean, split.median, deviation)
        cells = "".join(f"{'-' if value is None else format(value, '.3f'):>8}" for value in values)
        print(f"{name:<12}{split.n:>8,}{cells}  {left_out}")
    if info.rater_agreement is not None:
        _print_rater_agreement(info.rater_agreement)


def _print_rater_agreement(agreements: Mapping[str, Any]) -> None:
    print(
        f"{'raters':<12}{'n':>8}{'ratings':>10}{'each':>7}  {'reliability':>13}{'ceiling':>15}{'one rater':>15}"
        "  (PLCC SROCC)"
    )
    for name, found in agreements.items():
        pairs = (
            (found.plcc_reliability, found.srocc_reliability),
            (found.plcc_ceiling, found.srocc_ceiling),
            (found.one_rater_plcc, found.one_rater_srocc),
        )
        cells = "".join(f"{' '.join('-' if x is None else format(x, '.3f') for x in pair):>15}" for pair in pairs)
        people = "-" if found.raters is None else f"{found.raters:,}"
        print(f"{name:<12}{people:>8}{found.ratings:>10,}{found.ratings / found.paintings:>7.1f}{cells}")
