"""Results on disk: a journal while a file is being made, then the file in one step."""

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO

from artquant_plugin.bulk.rows import Form, Row
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.text import first_line

SUFFIXES = (".parquet", ".csv", ".jsonl")
ROWS_AT_ONCE = 10_000  # of a Parquet row group


class Journal:
    """Rows as they come, one JSON line each, so that an interrupted run loses none and computes none twice.

    Args:
        path: of the journal; a last line that was cut short is dropped when it is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.failed = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "Journal":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        self._file.seek(0)
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            self.rows += 1
            self.failed += json.loads(line)["reason"] is not None
        self._file.truncate(end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, row: Row) -> None:
        """Add a row; it survives the end of this process."""
        assert self._file is not None
        self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        self.rows += 1
        self.failed += row["reason"] is not None

    def read(self) -> Iterator[Row]:
        """All rows, in order."""
        with self.path.open("rb") as file:
            for line in file:
                yield json.loads(line)


def has_rows(journal_path: Path) -> bool:
    """Whether there is a journal with anything in it."""
    return journal_path.is_file() and journal_path.stat().st_size > 0


def write_rows(path: Path, form: Form, rows: Iterable[Row]) -> None:
    """Write a result file in one step; rows are streamed.

    Args:
        path: with one of `SUFFIXES`.
        form: its columns.
        rows: in order.
    """
    if path.suffix == ".parquet":
        _write_parquet(path, form, rows)
    elif path.suffix == ".csv":
        with atomic_write(path) as file:
            writer = csv.DictWriter(file, form.columns)
            writer.writeheader()
            writer.writerows(rows)
    else:
        with atomic_write(path) as file:
            for row in rows:
                file.write(json.dumps(form.nested(row), ensure_ascii=False, allow_nan=False) + "\n")


def _write_parquet(path: Path, form: Form, rows: Iterable[Row]) -> None:
    import pyarrow
    from pyarrow import parquet

    text = [("path", pyarrow.string())]
    numbers = [(name, pyarrow.float64()) for name in form.numbers]
    schema = pyarrow.schema([*text, *numbers, ("reason", pyarrow.string())])
    stream = iter(rows)
    with atomic_write(path, "wb") as file, parquet.ParquetWriter(file, schema) as writer:
        while batch := list(islice(stream, ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


def parquet_counts(path: Path) -> tuple[int, int]:
    """Rows and failed rows of a finished shard, from its footer.

    Raises:
        ArtQuantError: the file is no shard of ours.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.ParquetFile(path).metadata
    except pyarrow.ArrowInvalid as error:
        raise ArtQuantError(f"'{path}' is no Parquet file ({first_line(error)}); remove it") from error
    column = metadata.schema.names.index("reason")
    empty = sum(metadata.row_group(i).column(column).statistics.null_count for i in range(metadata.num_row_groups))
    return metadata.num_rows, metadata.num_rows - empty


def check_output(out: str) -> Path:
    """The path of --out, checked.

    Returns:
        A file with one of `SUFFIXES`, or a folder when `out` ends with a slash or is one.

    Raises:
        ArtQuantError: a suffix that is not known, or a remote location.
    """
    if "://" in out:
        raise ArtQuantError(f"--out '{out}' is not a local path; write here and upload, for example with `hf upload`")
    path = Path(out).expanduser()
    if is_folder(out):
        return path
    if path.suffix not in SUFFIXES:
        raise ArtQuantError(
            f"--out '{out}' ends with none of {', '.join(SUFFIXES)}, nor with / for a folder of shards"
        )
    return path


def is_folder(out: str) -> bool:
    """Whether --out names a folder of shards."""
    return out.endswith("/") or Path(out).expanduser().is_dir()
