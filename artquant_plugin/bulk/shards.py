"""A run into a folder of shards, shared by any number of processes that need not talk to each other."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from filelock import FileLock

from artquant_plugin.bulk.engine import Engine
from artquant_plugin.bulk.items import Part
from artquant_plugin.bulk.meter import Meter, Summary
from artquant_plugin.bulk.run import EMPTY, complete, wanted
from artquant_plugin.bulk.sinks import has_rows, parquet_counts
from artquant_plugin.bulk.sources import Source
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.run_record import Wanted, only_writer, read_record, refuse_other, write_record

RECORD_FILE = "_run.json"  # readers of Parquet folders pass over names that begin with _
DONE_FILE = "_done.json"
WORK_FOLDER = ".work"  # journals of shards that are being made, and locks
Record = tuple[Part, int, Any]


@dataclass(frozen=True, slots=True)
class Share:
    """Which shards a process takes: every `world`-th from `rank` on.

    Args:
        rank: from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    def __contains__(self, index: int) -> bool:
        return index % self.world == self.rank


def shard_path(out: Path, index: int) -> Path:
    """The file of a shard."""
    return out / f"shard-{index:06d}.parquet"


def score_to_folder(
    source: Source,
    engine: Engine,
    out: Path,
    *,
    shard_size: int,
    share: Share | None = None,
    overwrite: bool = False,
    show: bool = True,
) -> Summary:
    """Score into a folder of Parquet shards.

    Args:
        source: what to score. Several tables or archives give one shard each, anything else shards of `shard_size`.
        engine: what scores.
        out: the folder.
        shard_size: rows per shard.
        share: of this process; everything when left out.
        overwrite: drop earlier results; for one process alone.
        show: draw a progress bar.

    Returns:
        Counts of this process's share.

    Raises:
        ArtQuantError: as `artquant_plugin.bulk.run.score_to_file`.
    """
    share = share or Share()
    finished = begin(out, wanted(source, engine, layout(source, shard_size)), overwrite=overwrite, share=share)
    if finished is not None:
        return finished
    meter = Meter(source.count() if share.world == 1 else None, show=show)
    shards = 0
    for index, records in shards_of(source, shard_size, out, share):
        shards = index + 1
        if index in share:
            score_shard(out, index, engine, records, meter)
    if not shards:
        raise ArtQuantError(EMPTY)
    finish(out, shards)
    return meter.close()


def layout(source: Source, shard_size: int) -> dict[str, Any]:
    """How rows are divided into shards, for the record."""
    return {"rows_per_shard": "as the input's files" if source.file_per_shard else shard_size}


def begin(out: Path, now: Wanted, *, overwrite: bool, share: Share) -> Summary | None:
    """Check an output folder against its record, or begin it.

    Returns:
        The whole folder's counts when it is finished.

    Raises:
        ArtQuantError: it was made from something else, or holds other files.
    """
    if overwrite and share.world > 1:
        raise ArtQuantError(
            f"--overwrite with {share.world} processes would let one remove another's shards; remove '{out}' first"
        )
    try:
        (out / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtQuantError(f"'{out}' cannot be written ({error}); choose another --out") from error
    with FileLock(
        out / WORK_FOLDER / "record.lock"
    ):  # held for an instant; processes of one launch come here together
        if overwrite:
            journals = (out / WORK_FOLDER).glob("*.jsonl")
            for path in (*out.glob("shard-*.parquet"), *journals, out / RECORD_FILE, out / DONE_FILE):
                path.unlink(missing_ok=True)
        record = read_record(out / RECORD_FILE)
        others = (path.name for path in out.iterdir() if path.name not in (RECORD_FILE, WORK_FOLDER))
        if record is not None and (any(others) or any(map(has_rows, (out / WORK_FOLDER).glob("*.jsonl")))):
            refuse_other(record, now, out)
        elif record is None and any(others):
            raise ArtQuantError(f"folder '{out}' holds other files; name a new folder for --out")
        else:
            write_record(out / RECORD_FILE, now)
    if not (out / DONE_FILE).is_file():
        return None
    result = json.loads((out / DONE_FILE).read_text(encoding="utf-8"))
    if not all(shard_path(out, index).is_file() for index in range(result["shards"])):
        return None  # somebody removed one
    return Summary(rows=result["rows"], failed=result["failed"], finished=True)


def shards_of(source: Source, size: int, out: Path, share: Share) -> Iterator[tuple[int, Iterator[Record]]]:
    """Every shard's index and records, in one pass over the source.

    Records of shards that are finished or another process's are passed over without being parsed.
    """
    if source.file_per_shard:
        for index, part in enumerate(source.parts):
            yield index, ((part, place, record) for place, record in enumerate(part.records()))
        return
    stream = source.records()
    for index in count():
        first = next(stream, None)
        if first is None:
            return
        rest = islice(stream, size - 1)
        if index in share and not shard_path(out, index).is_file():
            yield index, chain([first], rest)
        else:
            yield index, iter(())
        for _ in rest:  # what was not taken
            pass


def score_shard(out: Path, index: int, engine: Engine, records: Iterator[Record], meter: Meter) -> None:
    """Score one shard, unless it is finished.

    Raises:
        ArtQuantError: another process is at it.
    """
    path = shard_path(out, index)
    journal = out / WORK_FOLDER / f"{path.stem}.jsonl"
    if not path.is_file():
        with only_writer(journal.with_suffix(".lock"), out):
            if not path.is_file():
                complete(path, journal, engine, records, meter, allow_empty=True)
                journal.unlink()
                return
    meter.earlier(*parquet_counts(path))


def finish(out: Path, shards: int) -> None:
    """Mark a folder as complete once every shard is there; whichever process comes last does it."""
    paths = [shard_path(out, index) for index in range(shards)]
    if not all(path.is_file() for path in paths):
        return
    counts = [parquet_counts(path) for path in paths]
    result = {"shards": shards, "rows": sum(n for n, _ in counts), "failed": sum(failed for _, failed in counts)}
    with atomic_write(out / DONE_FILE) as file:
        file.write(json.dumps(result) + "\n")
