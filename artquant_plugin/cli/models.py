"""`artquant models`: published checkpoints that answer with level words, and the presets by which they are scored."""

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the parser of `artquant models` to those of the other commands."""
    parser = subparsers.add_parser(
        "models",
        help="list the published checkpoints that are known, and the scoring presets",
        description="List the published checkpoints whose preset is chosen by their Hub id, with size, scale, licence "
        "and training data, and the presets (docs/models.md). Nothing is fetched.",
        epilog="example: artquant models --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the checkpoints and the presets."""
    from artquant_plugin.checkpoint import known_checkpoints, shipped_presets
    from artquant_plugin.common.json_text import printable_json
    from artquant_plugin.report.table_formats import aligned

    presets = shipped_presets()
    scales = {name: f"{preset.spec.scale.low:g} to {preset.spec.scale.high:g}" for name, preset in presets.items()}
    if args.json:
        models = [
            known.model_dump()
            | {"scale": [presets[known.scoring].spec.scale.low, presets[known.scoring].spec.scale.high]}
            for known in known_checkpoints()
        ]
        shown = {
            name: {"source": preset.source, "architectures": preset.architectures, **preset.spec.content}
            for name, preset in presets.items()
        }
        print(printable_json({"models": models, "presets": shown}, indent=2))
        return
    rows = [
        (
            known.id,
            known.scoring,
            scales[known.scoring],
            f"{known.parameters / 1e9:.1f} B",
            ", ".join(known.trained_on),
            known.license,
        )
        for known in known_checkpoints()
    ]
    print(aligned([("checkpoint", "preset", "scale", "weights", "trained on", "license"), *rows]))
    print()
    questions = [
        (scales[name], name, preset.fits, f"{preset.spec.prompt.question} {preset.spec.prompt.answer_prefix} …")
        for name, preset in presets.items()
    ]
    print(aligned([("scale", "preset", "fits", "question and beginning of the answer"), *questions]))
