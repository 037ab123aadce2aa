"""`artquant heatmap`: where a checkpoint looks in paintings, and what its score depends on, as pictures."""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from artquant_plugin.cli.options import add_loading_options
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.text import visible

if TYPE_CHECKING:
    from artquant_plugin.bulk.images import NamedImage
    from artquant_plugin.bulk.inputs import Inputs
    from artquant_plugin.data.images import Handling
    from artquant_plugin.heatmaps.maps import PaintingMaps

DESCRIPTION = """Draw heat maps: the attention of the vision encoder, and gradient × input of the expected score, over
each painting. An image that cannot be read or mapped has a reason, is counted, and leaves the exit code at 0 (2 with
--strict)."""
ENDING = ".heatmap.png"


def add_parser(subparsers: Any) -> None:
    """Add the parser of `artquant heatmap` to those of the other commands."""
    parser = subparsers.add_parser(
        "heatmap",
        help="where a checkpoint looks in paintings, as pictures",
        description=DESCRIPTION,
        epilog="example: artquant heatmap runs/demo paintings/ --out heatmaps",
    )
    parser.add_argument("model", metavar="CKPT", help="checkpoint: a folder or a Hub id")
    parser.add_argument(
        "inputs", nargs="+", metavar="IMAGE", help="images, folders, datasets and lists, as for `artquant score`"
    )
    parser.add_argument("--against", metavar="OTHER", help="another checkpoint, with its maps below")
    parser.add_argument(
        "--method",
        action="append",
        choices=("rollout", "attention", "gradient"),
        help="rollout: attention through all layers of the vision encoder; attention: that of its last layer; "
        "gradient: what the score depends on; may be repeated (default: rollout, where there is attention, and "
        "gradient)",
    )
    parser.add_argument(
        "--out", default="heatmaps", metavar="FOLDER", help="where the pictures are written (default: %(default)s)"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 2 when an image could not be mapped")
    parser.add_argument("--split", help="split of a dataset (default: its only one; test for an imported one)")
    add_loading_options(parser.add_argument_group("model"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Map the images, write a picture for each, and print the scores and the files."""
    from artquant_plugin.bulk.inputs import find_inputs
    from artquant_plugin.report.file_names import file_names

    out = expanded(args.out)
    if out.exists() and not out.is_dir():
        raise ArtQuantError(f"--out '{args.out}' is a file; name a folder, which gets one picture for each image")
    inputs = find_inputs(args.inputs, split=args.split)
    names = [args.model] if args.against is None else [args.model, args.against]
    # One checkpoint is in memory at a time. The maps by the first one of two are kept, some 50 KB for each image.
    earlier = [list(_mapped(name, inputs, args)) for name in names[:-1]]
    counts = {True: 0, False: 0}  # by whether an image has a picture
    taken: set[str] = set()
    for found in zip(*earlier, _mapped(names[-1], inputs, args), strict=True):
        image = found[0].image
        reasons = [each.result for each in found if isinstance(each.result, str)]
        if not reasons:
            (stem,) = file_names([Path(image.name).stem], taken)
            taken.add(stem)
            path = out / f"{stem}{ENDING}"
            reasons = _draw(path, found, names)
        counts[not reasons] += 1
        if reasons:
            print(visible(f"{image.name}: {reasons[0]}"), flush=True)
        else:
            scores = "  ".join(f"{each.result.score:.3f}" for each in found if not isinstance(each.result, str))
            print(visible(f"{scores}  {path}"), flush=True)
    print(f"drew {counts[True]:,}, failed {counts[False]:,}")
    if passed_over := inputs.passed_over():
        print(passed_over)
    if args.strict and counts[False]:
        total = sum(counts.values())
        raise ArtQuantError(f"{counts[False]:,} of {total:,} images have no map; see the reasons (--strict)")


class _Mapped(NamedTuple):
    """An image, how a checkpoint opens files, and the maps by that checkpoint or the reason why there are none."""

    image: "NamedImage"
    handling: "Handling"
    result: "PaintingMaps | str"


def _mapped(name: str, inputs: "Inputs", args: argparse.Namespace) -> Iterator[_Mapped]:
    """Load a checkpoint, and map the images as they come; pictures that this command wrote earlier are left out."""
    from artquant_plugin.bulk.checkpoint_engine import CheckpointEngine
    from artquant_plugin.bulk.images import reason_of
    from artquant_plugin.bulk.rows import answered
    from artquant_plugin.heatmaps.maps import heat_maps

    engine = CheckpointEngine(
        name,
        scoring=args.scoring,
        base=args.base,
        dtype=args.dtype,
        attn=args.attn,
        device=args.device,
        workers=0,
    )
    images = (image for image in inputs.images() if not image.name.endswith(ENDING))
    for image, result in answered(images, partial(heat_maps, engine.scorer, methods=args.method)):
        found = reason_of(image, result) if isinstance(result, ArtQuantError) else result
        yield _Mapped(image, engine.spec.images, found)


def _draw(path: Path, found: Sequence[_Mapped], names: Sequence[str]) -> list[str]:
    """Write the picture of an image, each row with the image as its checkpoint sees it; a reason where that fails."""
    from artquant_plugin.bulk.images import image_of, reason_of
    from artquant_plugin.data.images import open_image
    from artquant_plugin.heatmaps.picture import LARGEST_SIDE, MappedBy, draw_heat_maps

    rows = []
    for name, each in zip(names, found, strict=True):
        try:
            picture = open_image(image_of(each.image), handling=each.handling, longest_side=LARGEST_SIDE)
        except ArtQuantError as error:  # the file was changed since it was mapped
            return [reason_of(each.image, error)]
        assert not isinstance(each.result, str)
        rows.append(MappedBy(name, picture, each.result))
    draw_heat_maps(path, rows, title=Path(found[0].image.name).name)
    return []
