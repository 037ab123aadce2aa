"""A run into one file: rows go to a journal as they come, then the file is written in one step.

What is in the journal or in the finished file is never computed again.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn

from artquant_plugin.bulk.images import NamedImage
from artquant_plugin.bulk.inputs import ImageReference, Inputs, referenced
from artquant_plugin.bulk.meter import ScoreMeter, ScoreSummary
from artquant_plugin.bulk.ranking import rank_key
from artquant_plugin.bulk.rows import ScoreColumns, ScoreRow, ScoringEngine, score_rows
from artquant_plugin.common.csv_text import harmless
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write, names_file, open_own, refuse_link, remove_leftovers
from artquant_plugin.common.json_text import printable_json
from artquant_plugin.common.locations import is_remote
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.run_record import (
    FORM_VERSION,
    MadeFrom,
    only_writer,
    read_record,
    refuse_other,
    write_record,
)
from artquant_plugin.common.tables import read_json_values, read_table

SUFFIXES = (".parquet", ".csv", ".jsonl")
ROWS_AT_ONCE = 10_000  # of a Parquet row group
BEST_FIRST = "best first"  # the order of the rows, in the record's result
EMPTY = "the input has no rows; name another"


def check_output(out: str) -> Path:
    """The path that --out names, checked.

    Args:
        out: as the user typed it; ``~`` is expanded.

    Returns:
        A file with one of `SUFFIXES`, or a folder when `out` ends with a slash or is one.

    Raises:
        ArtQuantError: a suffix that is not known, or a remote location.
    """
    if is_remote(out):
        raise ArtQuantError(f"--out '{out}' is not a local path; write here and upload, for example with `hf upload`")
    path = expanded(out)
    if is_folder(out):
        return path
    if path.suffix not in SUFFIXES:
        raise ArtQuantError(
            f"--out '{out}' ends with none of {', '.join(SUFFIXES)}, nor with / for a folder of shards"
        )
    return path


def is_folder(out: str) -> bool:
    """Whether --out names a folder of shards: it ends with a slash, or a folder of this name is there."""
    return out.endswith("/") or expanded(out).is_dir()


def made_from(inputs: Inputs, engine: ScoringEngine, options: dict[str, Any] | None = None) -> MadeFrom:
    """What a run is about to compute, for its record.

    Args:
        inputs: the images that are to be scored.
        engine: the checkpoint or server that gives the scores.
        options: what else the output depends on, besides the engine's own options.
    """
    return MadeFrom(inputs.identity(), engine.identity(), engine.options | (options or {}))


def score_to_file(
    inputs: Inputs,
    engine: ScoringEngine,
    out: Path,
    *,
    overwrite: bool = False,
    best_first: bool = False,
    show: bool = True,
) -> ScoreSummary:
    """Score everything into one file.

    Args:
        inputs: the images that are to be scored.
        engine: the checkpoint or server that gives the scores.
        out: a Parquet, CSV or JSON-lines file. While the run goes on, its rows are in a hidden journal beside it.
        overwrite: compute everything again, and replace earlier results when all of it is there.
        best_first: sort the rows by score, which holds all of them in memory; those of a finished file are sorted,
            too, and nothing is computed for it. Without it, the order of a finished file stays.
        show: whether to draw a progress bar, where there is a terminal.

    Raises:
        ArtQuantError: earlier results were made from something else; another process writes the same file; the inputs
            or the engine cannot be used.
    """
    record_path = out.with_name(f"{out.name}.run.json")
    journal_path = _journal_of(out)
    with only_writer(_lock_of(out), out):
        now = made_from(inputs, engine)
        replaces = overwrite and out.exists()
        if overwrite:
            journal_path.unlink(missing_ok=True)
        remove_leftovers(out)
        remove_leftovers(record_path)
        record = None if overwrite else read_record(record_path)
        if record is None and out.exists() and not overwrite:
            raise ArtQuantError(
                f"'{out}' exists and no record of a run is beside it; pass --overwrite or another --out"
            )
        if record is not None and out.exists():
            refuse_other(record, now, out)
            if record["result"] is not None:
                journal_path.unlink(missing_ok=True)
                result = record["result"]
                sort = best_first and result.get("order") != BEST_FIRST
                if sort:
                    write_rows(out, engine.columns, sorted(read_rows(out, engine.columns), key=rank_key))
                    write_record(record_path, now, result=result | {"order": BEST_FIRST})
                return ScoreSummary(rows=result["rows"], failed=result["failed"], finished=True, resorted=sort)
        refuse_other_rows(journal_path, now)
        if not replaces:
            write_record(record_path, now)
        meter = ScoreMeter(inputs.count(), show=show)
        journal = Journal(journal_path, now)
        fill(journal, partial(score_rows, engine), inputs.references(), meter)
        if replaces:  # until here the earlier file and its record stay; a record without a result names no rows
            write_record(record_path, now)
        rows = journal.read()
        write_rows(out, engine.columns, sorted(rows, key=rank_key) if best_first else rows)
        summary = meter.close()
        result = {"rows": summary.rows, "failed": summary.failed, "seconds": round(summary.seconds, 1)}
        if best_first:
            result["order"] = BEST_FIRST
        write_record(record_path, now, result=result)
        journal_path.unlink()
    return summary


def describe_to_file(
    inputs: Inputs,
    rows_of: Callable[[Iterable[NamedImage]], Iterator[dict[str, Any]]],
    now: MadeFrom,
    out: Path,
    *,
    overwrite: bool = False,
) -> ScoreSummary:
    """Describe everything into one file of JSON lines; an interrupted run is gone on with, as one that scores.

    Args:
        inputs: the images that are to be described.
        rows_of: makes one row of each image of a stream, in order.
        now: what the descriptions are made from; a journal of anything else is refused.
        out: the file, which appears when all of its rows are there.
        overwrite: forget the rows of an interrupted run.

    Returns:
        The counts; rows that have no description are its failed ones.

    Raises:
        ArtQuantError: the journal of an interrupted run was made from something else; another process writes the same
            file; or there are no images.
    """
    journal_path = _journal_of(out)
    with only_writer(_lock_of(out), out):
        if overwrite:
            journal_path.unlink(missing_ok=True)
        remove_leftovers(out)
        meter = ScoreMeter(None, show=False)
        journal = Journal(journal_path, now)
        fill(journal, rows_of, inputs.references(), meter, allow_empty=True)
        with atomic_write(out) as file:
            for row in journal.read():
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        journal_path.unlink()
    return meter.close()


def _journal_of(out: Path) -> Path:
    """The hidden journal beside a result file, which holds its rows until all of them are there."""
    return out.with_name(f".{out.name}.partial.jsonl")


def _lock_of(out: Path) -> Path:
    """The hidden lock beside a result file, which the process that writes the file holds."""
    return out.with_name(f".{out.name}.lock")


def refuse_described(out: Path) -> NoReturn:
    """Say that a file of descriptions is finished, and remove the journal that a kill at the very end has left.

    Args:
        out: the file of descriptions, which is there.

    Raises:
        ArtQuantError: always; another one where another process writes the file.
    """
    with only_writer(_lock_of(out), out):
        _journal_of(out).unlink(missing_ok=True)
    raise ArtQuantError(f"'{out}' exists; pass --overwrite or another --out")


def fill(
    journal: "Journal",
    rows_of: Callable[[Iterable[NamedImage]], Iterator[dict[str, Any]]],
    references: Iterator[ImageReference],
    meter: ScoreMeter,
    *,
    allow_empty: bool = False,
) -> None:
    """Bring a journal to the end of its images.

    Args:
        journal: of a result file; it may hold rows of an interrupted run.
        rows_of: makes one row of each image of a stream, in order; each has a ``reason``.
        references: of all images of the file, including those whose rows the journal has.
        meter: counts the rows and draws the progress bar.
        allow_empty: whether a journal may stay without rows; otherwise it is an error.

    Raises:
        ArtQuantError: there are no rows, or those of the journal were made from something else.
    """
    with journal:
        meter.earlier(journal.rows, journal.failed)
        images = map(referenced, islice(references, journal.rows, None))
        # The first image comes before the engine: a table without the image column is told before a model is loaded.
        first = next(images, None)
        if first is not None:
            for row in rows_of(chain([first], images)):
                journal.append(row)
                meter.row(row)
        if not journal.rows and not allow_empty:
            raise ArtQuantError(EMPTY)


class Journal:
    """Rows as they come, one JSON line each, so that an interrupted run loses none and computes none twice.

    The first line is the record of what the rows are made from. A journal is hidden, and whoever removes the visible
    files of a run often leaves it behind: the record keeps its rows out of the results of another run.

    Args:
        path: of the journal, which is made when absent. When it is opened, a last line that was cut short is dropped,
            and so is everything from a line on that is no row, as a crash of the machine may leave one.
        now: what the present run computes.
    """

    def __init__(self, path: Path, now: MadeFrom) -> None:
        self.path = path
        self.now = now
        self.rows = 0
        self.failed = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "Journal":
        refuse_other_rows(self.path, self.now)
        self._file = open_own(self.path)
        end = 0
        for number, line in enumerate(self._file):
            row = _row(line)
            if row is None:
                break
            end += len(line)
            if number:
                self.rows += 1
                self.failed += row["reason"] is not None
        self._file.truncate(end if self.rows else 0)
        if not self.rows:
            self._append({"form_version": FORM_VERSION, **asdict(self.now)})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with names_file(self.path):  # closing writes once more what could not be written before
                self._file.close()

    def append(self, row: ScoreRow) -> None:
        """Add a row. It is handed to the system at once, so that it survives the end of this process."""
        self._append(row)
        self.rows += 1
        self.failed += row["reason"] is not None

    def _append(self, content: Mapping[str, Any]) -> None:
        assert self._file is not None
        with names_file(self.path):
            self._file.write(printable_json(content, indent=None).encode() + b"\n")
            self._file.flush()

    def read(self) -> Iterator[ScoreRow]:
        """All rows that the journal holds, in order."""
        with self.path.open("rb") as file:
            for line in islice(file, 1, None):
                yield json.loads(line)


def _row(line: bytes) -> dict[str, Any] | None:
    """The object that a line of a journal holds, or None when the line is not whole."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def refuse_other_rows(journal_path: Path, now: MadeFrom) -> None:
    """Stop when a journal holds rows that were made from something else than a run would make them from now.

    Args:
        journal_path: the journal, which need not exist.
        now: what the present run is about to compute.

    Raises:
        ArtQuantError: names what changed; or a symbolic link is in the journal's place, or it is no journal.
    """
    refuse_link(journal_path)
    if not journal_path.is_file():
        return
    with journal_path.open("rb") as file:
        first, second = file.readline(), file.readline()
    if _row(second) is None:
        return  # the journal holds no row
    record = _row(first)
    if record is None or "model" not in record:
        raise ArtQuantError(f"'{journal_path}' holds rows and does not say what they were made from; pass --overwrite")
    refuse_other(record, now, journal_path)


