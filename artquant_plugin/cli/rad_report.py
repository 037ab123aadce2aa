"""`artquant rad report`: a run's quality as one HTML page."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add `artquant rad report`."""
    parser = commands.add_parser(
        "report",
        help="a run's quality as one HTML page: acceptance, texts, near-duplicates, judge, cost, examples",
        description="Write one HTML file that needs nothing else: acceptance by round, failures, words, distinct-n, "
        "near-duplicates, the judge's estimates against human scores, the scores of accepted paintings against all, "
        "cost, and random examples, accepted and failed, with their pictures.",
        epilog="example: artquant rad report runs/rad-apdd --out report.html",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="run directory; the run may still be working")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.html", help="page to write; an existing one is replaced"
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the run's dataset, where it was moved")
    parser.add_argument(
        "--examples",
        type=int,
        default=20,
        metavar="N",
        help="accepted paintings to show, and failed ones (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the examples, the hashes of near-duplicates and the bootstrap (default: %(default)s)",
    )
    parser.add_argument("--resamples", type=int, default=2000, help="bootstrap resamples (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Collect the figures of the run, write the page, and print the figures at its head."""
    from artquant_plugin.common.errors import ArtQuantError

    if args.out.suffix.lower() not in (".html", ".htm"):
        raise ArtQuantError(f"--out '{args.out}' does not end with .html; the report is an HTML file")
    if min(args.examples, args.seed, args.resamples) < 0:
        raise ArtQuantError(
            "--examples, --seed and --resamples must not be negative; leave them out for 20, 0 and 2000"
        )
    from artquant_plugin.train.rad.report.collect import collect
    from artquant_plugin.train.rad.report.page import write_report
    from artquant_plugin.train.rad.table import RadRun

    with RadRun.open(args.folder, args.data) as opened:
        found = collect(opened, examples=args.examples, seed=args.seed, resamples=args.resamples)
        write_report(args.out, opened, found, seed=args.seed)
    print(", ".join(f"{count:,} {state}" for state, count in sorted(found.states.items())))
    if found.duplicates.n:
        print(f"near-duplicates: {found.duplicates.repeated:,} of {found.duplicates.n:,}")
    for name, judged in found.judged.items():
        print(f"judge, {name}: n {judged.n:,}, SROCC {judged.srocc.value:.3f}, PLCC {judged.plcc.value:.3f}")
    if found.distribution:
        print(f"scores of accepted against all: KS distance {found.distribution.distance:.3f}")
    print(args.out)
