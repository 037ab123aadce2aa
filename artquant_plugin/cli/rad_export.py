"""`artquant rad export`: a run as a dataset to train on, to load with `datasets`, and to publish."""

import argparse
from pathlib import Path
from typing import Any

SHOWN = 3  # paintings that are named one by one


def add_parser(commands: Any) -> None:
    """Add `artquant rad export`."""
    parser = commands.add_parser(
        "export",
        help="write a run as a dataset: to train on, to load with datasets.load_dataset, to publish",
        description="Write a run as a folder of Parquet files that `artquant train` and datasets.load_dataset both "
        "take. Every painting has a row; one without an accepted description has its score and the reason.",
        epilog="example: artquant rad export runs/rad-apdd --out data/rad-apdd",
    )
    parser.add_argument(
        "folder",
        type=Path,
        metavar="RUN",
        help="run directory of `artquant rad generate`; with --form published also a dataset folder",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the run's dataset, where it was moved")
    parser.add_argument("--with-images", action="store_true", help="embed the pictures; needs --confirm-license")
    parser.add_argument(
        "--confirm-license", metavar="NAME", help="the pictures' license, exactly as the dataset names it"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another export in --out")
    parser.add_argument(
        "--form",
        choices=("dataset", "published"),
        default="dataset",
        help="dataset: Parquet files; published: the label files that the paper's training code reads, which can also "
        "be written from a dataset with descriptions (default: %(default)s)",
    )
    parser.add_argument(
        "--level-values",
        type=float,
        nargs=5,
        metavar="VALUE",
        help="level values for --form published, best first (default: the dataset's, or 10 7.5 5 3.5 1)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Check the options, write the export or the label files, and print what was written."""
    from artquant_plugin.common.errors import ArtQuantError

    if args.form == "published":
        if args.with_images or args.confirm_license:
            raise ArtQuantError("--form published holds no pictures; leave out --with-images and --confirm-license")
        if args.overwrite:
            raise ArtQuantError("--form published replaces nothing; remove the folder, or pass another --out")
        _write_label_files(args)
        return
    if args.level_values:
        raise ArtQuantError("--level-values belongs to --form published; leave it out")
    if args.confirm_license and not args.with_images:
        raise ArtQuantError("--confirm-license belongs to --with-images; pass both or none")
    _export(args)


def _export(args: argparse.Namespace) -> None:
    from artquant_plugin.train.rad.export import export_run
    from artquant_plugin.train.rad.table import RadRun

    with RadRun.open(args.folder, args.data) as run:
        done = export_run(
            run,
            args.out,
            with_images=args.with_images,
            license=args.confirm_license,
            overwrite=args.overwrite,
        )
    if done.unchanged:
        print("nothing to do: an earlier export holds the same")
    print(f"{'split':<12}{'paintings':>10}{'described':>10}")
    for split, (paintings, described) in done.splits.items():
        print(f"{split:<12}{paintings:>10,}{described:>10,}")
    print(", ".join(f"{count:,} {state}" for state, count in sorted(done.states.items())))
    waiting = done.states.get("pending", 0) + done.states.get("refining", 0)
    if waiting:
        print(f"{waiting:,} paintings wait for a description; go on with `artquant rad generate`, and export again")
    for item in done.left_out[:SHOWN]:
        print(f"left out of {item.split}: {item.id!r}, whose picture stands in {item.kept}, too")
    if len(done.left_out) > SHOWN:
        print(f"left out: {len(done.left_out):,} paintings in all, listed in rad.json")
    if done.without_picture:
        print(f"{done.without_picture:,} rows without their picture: the file is not there")
    print(done.folder)


def _write_label_files(args: argparse.Namespace) -> None:
    from artquant_plugin.data.dataset import INFO_FILE, Dataset
    from artquant_plugin.train.rad.label_files import write_label_files
    from artquant_plugin.train.rad.table import RadRun

    if (args.folder / INFO_FILE).is_file():
        counts = write_label_files(Dataset.load(args.folder), args.out, args.level_values)
    else:
        with RadRun.open(args.folder, args.data) as run:
            counts = write_label_files(run, args.out, args.level_values)
    for name, count in sorted(counts.items()):
        print(f"{args.out / name}: {count:,} records")
