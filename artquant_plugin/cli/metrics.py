"""`artquant metrics` computes SROCC, PLCC, MAE and RMSE of any tool's predictions."""

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artquant_plugin.cli.idle_options import Noted, add_idle_options
from artquant_plugin.cli.options import NO_INTERVALS, NO_TRUTH_FILE, add_column_options
from artquant_plugin.common.json_text import printable_json
from artquant_plugin.common.text import listed, visible

if TYPE_CHECKING:
    from artquant_plugin.metrics.agreement import Agreement
    from artquant_plugin.metrics.predictions import JoinedPredictions

SHOWN = 5  # images of each problem that are named on the terminal; --json names all of them


def add_parser(subparsers: Any) -> None:
    """Add `artquant metrics`."""
    parser = subparsers.add_parser(
        "metrics",
        help="SROCC and PLCC of predictions in a CSV, JSON or Parquet file",
        description="Join predictions with human scores by image name; print counts, then metrics with intervals.",
        epilog="example: artquant metrics predictions.csv --truth baid:test --plot scatter.png",
    )
    parser.add_argument(
        "predictions", type=Path, help="CSV, JSON or Parquet file, one row per image, such as `artquant score` writes"
    )
    parser.add_argument(
        "--truth",
        required=True,
        metavar="FILE|DATASET[:SPLIT]",
        help="human scores: a CSV file, or a dataset and its split (default of the split: test)",
    )
    add_column_options(parser)
    parser.add_argument(
        "--resamples",
        type=int,
        default=2000,
        help="number of bootstrap resamples; 0 leaves the intervals out (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", action=Noted, type=int, default=0, help="seed of the bootstrap (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="also draw predicted against human scores")
    parser.set_defaults(run=run)
    add_idle_options(parser, NO_TRUTH_FILE, NO_INTERVALS)


def run(args: argparse.Namespace) -> None:
    """Join predictions with human scores, evaluate them, and print or plot the result."""
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.common.paths import expanded
    from artquant_plugin.metrics.agreement import evaluate
    from artquant_plugin.metrics.predictions import TableForm, join_by_any_name, read_predictions, read_truth

    if args.resamples < 0 or args.seed < 0:
        raise ArtQuantError(
            f"--resamples {args.resamples} and --seed {args.seed} must not be negative; leave them out for 2000 and 0"
        )
    truth = read_truth(
        args.truth, TableForm(args.truth_image_column, args.score_column, args.delimiter, args.encoding)
    )
    form = TableForm(args.image_column, args.prediction_column, args.delimiter, args.encoding)
    joined = join_by_any_name(read_predictions(expanded(args.predictions), form), truth)
    agreement = evaluate(joined.images, joined.predictions, joined.truths, resamples=args.resamples, seed=args.seed)
    if args.plot:
        from artquant_plugin.report.scatter import draw_scatter

        draw_scatter(args.plot, joined.predictions, joined.truths, title=args.predictions.stem, agreement=agreement)
    print(_as_json(joined, agreement) if args.json else "\n".join(map(visible, _as_text(joined, agreement))))


def _problems(joined: "JoinedPredictions") -> dict[str, list[str]]:
    """Why images have no part in the metrics, as the text output names it, with the names of the images."""
    return {
        "without prediction": joined.missing,
        "not scored": joined.failed,
        "unparsable prediction": joined.unparsable,
        "several predictions, not used": joined.duplicates,
        "no human score": joined.unknown,
    }


def _as_text(joined: "JoinedPredictions", agreement: "Agreement") -> list[str]:
    lines = [f"n      {agreement.n:,} of {joined.n_truth:,}"]
    for problem, names in _problems(joined).items():
        if names:
            lines.append(f"       {len(names):,} {problem}: {listed(names, SHOWN)}")
    if joined.left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in joined.left_out.items())
        lines.append(f"       {reasons}: left out when the dataset was imported")
    for name in ("srocc", "plcc", "mae", "rmse"):
        metric = getattr(agreement, name)
        interval = "" if math.isnan(metric.low) else f"  [{_figure(metric.low)}, {_figure(metric.high)}]"
        interval = interval or ("  (too few)" if agreement.too_few else "")
        lines.append(f"{name.upper():<6} {_figure(metric.value)}{interval}")
    return [*lines, *(f"note   {caution}" for caution in agreement.cautions)]


def _figure(value: float) -> str:
    """A metric with four decimals; of a million and more, in the form 2.3462e+306."""
    return f"{value:.4f}" if abs(value) < 1e6 or not math.isfinite(value) else f"{value:.4e}"


def _as_json(joined: "JoinedPredictions", agreement: "Agreement") -> str:
    content = {
        "n": agreement.n,
        "n_truth": joined.n_truth,
        "missing": joined.missing,
        "failed": joined.failed,
        "unparsable": joined.unparsable,
        "duplicates": joined.duplicates,
        "unknown": joined.unknown,
        "left_out": joined.left_out,
    }
    for name in ("srocc", "plcc", "mae", "rmse"):
        metric = asdict(getattr(agreement, name))
        content[name] = {key: value if math.isfinite(value) else None for key, value in metric.items()}
    content["cautions"] = list(agreement.cautions)
    return printable_json(content, indent=2)
