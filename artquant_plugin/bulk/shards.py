"""A run into a folder of shards, shared by any number of processes that need not talk to each other."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.inputs import ImageReference, Inputs, references_of
from artquant_plugin.bulk.meter import ScoreMeter, ScoreSummary
from artquant_plugin.bulk.output_file import (
    EMPTY,
    Journal,
    fill,
    made_from,
    read_rows,
    refuse_other_rows,
    write_rows,
)
from artquant_plugin.bulk.rows import ScoreColumns, ScoreRow, ScoringEngine, score_rows
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write, own_folder, remove_leftovers
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.run_record import (
    MadeFrom,
    one_at_a_time,
    only_writer,
    read_record,
    refuse_other,
    write_record,
)
from artquant_plugin.common.text import first_line

RECORD_FILE = "_run.json"  # readers of Parquet folders pass over names that begin with _
DONE_FILE = "_done.json"
WORK_FOLDER = ".work"  # journals of shards that are being made, and locks
NEW_FOLDER = "new"  # in WORK_FOLDER; shards that replace earlier ones, until all of them are there
LOCK_FILE = "record.lock"  # in WORK_FOLDER; held while _run.json or _done.json is written


@dataclass(frozen=True, slots=True)
class Share:
    """Which shards a process takes: every `world`-th one, beginning with number `rank`.

    Args:
        rank: the number of this process, from 0 to `world` - 1.
        world: number of the processes that share the work, from 1.
    """

    rank: int = 0
    world: int = 1

    def __contains__(self, index: int) -> bool:
        return index % self.world == self.rank


def shard_path(out: Path, index: int) -> Path:
    """The file of a shard, given the output folder and the shard's number from 0."""
    return out / f"shard-{index:06d}.parquet"


def score_to_folder(
    inputs: Inputs,
    engine: ScoringEngine,
    out: Path,
    *,
    shard_size: int,
    share: Share | None = None,
    overwrite: bool = False,
    show: bool = True,
) -> ScoreSummary:
    """Score into a folder of Parquet shards.

    Args:
        inputs: the images to score. Several tables or archives give one shard each, anything else gives shards of
            `shard_size` rows.
        engine: the checkpoint or server that gives the scores.
        out: the folder, which is made when absent.
        shard_size: rows per shard, from 1.
        share: the shards of this process; None takes all of them.
        overwrite: compute everything again, and replace earlier results when all of it is there; only where one
            process writes the folder.
        show: whether to draw a progress bar, where there is a terminal.

    Returns:
        Counts of this process's share.

    Raises:
        ArtQuantError: earlier results were made from something else, or the folder holds other files; another process
            is making the same shard; the inputs have no rows or cannot be read; the engine cannot be used.
    """
    share = share or Share()
    now = made_from(inputs, engine, layout(inputs, shard_size))
    with folder_to_fill(out, now, overwrite=overwrite, share=share) as folder:
        finished = begin(folder, now)
        if finished is not None:
            return finished
        meter = ScoreMeter(inputs.count() if share.world == 1 else None, show=show)
        shards = 0
        for index, references in shards_of(inputs, shard_size, folder, share):
            shards = index + 1
            if index in share:
                score_shard(folder, index, now, engine, references, meter)
        if not shards:
            raise ArtQuantError(EMPTY)
        finish(folder, shards)
        return meter.close()


def layout(inputs: Inputs, shard_size: int) -> dict[str, Any]:
    """How the rows are divided into shards, as an option of the run's record."""
    return {"rows_per_shard": "as the input's files" if inputs.file_per_shard else shard_size}


