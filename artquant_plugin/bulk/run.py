"""A run into one file: read, score, write; what is finished is never computed again."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from artquant_plugin.bulk.engine import Engine
from artquant_plugin.bulk.items import Item, Part, image_of, reason_of
from artquant_plugin.bulk.meter import Meter, Summary
from artquant_plugin.bulk.rows import Row
from artquant_plugin.bulk.sinks import Journal, has_rows, write_rows
from artquant_plugin.bulk.sources import Source
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.run_record import Wanted, only_writer, read_record, refuse_other, write_record

Answer = TypeVar("Answer")
EMPTY = "the input has no rows; name another"


def score_rows(engine: Engine, items: Iterable[Item]) -> Iterator[Row]:
    """Rows of a stream of items, in order; an image that fails is a row with its reason."""
    form = engine.form
    for item, result in paired(items, engine.results):
        if isinstance(result, ArtQuantError):
            yield form.failed(item.name, reason_of(item, result))
        else:
            yield form.scored(item.name, result["score"], result["levels"], result["entropy"], result["extras"])


def paired(
    items: Iterable[Item], answer: Callable[[Iterable[Path | bytes]], Iterator[Answer | ArtQuantError]]
) -> Iterator[tuple[Item, Answer | ArtQuantError]]:
    """Each item with its answer, in order.

    Args:
        items: a stream; those without an image are paired with the reason.
        answer: gives one answer or error per image, in order; it may take images ahead.
    """
    waiting: deque[Item] = deque()

    def images() -> Iterator[Path | bytes]:
        for item in items:
            waiting.append(item)
            if not isinstance(item.image, ArtQuantError):
                yield image_of(item)

    def without_image() -> Iterator[tuple[Item, ArtQuantError]]:
        while waiting and isinstance(error := waiting[0].image, ArtQuantError):
            yield waiting.popleft(), error

    for result in answer(images()):
        yield from without_image()
        yield waiting.popleft(), result
        yield from without_image()
    yield from without_image()


def wanted(source: Source, engine: Engine, options: dict[str, Any] | None = None) -> Wanted:
    """What a run is about to compute."""
    return Wanted(source.identity(), engine.identity(), engine.options | (options or {}))


def score_to_file(source: Source, engine: Engine, out: Path, *, overwrite: bool = False, show: bool = True) -> Summary:
    """Score everything into one file.

    Args:
        source: what to score.
        engine: what scores.
        out: Parquet, CSV or JSON-lines file. While the run goes on, its rows are in a hidden journal beside it.
        overwrite: drop earlier results.
        show: draw a progress bar.

    Raises:
        ArtQuantError: earlier results were made from something else; another process writes the same file; the source
            or the engine cannot be used.
    """
    record_path = out.with_name(f"{out.name}.run.json")
    journal_path = out.with_name(f".{out.name}.partial.jsonl")
    with only_writer(out.with_name(f".{out.name}.lock"), out):
        now = wanted(source, engine)
        if overwrite:
            for path in (record_path, journal_path, out):
                path.unlink(missing_ok=True)
        record = read_record(record_path)
        if record is not None:
            if out.exists() or has_rows(journal_path):
                refuse_other(record, now, out)
            if record["result"] is not None and out.is_file():
                result = record["result"]
                return Summary(rows=result["rows"], failed=result["failed"], finished=True)
        elif out.exists():
            raise ArtQuantError(
                f"'{out}' exists and no record of a run is beside it; pass --overwrite or another --out"
            )
        write_record(record_path, now)
        meter = Meter(source.count(), show=show)
        complete(out, journal_path, engine, source.records(), meter)
        summary = meter.close()
        result = {"rows": summary.rows, "failed": summary.failed, "seconds": round(summary.seconds, 1)}
        write_record(record_path, now, result=result)
        journal_path.unlink()
    return summary


def complete(
    out: Path,
    journal_path: Path,
    engine: Engine,
    records: Iterator[tuple[Part, int, Any]],
    meter: Meter,
    *,
    allow_empty: bool = False,
) -> None:
    """Bring a journal to the end of its records, then write the result file; the journal stays.

    Args:
        out: the result file.
        journal_path: its journal, perhaps of an interrupted run.
        engine: what scores.
        records: all records of the file, those that the journal has included.
        meter: counts the rows.
        allow_empty: write a file without rows, too.

    Raises:
        ArtQuantError: there are no rows.
    """
    with Journal(journal_path) as journal:
        meter.earlier(journal.rows, journal.failed)
        items = (part.item(index, record) for part, index, record in islice(records, journal.rows, None))
        # The first item comes before the engine: a table without the image column is told before a model is loaded.
        first = next(items, None)
        if first is not None:
            for row in score_rows(engine, chain([first], items)):
                journal.append(row)
                meter.row(row)
        if not journal.rows and not allow_empty:
            raise ArtQuantError(EMPTY)
        write_rows(out, engine.form, journal.read())
