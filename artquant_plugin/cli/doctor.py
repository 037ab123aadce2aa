"""`artquant doctor`: report whether this machine has what the package needs."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the parser of `artquant doctor` to those of the other commands."""
    parser = subparsers.add_parser(
        "doctor",
        help="versions, GPU, disk and data of this machine, and how to mend what is wrong",
        description=(
            "Look at Python, packages, GPUs, kernels, disks, the Hub's login, data, fonts and browser. The exit code "
            "is 1 where something would fail, else 0, with notes."
        ),
        epilog="example: artquant doctor --json > doctor.json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--quick", action="store_true", help="do not import lmms-eval, our model and our trainer, which takes seconds"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the checks and print their findings; return the exit code, 1 where there is a problem."""
    from artquant_plugin.environment.survey import survey
    from artquant_plugin.report.table_formats import aligned

    if not args.quick:
        print("importing torch and lmms-eval in processes of their own (some seconds)", file=sys.stderr)
    findings = survey(quick=args.quick)
    problems = [finding for finding in findings if finding.state == "problem"]
    notes = [finding for finding in findings if finding.state == "note"]
    if args.json:
        content = {
            "problems": len(problems),
            "notes": len(notes),
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return 1 if problems else 0
    rows = [(finding.state, finding.area, finding.name, finding.found, finding.tested) for finding in findings]
    print(aligned([("state", "area", "name", "found", "tested"), *rows]))
    for finding in (*problems, *notes):
        print(f"\n{finding.state}: {finding.message}")
        if finding.remedy:
            print(f"  {finding.remedy}")
    print(f"\nproblems: {len(problems)}, notes: {len(notes)}")
    return 1 if problems else 0