@contextmanager
def folder_to_fill(out: Path, now: MadeFrom, *, overwrite: bool, share: Share) -> Iterator[Path]:
    """Say where the shards of a run are to be made; where they replace others, move them to their place at the end.

    Args:
        out: the output folder, which is made when absent.
        now: what this run is about to compute.
        overwrite: whether earlier results in the folder are replaced, once the new ones are whole.
        share: the shards of this process.

    Yields:
        The output folder itself; or a hidden folder in it for new shards that are to replace earlier ones. What an
        interrupted run that replaces them for the same result has made there is gone on with.

    Raises:
        ArtQuantError: several processes would replace results, or the folder cannot be written.
    """
    if overwrite and share.world > 1:
        raise ArtQuantError(
            f"--overwrite with {share.world} processes would let one remove another's shards; remove '{out}' first"
        )
    new = out / WORK_FOLDER / NEW_FOLDER
    try:
        own_folder(out / WORK_FOLDER)
    except OSError as error:
        raise ArtQuantError(f"'{out}' cannot be written ({error}); choose another --out") from error
    _put_in_place(new, out)  # of a run that was killed while it did so
    if not overwrite or not (out / RECORD_FILE).is_file():
        yield out
        return
    own_folder(new)
    try:
        earlier = read_record(new / RECORD_FILE)
        if earlier is not None:
            refuse_other(earlier, now, new)
    except ArtQuantError:
        shutil.rmtree(new)
    yield new
    _put_in_place(new, out)


def _put_in_place(new: Path, out: Path) -> None:
    """Move new shards that are whole to the place of earlier ones; a run that is killed here is gone on with.

    Args:
        new: the hidden folder of new shards; nothing happens unless it is complete.
        out: the output folder. Files in it that are no results stay.
    """
    with one_at_a_time(out / WORK_FOLDER / LOCK_FILE):
        if not (new / DONE_FILE).is_file():
            return
        shards = json.loads((new / DONE_FILE).read_text(encoding="utf-8"))["shards"]
        (out / DONE_FILE).unlink(missing_ok=True)
        kept = {shard_path(out, index) for index in range(shards)}
        for path in (*(out / WORK_FOLDER).glob("*.jsonl"), *(set(out.glob("shard-*.parquet")) - kept)):
            path.unlink(missing_ok=True)
        for path in (*sorted(new.glob("shard-*.parquet")), new / RECORD_FILE):
            if path.is_file():  # others were moved by the run that was killed
                os.replace(path, out / path.name)
        os.replace(new / DONE_FILE, out / DONE_FILE)
        shutil.rmtree(new)


def begin(out: Path, now: MadeFrom) -> ScoreSummary | None:
    """Check an output folder against its record, or begin it.

    Args:
        out: the folder, which is made when absent.
        now: what this run is about to compute.

    Returns:
        The whole folder's counts when it is finished.

    Raises:
        ArtQuantError: it was made from something else, or holds other files.
    """
    work = out / WORK_FOLDER
    own_folder(work)
    with one_at_a_time(work / LOCK_FILE):  # processes of one launch come here together
        remove_leftovers(out / RECORD_FILE)
        record = read_record(out / RECORD_FILE)
        others = any(path.name != RECORD_FILE and not path.name.startswith(".") for path in out.iterdir())
        if record is None and others:
            raise ArtQuantError(f"folder '{out}' holds other files; name a new folder for --out")
        if record is not None and others:
            refuse_other(record, now, out)
        for journal in work.glob("*.jsonl"):
            refuse_other_rows(journal, now)
        if not others:
            write_record(out / RECORD_FILE, now)
    if not (out / DONE_FILE).is_file():
        return None
    try:
        result = json.loads((out / DONE_FILE).read_text(encoding="utf-8"))
        summary = ScoreSummary(rows=result["rows"], failed=result["failed"], finished=True)
        shards = range(result["shards"])
    except (ValueError, KeyError, TypeError):
        return None  # a fault of the disk, or somebody changed it; it is written anew when all shards are there
    if not all(shard_path(out, index).is_file() for index in shards):
        return None  # somebody removed one
    return summary


