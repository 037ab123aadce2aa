"""Exports a run as a folder that this package trains on and that `datasets.load_dataset` loads.

The rows are in Parquet files: ``data/train-00000-of-00001.parquet`` and so on. Beside the folder ``data`` are
``dataset.json`` (the description of the dataset), ``rad.json`` (how it was made) and ``README.md`` (the card, which
says which files are which split).
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_folder, atomic_write, remove_leftovers
from artquant_plugin.common.machine import machine_faults
from artquant_plugin.common.progress import ProgressBar
from artquant_plugin.common.run_record import FORM_VERSION, only_writer, read_record, refuse_changes, write_record
from artquant_plugin.data.dataset import INFO_FILE, Dataset, DatasetInfo, split_info, write_info
from artquant_plugin.data.paintings import PARQUET_FOLDER
from artquant_plugin.train.rad.dataset_repository import card_text
from artquant_plugin.train.rad.table import ExportRow, ExportSurvey, LeftOut, RadRun, features, rows, survey

RAD_FILE, CARD_FILE, FOLDS_FILE = "rad.json", "README.md", "folds.json"
# Fields of rad.json that say what the folder was made from, the most important ones first.
SECTIONS = ("form_version", "with_images", "data", "models", "prompts", "parameters", "files", "content", "run")
SHARD_BYTES = 400_000_000  # a Parquet file has about so many bytes of pictures
GROUP_ROWS, GROUP_BYTES = 1000, 32_000_000  # limits of a row group, which is in memory as a whole


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote, or what it found to be written already.

    Args:
        folder: the folder with the export's files.
        splits: number of rows and number of descriptions, by split.
        states: number of rows by the painting's state.
        left_out: paintings that have no row, since their picture is also in a stricter split.
        without_picture: number of rows whose picture's file is missing; 0 for an export without pictures.
        unchanged: whether the folder held the same export already, so that nothing was written.
    """

    folder: Path
    splits: dict[str, tuple[int, int]]
    states: dict[str, int]
    left_out: tuple[LeftOut, ...]
    without_picture: int
    unchanged: bool