def write_rows(path: Path, columns: ScoreColumns, rows: Iterable[ScoreRow]) -> None:
    """Write a result file in one step, from a stream of rows.

    Args:
        path: a name with one of `SUFFIXES`, which tells the format.
        columns: of the file, in their order.
        rows: each with all of the columns.
    """
    if path.suffix == ".parquet":
        _write_parquet(path, columns, rows)
    elif path.suffix == ".csv":
        with atomic_write(path) as file:
            writer = csv.writer(file)
            writer.writerow(map(harmless, columns.names))
            for row in rows:
                cells = (row[name] for name in columns.names)
                writer.writerow(harmless(cell) if isinstance(cell, str) else cell for cell in cells)
    else:
        with atomic_write(path) as file:
            for row in rows:
                file.write(json.dumps(columns.nested(row), ensure_ascii=False, allow_nan=False) + "\n")


def read_rows(path: Path, columns: ScoreColumns) -> Iterator[ScoreRow]:
    """The rows of a result that `write_rows` wrote, in their order.

    Args:
        path: the result file, with one of `SUFFIXES`.
        columns: of the file, as they were written.

    Raises:
        ArtQuantError: somebody else changed the file, so that it has not these columns.
    """
    remedy = "pass --overwrite to write it again"
    if path.suffix == ".jsonl":
        for _, row in read_json_values(str(path), remedy=remedy):
            yield {name: row.get(name) for name in columns.names} | (row["levels"] or {})
        return
    for found in read_table(str(path), columns.names, remedy=remedy):
        numbers = {name: found.parsed(name) for name in columns.numbers}
        yield {"path": found.text("path"), **numbers, "reason": found.text("reason") or None}


def _write_parquet(path: Path, columns: ScoreColumns, rows: Iterable[ScoreRow]) -> None:
    import pyarrow
    from pyarrow import parquet

    text = [("path", pyarrow.string())]
    numbers = [(name, pyarrow.float64()) for name in columns.numbers]
    schema = pyarrow.schema([*text, *numbers, ("reason", pyarrow.string())])
    stream = iter(rows)
    with atomic_write(path, "wb") as file, parquet.ParquetWriter(file, schema) as writer:
        while batch := list(islice(stream, ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