def shards_of(inputs: Inputs, size: int, out: Path, share: Share) -> Iterator[tuple[int, Iterator[ImageReference]]]:
    """Divide the inputs into shards, in one pass over them.

    Args:
        inputs: the images that are to be scored.
        size: rows per shard, where shards do not follow the input's own files.
        out: the output folder, whose finished shards are passed over.
        share: of this process; the shards of others are passed over.

    Yields:
        The index of every shard, and the references to its images; none of a shard that is passed over.
    """
    if inputs.file_per_shard:
        for index, source in enumerate(inputs.sources):
            yield index, references_of(source)
        return
    stream = inputs.references()
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


def score_shard(
    out: Path,
    index: int,
    now: MadeFrom,
    engine: ScoringEngine,
    references: Iterator[ImageReference],
    meter: ScoreMeter,
) -> None:
    """Score one shard, unless its file is there.

    Args:
        out: the folder that the shards are written into.
        index: of the shard, from 0.
        now: what the run computes, for the shard's journal.
        engine: the checkpoint or server that gives the scores.
        references: to the images of the shard.
        meter: counts the rows, those of a finished shard as earlier ones.

    Raises:
        ArtQuantError: another process is making the same shard.
    """
    path = shard_path(out, index)
    journal = out / WORK_FOLDER / f"{path.stem}.jsonl"
    if not path.is_file() or journal.is_file():  # a kill may leave the journal of a finished shard
        with only_writer(journal.with_suffix(".lock"), out):
            made = path.is_file()
            if not made:
                remove_leftovers(path)
                rows = Journal(journal, now)
                fill(rows, partial(score_rows, engine), references, meter, allow_empty=True)
                write_rows(path, engine.columns, rows.read())
            journal.unlink(missing_ok=True)
            if not made:
                return
    meter.earlier(*parquet_counts(path))


def finish(out: Path, shards: int) -> None:
    """Mark a folder as complete once every shard is there, which the process that comes last finds.

    Args:
        out: the folder that holds the shards.
        shards: the number of shards that there must be.
    """
    paths = [shard_path(out, index) for index in range(shards)]
    if not all(path.is_file() for path in paths):
        return
    counts = [parquet_counts(path) for path in paths]
    result = {"shards": shards, "rows": sum(n for n, _ in counts), "failed": sum(failed for _, failed in counts)}
    with one_at_a_time(out / WORK_FOLDER / LOCK_FILE):
        remove_leftovers(out / DONE_FILE)
        with atomic_write(out / DONE_FILE) as file:
            file.write(json.dumps(result) + "\n")


def parquet_counts(path: Path) -> tuple[int, int]:
    """Count the rows of a finished shard, from its footer.

    Args:
        path: the Parquet file of one shard.

    Returns:
        The number of rows, and how many of them have no score.

    Raises:
        ArtQuantError: the file is no shard of ours.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.ParquetFile(path).metadata
    except (pyarrow.ArrowException, OSError) as error:
        if is_machine_fault(error):
            raise machine_error(error, f"'{path}' cannot be read") from error
        raise ArtQuantError(f"'{path}' is no Parquet file ({first_line(error)}); remove it") from error
    column = metadata.schema.names.index("reason")
    empty = sum(metadata.row_group(i).column(column).statistics.null_count for i in range(metadata.num_row_groups))
    return metadata.num_rows, metadata.num_rows - empty


def read_shards(out: Path, columns: ScoreColumns) -> Iterator[ScoreRow]:
    """The rows of a folder of shards, in the order of the input.

    Args:
        out: the folder, whose shards are all there.
        columns: of the rows, as they were written.

    Raises:
        ArtQuantError: the folder is not complete, because other processes still work on it.
    """
    if not (out / DONE_FILE).is_file():
        raise ArtQuantError(f"'{out}' is not complete; run the command again when the other processes have ended")
    for path in sorted(out.glob("shard-*.parquet")):
        yield from read_rows(path, columns)
