"""`artquant publish` puts checkpoints and descriptions on the Hugging Face Hub."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from artquant_plugin.common.text import visible


def add_parser(subparsers: Any) -> None:
    """Add `artquant publish`."""
    parser = subparsers.add_parser(
        "publish",
        help="put a checkpoint or RAD on the Hugging Face Hub",
        description=(
            "Upload what belongs there and nothing else, with a card; doing it again changes nothing. The token is "
            "that of `hf auth login`, or HF_TOKEN."
        ),
    )
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    model = kinds.add_parser(
        "model",
        help="a checkpoint: an adapter or a whole model",
        description="Publish a checkpoint with its card, as an adapter (as trained) or merged into a whole model.",
        epilog="example: artquant publish model runs/baid --repo me/artquant-baid --results results",
    )
    model.add_argument("folder", type=Path, help="the checkpoint that training wrote")
    _add_target(model)
    model.add_argument("--merge", action="store_true", help="publish the whole model, with the adapter merged into it")
    model.add_argument(
        "--base", metavar="ID[@REVISION]", help="base model on the Hub, where the adapter names a folder"
    )
    model.add_argument(
        "--results",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder that lmms-eval's --output_path named (default: results/ of the checkpoint); may be repeated",
    )
    model.add_argument("--license", metavar="ID", help="license as the Hub names it (default: that of the base model)")
    model.add_argument("--license-name", metavar="NAME", help="name of the license, with --license other")
    model.add_argument("--license-link", metavar="URL", help="address of the license's text, with --license other")
    model.set_defaults(run=run_model)
    rad = kinds.add_parser(
        "rad",
        help="an export of RAD, beside those of other sources in the same repository",
        description=(
            "Publish an export of RAD as one configuration of a dataset repository, which datasets.load_dataset and "
            "artquant train take. Pictures stay here unless asked for."
        ),
        epilog="example: artquant publish rad data/rad-apdd --repo me/RAD --config apdd",
    )
    rad.add_argument("folder", type=Path, help="folder that `artquant rad export` wrote")
    _add_target(rad)
    rad.add_argument("--config", metavar="NAME", help="name of the configuration (default: the source dataset's name)")
    rad.add_argument(
        "--with-images", action="store_true", help="publish the export's pictures; needs --confirm-license"
    )
    rad.add_argument("--confirm-license", metavar="NAME", help="license of the pictures, as the dataset names it")
    rad.set_defaults(run=run_rad)


def _add_target(parser: Any) -> None:
    parser.add_argument(
        "--repo",
        required=True,
        metavar="NAMESPACE/NAME",
        help="repository on the Hub; it is made when it does not exist",
    )
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument("--revision", metavar="NAME", help="put a tag on the result, such as v1")
    parser.add_argument("--overwrite", action="store_true", help="replace files that artquant did not write")
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would be uploaded, with sizes; write nothing"
    )


def run_model(args: argparse.Namespace) -> None:
    """Check and collect the files of a checkpoint, upload them, and print where they are."""
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.publish.checkpoint_files import repository_files
    from artquant_plugin.publish.hub_errors import Target
    from artquant_plugin.publish.model_card import License
    from artquant_plugin.publish.repository import Publication
    from artquant_plugin.publish.whitelist import CHECKPOINT

    target = Target(args.repo, "model", args.private, args.revision)
    if (args.license_name or args.license_link) and args.license != "other":
        raise ArtQuantError("--license-name and --license-link describe --license other; pass it, or leave them out")
    license = License(args.license, args.license_name, args.license_link) if args.license else None
    with _merged(args, license) as merged:
        files = repository_files(
            args.folder, target, base=args.base, license=license, results=args.results, merged=merged
        )
        publication = Publication(target, files, CHECKPOINT, overwrite=args.overwrite)
        _finish(args, publication, f"lmms-eval --model artquant --model_args pretrained={args.repo} --tasks artquant")


def run_rad(args: argparse.Namespace) -> None:
    """Check and collect the files of an export of RAD, upload them, and print where they are."""
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.publish.hub_errors import Target
    from artquant_plugin.train.rad.dataset_repository import rad_publication

    if args.confirm_license and not args.with_images:
        raise ArtQuantError("--confirm-license belongs to --with-images; pass both or none")
    publication, config = rad_publication(
        args.folder,
        Target(args.repo, "dataset", args.private, args.revision),
        config=args.config,
        with_images=args.with_images,
        license=args.confirm_license,
        overwrite=args.overwrite,
    )
    _finish(args, publication, f"artquant train CONFIG --set 'data=[\"{args.repo}:{config}\"]'")


@contextmanager
def _merged(args: argparse.Namespace, license: Any) -> Iterator[Path | None]:
    """The folder of the merged model while it is needed; None without --merge.

    What `repository_files` would refuse is refused here before the merge, which takes long.
    """
    if not args.merge:
        yield None
        return
    from artquant_plugin.publish.base_model import find_base
    from artquant_plugin.publish.checkpoint_files import chosen_license, source_files
    from artquant_plugin.publish.merge import merged_checkpoint

    base = find_base(args.folder, source_files(args.folder), args.base, needed=False)
    chosen_license(args.folder, license, base)
    with merged_checkpoint(args.folder, base=args.base) as folder:
        yield folder


def _finish(args: argparse.Namespace, publication: Any, next_command: str) -> None:
    """List the files; then, unless it is a dry run, publish them and print the command to go on with."""
    plan = publication.plan()
    for name in sorted(plan.sizes):
        mark = " " if name not in plan.changed else "+"
        print(f"{mark} {_bytes(plan.sizes[name]):>9}  {visible(name)}")
    for name in plan.removed:
        print(f"- {'':>9}  {name}")
    changed = sum(plan.sizes[name] for name in plan.changed)
    print(f"{len(plan.changed)} of {len(plan.sizes)} files to upload, {_bytes(changed)}")
    if plan.others:
        print(f"{len(plan.others)} files of others stay: {', '.join(plan.others[:3])}")
    if args.dry_run:
        publication.refuse_other_namespace()
        where = "exists" if plan.exists else f"would be made, {'private' if args.private else 'public'}"
        print(f"nothing was written; {plan.target.kind} {plan.target.name} {where}")
        return
    done = publication.run("Publish with artquant-plugin", partial(print, flush=True))
    what = f"commit {done.commit[:12]}" if done.is_new else f"nothing to do, commit {done.commit[:12]} holds it"
    print(f"{what}{f', tag {args.revision}' if args.revision else ''}: {done.url}")
    print(f"  {next_command}")


def _bytes(count: int) -> str:
    """A size in the largest binary unit that leaves at least 1.

    Args:
        count: number of bytes, at least 0.

    Example:
        >>> [_bytes(count) for count in (0, 1023, 2048, 5 * 2**30)]
        ['0 B', '1023 B', '2.0 KiB', '5.0 GiB']
    """
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