def export_run(
    run: RadRun,
    out: Path,
    *,
    with_images: bool = False,
    license: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write the folder as a whole or not at all; a folder that holds the same export is left as it is.

    All paintings of the dataset become rows, since a painting without an accepted description still has a score to
    train on. Only those whose picture is also in a stricter split are left out.

    Args:
        run: the run to be exported, finished or not.
        out: the export's folder; made when absent.
        with_images: put the pictures' files into the rows.
        license: the license of the pictures, exactly as the dataset names it; required for `with_images`.
        overwrite: replace a different export that is in the folder.

    Raises:
        ArtQuantError: no description was accepted, the folder holds something else, another process writes it, the
            license is not the dataset's, or a picture is not the one that was imported.
        MachineError: the folder cannot be written, such as on a full disk.
    """
    terms = run.dataset.info.license
    if with_images and license != terms:
        raise ArtQuantError(
            f"the pictures of {run.dataset.info.name!r} are under {terms!r}, and the export would hold copies of "
            f"them; pass --confirm-license {terms!r} if you may make them"
        )
    if not run.store.counts()["accepted"]:
        raise ArtQuantError(f"'{run.folder}' has no accepted description yet; go on with `artquant rad generate`")
    found = survey(run)
    content = _content_hash(run, found, with_images)
    with only_exporter(out):
        return _export_locked(run, found, content, out, with_images, overwrite)


@contextmanager
def only_exporter(out: Path) -> Iterator[None]:
    """Hold the lock of an export folder while this context lasts, and remove what a killed export left behind.

    Args:
        out: the export folder; the lock's file is beside it while the lock is held.

    Raises:
        ArtQuantError: another process writes the folder, or the lock's file cannot be made.
    """
    lock = out.with_name(f".{out.name}.lock")
    with only_writer(lock, out):
        remove_leftovers(out)
        try:
            yield
        finally:
            with suppress(OSError):  # Windows does not remove an open file
                # The lock is still held here; a process that waits for it will see that the file is gone.
                lock.unlink()


def _export_locked(
    run: RadRun, found: ExportSurvey, content: str, out: Path, with_images: bool, overwrite: bool
) -> Exported:
    """Do the work of `export_run` while the folder's lock is held."""
    before = _earlier_record(out)
    if before is not None:
        present, wanted = _made_from(before, out), _would_be_made_from(run, content, with_images, out)
        if present == wanted:
            return _summary_of_record(out, before, unchanged=True)
        if not overwrite:
            refuse_changes(out, present, wanted, remedy="pass --overwrite to replace it, or another --out")
    with machine_faults(f"'{out}' cannot be written"), atomic_folder(out) as part:
        counted = _write_rows(run, found, part, with_images)
        if _content_hash(run, found, with_images) != content:
            raise ArtQuantError(
                f"'{run.folder}' was written to meanwhile; export it again when no process writes to it"
            )
        info = _export_info(run, found, counted)
        record = _export_record(run, found, counted, with_images) | {"content": content, "files": _file_sizes(part)}
        write_record(part / RAD_FILE, record)
        with atomic_write(part / CARD_FILE) as file:
            file.write(card_text(info, record, features(found.attributes, with_images=with_images)))
        folds = run.dataset.file(FOLDS_FILE)
        if info.folds is not None and folds.is_file():
            shutil.copyfile(folds, part / FOLDS_FILE)
        write_info(part, info)
    return _summary_of_record(out, record, unchanged=False)


def _content_hash(run: RadRun, found: ExportSurvey, with_images: bool) -> str:
    """Hash all that the export is made from, except the pictures' folder."""
    usage = {f"{side} {outcome}": asdict(sums) for (side, outcome), sums in run.store.usage().items()}
    made_from = [
        FORM_VERSION,
        run.record.fingerprint,
        asdict(replace(run.dataset.info, image_root="")),
        usage,
        with_images,
    ]
    digest = hashlib.sha256(json.dumps(made_from).encode())
    for row, _ in rows(run, found):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _earlier_record(out: Path) -> dict[str, Any] | None:
    """Read the record of an export in a folder; None when the folder is empty or missing.

    Raises:
        ArtQuantError: the folder holds something else, which no export may replace.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    kind, remedy = "export of a RAD run", "pass another --out"
    if not (out / RAD_FILE).is_file():
        raise ArtQuantError(f"'{out}' exists and is no {kind}; {remedy}")
    ours = {RAD_FILE, CARD_FILE, FOLDS_FILE, INFO_FILE, PARQUET_FOLDER}
    strangers = [path for path in out.iterdir() if path.name not in ours]
    strangers += [path for path in (out / PARQUET_FOLDER).glob("*") if path.suffix != ".parquet"]
    if strangers:
        raise ArtQuantError(f"'{strangers[0]}' is no part of an export; move it away, or pass another --out")
    return read_record(out / RAD_FILE, kind=kind, remedy=remedy, form_version=None)


def _made_from(before: dict[str, Any], out: Path) -> dict[str, Any]:
    """What the export in a folder was made from, with the files that its record lists."""
    root = Dataset.load(out).info.image_root if (out / INFO_FILE).is_file() else None
    return {**{name: before.get(name) for name in SECTIONS}, "image_root": root}


def _would_be_made_from(run: RadRun, content: str, with_images: bool, out: Path) -> dict[str, Any]:
    """What a new export would be made from, with the files that are in the folder now."""
    sections = {
        "form_version": FORM_VERSION,
        "with_images": with_images,
        **_origin(run),
        "image_root": _image_root(run),
    }
    return sections | {"files": _file_sizes(out), "content": content}


def _file_sizes(folder: Path) -> dict[str, int]:
    """Sizes of the Parquet files by name, by which an export that lost a file is recognized."""
    return {path.name: path.stat().st_size for path in sorted((folder / PARQUET_FOLDER).glob("*.parquet"))}


def _image_root(run: RadRun) -> str:
    return str(run.dataset.image_root.resolve())


def _summary_of_record(out: Path, record: dict[str, Any], *, unchanged: bool) -> Exported:
    return Exported(
        out,
        {split: (count["paintings"], count["described"]) for split, count in record["splits"].items()},
        record["states"],
        tuple(LeftOut(**item) for item in record["left_out"]),
        record["without_picture"],
        unchanged,
    )


@dataclass(frozen=True, slots=True)
class _RowCounts:
    """What is counted while rows are written: scores and descriptions by split, rows by state, missing pictures."""

    scores: dict[str, list[float]]
    described: Counter[str]
    states: Counter[str]
    without_picture: Counter[str]


def _write_rows(run: RadRun, found: ExportSurvey, folder: Path, with_images: bool) -> _RowCounts:
    splits = run.dataset.info.splits
    counted = _RowCounts({split: [] for split in splits}, Counter(), Counter(), Counter())
    stream = _counted_rows(run, found, counted, with_images)
    with ProgressBar("export", "row", sum(found.sizes.values())) as bar:
        for split in splits:
            count = found.sizes[split]
            shards = _shard_count(run, split, count) if with_images else 1
            for number in range(shards):
                share = count * (number + 1) // shards - count * number // shards
                path = folder / PARQUET_FOLDER / f"{split}-{number:05d}-of-{shards:05d}.parquet"
                _write_shard(path, islice(stream, share), found.attributes, with_images, bar)
    return counted


def _counted_rows(run: RadRun, found: ExportSurvey, counted: _RowCounts, with_images: bool) -> Iterator[ExportRow]:
    for row, path in rows(run, found):
        counted.scores[row["split"]].append(row["score"])
        counted.described[row["split"]] += row["description"] is not None
        counted.states[row["state"]] += 1
        if with_images:
            row["image"] = _picture_column(path, row)
            counted.without_picture["all"] += row["image"] is None
        yield row


def _picture_column(path: Path, row: ExportRow) -> dict[str, Any] | None:
    """The value of the column ``image``: the picture's bytes and name; None when the file is missing."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise ArtQuantError(f"picture '{path}' is not the one that was imported; put it back, or import it again")
    return {"bytes": content, "path": row["file_name"]}


def _shard_count(run: RadRun, split: str, count: int) -> int:
    paths = (run.dataset.image_path(painting) for painting in run.dataset.each(split))
    size = sum(path.stat().st_size for path in paths if path.is_file())
    return max(1, min(count, -(-size // SHARD_BYTES)))


def _write_shard(
    path: Path, some: Iterable[ExportRow], attributes: Sequence[str], with_images: bool, bar: ProgressBar
) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = features(
        attributes, with_images=with_images
    ).arrow_schema  # the schema tells `datasets` which column holds pictures
    with atomic_write(path, "wb") as file, parquet.ParquetWriter(file, schema) as writer:
        for group in _row_groups(some):
            writer.write_table(pyarrow.Table.from_pylist(group, schema))
            bar.advance(len(group))


def _row_groups(some: Iterable[ExportRow]) -> Iterator[list[ExportRow]]:
    """Collect rows into groups, each of which is written at once, of up to `GROUP_ROWS` or about `GROUP_BYTES`."""
    group: list[ExportRow] = []
    size = 0
    for row in some:
        group.append(row)
        size += len(row["image"]["bytes"]) if row.get("image") else 0
        if len(group) == GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _export_info(run: RadRun, found: ExportSurvey, counted: _RowCounts) -> DatasetInfo:
    source = run.dataset.info
    models = run.record.models
    splits = {}
    for split, scores in counted.scores.items():
        repeated = Counter(f"in_{item.kept}" for item in found.left_out if item.split == split)
        splits[split] = split_info(scores, source.splits[split].missing | repeated)
    return replace(
        source,
        name=f"rad-{source.name}",
        image_root=_image_root(run),
        splits=splits,
        files={},  # the source dataset's JSON lines, which are not part of the export
        source=f"{source.source}; descriptions by {models['generator']}, judged by {models['judge']}",
    )


def _origin(run: RadRun) -> dict[str, Any]:
    """The sections of rad.json that say from which run the rows come."""
    record = run.record
    sections = {name: record.identity[name] for name in ("data", "models", "prompts", "parameters")}
    return {"run": record.fingerprint, **sections}


def _export_record(run: RadRun, found: ExportSurvey, counted: _RowCounts, with_images: bool) -> dict[str, Any]:
    """The content of rad.json. It names no folder and no endpoint of the maker, since the file may be published."""
    record = run.record
    return {
        "with_images": with_images,
        **_origin(run),
        "versions": record.versions,
        "git_commit": record.git_commit,
        "splits": {
            split: {"paintings": len(scores), "described": counted.described[split]}
            for split, scores in counted.scores.items()
        },
        "states": dict(counted.states),
        "rounds": {str(number): count for number, count in run.store.rounds().items()},
        "failures": run.store.reasons(),
        "usage": {f"{side} {outcome}": asdict(usage) for (side, outcome), usage in run.store.usage().items()},
        "cost": run.store.cost(),
        "left_out": [asdict(item) for item in found.left_out],
        "without_picture": counted.without_picture["all"],
    }
