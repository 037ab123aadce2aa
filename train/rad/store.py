"""The store of a RAD run: one SQLite file with every painting's state and every request and reply.

A reply and the painting's new state are written in one transaction, so that a crash never leaves one without the
other. `RunStore(path, readonly=True)` can read while a run writes.
"""

import asyncio
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import refuse_link
from artquant_plugin.common.secrets import without_keys
from artquant_plugin.common.text import one_line, storable
from artquant_plugin.train.rad.store_rows import (
    REPLY_FORMS,
    STATES,
    BatchPart,
    Change,
    Exchange,
    PaintingResult,
    ReplyForm,
    Side,
    Usage,
    WorkItem,
)

STORE_FILE = "store.sqlite"
FORM_VERSION = 1
ROWS_AT_ONCE = 1000  # so many rows of a query are in memory at once
GATHER_SECONDS = 0.004  # a commit waits so long for further replies to write with it

_WriteJob = tuple[Sequence[Exchange], Sequence[Change], "asyncio.Future[None]"]


# The table `facts` holds the version of this form and, under ``structured.generator`` and ``structured.judge``, the
# form in which that endpoint gives replies. A form is stored, here and in `parts`, as its index in `REPLY_FORMS`.
# Under ``chosen`` it holds which paintings the latest process works on, as JSON.
# The table `frames` holds what many requests share, each once; see `Exchange.frame`.
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE, split TEXT NOT NULL, image TEXT NOT NULL, sha256 TEXT NOT NULL, score REAL NOT NULL,
    category TEXT,
    state TEXT NOT NULL DEFAULT 'pending', reason TEXT, detail TEXT, rounds INTEGER NOT NULL DEFAULT 0,
    description TEXT, judge_score REAL, judge_reason TEXT,
    draft TEXT, feedback TEXT, judge_tries INTEGER NOT NULL DEFAULT 0, part INTEGER
);
CREATE INDEX items_by_state ON items (state, reason);
CREATE INDEX items_by_part ON items (part) WHERE part IS NOT NULL;
CREATE TABLE frames (number INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE);
CREATE TABLE exchanges (
    number INTEGER PRIMARY KEY,
    position INTEGER NOT NULL, side TEXT NOT NULL, round INTEGER NOT NULL, outcome TEXT NOT NULL,
    frame INTEGER NOT NULL, request TEXT NOT NULL, reply TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL
);
CREATE TABLE totals (
    side TEXT NOT NULL, outcome TEXT NOT NULL, requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, cost REAL NOT NULL, PRIMARY KEY (side, outcome)
) WITHOUT ROWID;
CREATE TABLE parts (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, side TEXT NOT NULL, items INTEGER NOT NULL,
    file TEXT, batch TEXT, status TEXT NOT NULL DEFAULT 'open', structured INTEGER NOT NULL, reserved REAL NOT NULL
);
"""


_ITEM_COLUMNS = "position, id, split, image, sha256, score, category, rounds, draft, feedback, judge_tries"
_RESULT_COLUMNS = (
    "id, split, image, sha256, score, category, state, reason, detail, rounds, description, judge_score, judge_reason"
)
_UPDATE_ITEM = (
    "UPDATE items SET state = ?, rounds = ?, reason = ?, detail = ?, description = ?, judge_score = ?, "
    "judge_reason = ?, draft = ?, feedback = ?, judge_tries = ?, part = NULL WHERE position = ?"
)
_INSERT_EXCHANGE = (
    "INSERT INTO exchanges (position, side, round, outcome, frame, request, reply, prompt_tokens, completion_tokens, "
    "cost, seconds, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ADD_TO_TOTALS = (
    "INSERT INTO totals VALUES (?, ?, 1, ?, ?, ?) ON CONFLICT (side, outcome) DO UPDATE SET requests = requests + 1, "
    "prompt_tokens = prompt_tokens + excluded.prompt_tokens, "
    "completion_tokens = completion_tokens + excluded.completion_tokens, cost = cost + excluded.cost"
)


class RunStore:
    """The file store.sqlite of a run directory.

    Args:
        path: path of the file, which is made when it is absent, unless `readonly`.
        readonly: open the file for reading only; a run may be writing to it.
        keys: the keys of the endpoints, which are removed from every text that is written; None for an endpoint that
            wants no key.

    Raises:
        ArtQuantError: there is no such file to read, it is no store, or it has another form version. Every method
            raises it when the file cannot be read or written, such as on a full disk; an unfinished transaction then
            changes nothing.
    """

    def __init__(self, path: Path, readonly: bool = False, keys: Sequence[str | None] = ()) -> None:
        self.path = path
        self.keys = tuple(keys)
        if readonly and not path.is_file():
            raise ArtQuantError(
                f"'{path.parent}' holds no {STORE_FILE}; give the folder of `artquant rad generate --out`"
            )
        if not readonly:
            for ending in ("", "-wal", "-shm"):  # SQLite itself would follow a link in the place of its files
                refuse_link(path.with_name(path.name + ending))
        address = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
        try:
            # Only one thread at a time uses the connection: the event loop's, or a `StoreWriter`'s while it is open.
            self._connection = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA busy_timeout = 10000")
            if not readonly:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._make_tables()
            row = self._connection.execute("SELECT value FROM facts WHERE name = 'form_version'").fetchone()
        except sqlite3.OperationalError as error:  # a full disk, a file without permission, no such table
            raise ArtQuantError(
                f"'{path}' cannot be opened ({error}); make room on its disk, or mend its permissions, and run again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise ArtQuantError(f"'{path}' is no store of a RAD run ({error}); give another folder") from error
        version = row[0] if row else None
        if version != str(FORM_VERSION):
            raise ArtQuantError(f"'{path}' has form version {version}, this release reads {FORM_VERSION}")
        self._frames: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _make_tables(self) -> None:
        """Make the tables in a new file; leave those of an existing store as they are."""
        self._connection.execute("BEGIN IMMEDIATE")
        if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone():
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            self._connection.execute("INSERT INTO facts VALUES ('form_version', ?)", (str(FORM_VERSION),))
        self._connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A context whose writes take effect together when it ends, or not at all when an error leaves it.

        Raises:
            ArtQuantError: the file cannot be written.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:  # SQLite has rolled back by itself where the disk is full
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self.not_written(error) from error
            raise

    def not_written(self, error: BaseException) -> ArtQuantError:
        """Make the error that says that the file cannot be written.

        Args:
            error: the cause, an error of SQLite or any other.
        """
        remedy = "make room on its disk and run again to go on"
        if not isinstance(error, sqlite3.Error):
            remedy = "run again to go on"
        return ArtQuantError(f"'{self.path}' cannot be written ({one_line(error)}); {remedy}")

    def _fetch_all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query."""
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._not_read(error) from error

    def _fetch_one(self, query: str, values: Sequence[Any] = ()) -> Any:
        """Return the first row of a query, or None when it has no row."""
        return next(iter(self._fetch_all(query, values)), None)

    def _not_read(self, error: sqlite3.Error) -> ArtQuantError:
        return ArtQuantError(f"'{self.path}' cannot be read ({error}); look at its disk, or put a copy back")

    # Reading the results of a run.

    def results(self) -> Iterator[PaintingResult]:
        """Yield the result of every painting in the dataset's order, whatever its state."""
        for row in self._fetch_in_chunks(f"SELECT {_RESULT_COLUMNS} FROM items ORDER BY position"):
            values = list(row)
            values[10] = _parse_levels(row[10])
            yield PaintingResult(*values)

    def counts(self) -> dict[str, int]:
        """Number of paintings by state; a state without paintings has the number 0."""
        found = dict(self._fetch_all("SELECT state, count(*) FROM items GROUP BY state"))
        return {state: found.get(state, 0) for state in STATES}

    def reasons(self) -> dict[str, int]:
        """Number of failed paintings by reason, the most frequent first."""
        query = (
            "SELECT reason, count(*) AS n FROM items WHERE state = 'failed' GROUP BY reason ORDER BY n DESC, reason"
        )
        return dict(self._fetch_all(query))

    def rounds(self) -> dict[int, dict[str, int]]:
        """Number of accepted and failed paintings, by number of rounds and then by state."""
        query = (
            "SELECT rounds, state, count(*) FROM items WHERE state IN ('accepted', 'failed') GROUP BY rounds, state "
            "ORDER BY rounds"
        )
        found: dict[int, dict[str, int]] = {}
        for rounds, state, count in self._fetch_all(query):
            found.setdefault(rounds, {"accepted": 0, "failed": 0})[state] = count
        return found

    def exchanges(self, side: Side | None = None) -> Iterator[Exchange]:
        """Yield requests with their replies, in the order in which the replies came.

        Args:
            side: return those of this side alone; None for both sides.
        """
        where = "" if side is None else "WHERE e.side = ?"
        query = (
            "SELECT e.position, e.side, e.round, e.outcome, f.content, e.request, e.reply, e.prompt_tokens, "
            "e.completion_tokens, e.cost, e.seconds, e.at FROM exchanges e JOIN frames f ON f.number = e.frame "
            f"{where} ORDER BY e.number"
        )
        for row in self._fetch_in_chunks(query, () if side is None else (side,)):
            yield Exchange(*row)

    def usage(self) -> dict[tuple[Side, str], Usage]:
        """Sums over all exchanges, by side and outcome (``ok``, or the reason why a reply could not be used)."""
        query = "SELECT side, outcome, requests, prompt_tokens, completion_tokens, cost FROM totals ORDER BY 1, 2"
        return {(side, outcome): Usage(*sums) for side, outcome, *sums in self._fetch_all(query)}

    def cost(self) -> float:
        """Sum of the costs of all exchanges, in the configuration's currency."""
        return self._fetch_one("SELECT coalesce(sum(cost), 0.0) FROM totals")[0]

    def requests_per_second(self, last: int = 1000) -> float | None:
        """Exchanges per second from the first of the latest exchanges until now; None when there are fewer than two.

        Args:
            last: how many of the latest exchanges are looked at.
        """
        query = "SELECT min(at), count(*) FROM (SELECT at FROM exchanges ORDER BY number DESC LIMIT ?)"
        first, count = self._fetch_one(query, (last,))
        return None if count < 2 else count / max(time.time() - first, 1e-3)

    def reply_form(self, side: Side) -> ReplyForm | None:
        """The form in which a side's endpoint gives replies; None when no earlier process of this run found it out.

        Args:
            side: the side whose endpoint is meant.
        """
        row = self._fetch_one("SELECT value FROM facts WHERE name = ?", (f"structured.{side}",))
        return None if row is None else REPLY_FORMS[int(row[0])]

    def chosen(self) -> tuple[list[str] | None, int | None]:
        """The splits and the limit of the latest process, as `positions` takes them; None and None for all paintings.

        A store of an earlier release, which kept neither, has None and None as well.
        """
        row = self._fetch_one("SELECT value FROM facts WHERE name = 'chosen'", ())
        splits, limit = (None, None) if row is None else json.loads(row[0])
        return splits, limit

    # Reading what a run works on.

    def positions(
        self, splits: Sequence[str] | None = None, limit: int | None = None, side: Side | None = None
    ) -> list[int]:
        """Positions of the unfinished paintings that are in no batch, ascending.

        Args:
            splits: names of the splits whose paintings are returned; None for all splits.
            limit: consider only the first so many paintings of these splits, finished ones included; None for all.
            side: return only paintings whose next request goes to this side; None for both sides.
        """
        of_side = {None: "", "generator": "AND draft IS NULL", "judge": "AND draft IS NOT NULL"}[side]
        chosen = "" if splits is None else f"WHERE split IN ({', '.join('?' * len(splits))})"
        query = (
            f"SELECT position FROM (SELECT position, state, part, draft FROM items {chosen} ORDER BY position "
            "LIMIT ?) "
            f"WHERE state IN ('pending', 'refining') AND part IS NULL {of_side} ORDER BY position"
        )
        return [row[0] for row in self._fetch_all(query, (*(splits or ()), -1 if limit is None else limit))]

    def items(self, positions: Sequence[int]) -> list[WorkItem]:
        """Read the paintings at the given positions, with what their next requests are made from.

        Args:
            positions: positions of paintings, all of which must be in the store.

        Returns:
            One painting for each position, in the order of `positions`.
        """
        found = {}
        for start in range(0, len(positions), ROWS_AT_ONCE):
            some = positions[start : start + ROWS_AT_ONCE]
            query = f"SELECT {_ITEM_COLUMNS} FROM items WHERE position IN ({', '.join('?' * len(some))})"
            for row in self._fetch_all(query, some):
                found[row[0]] = _work_item(row)
        return [found[position] for position in positions]

    def open_parts(self) -> list[BatchPart]:
        """The parts whose replies are not in the store yet, in the order in which they were made."""
        query = (
            "SELECT number, name, side, items, file, batch, status, structured, reserved FROM parts "
            "WHERE status = 'open' ORDER BY number"
        )
        return [
            BatchPart(number, name, side, items, file, batch, status, REPLY_FORMS[form], reserved)
            for number, name, side, items, file, batch, status, form, reserved in self._fetch_all(query)
        ]

    def in_part(self, number: int, positions: Sequence[int] | None = None) -> list[WorkItem]:
        """The paintings for which a part still has no reply.

        Args:
            number: the part's number, as `open_parts` gives it.
            positions: return only paintings at these positions; None for all of the part.
        """
        query = f"SELECT {_ITEM_COLUMNS} FROM items WHERE part = ?"
        if positions is not None:
            query += f" AND position IN ({', '.join('?' * len(positions))})"
        return [_work_item(row) for row in self._fetch_all(query, (number, *(positions or ())))]

    def has_lasting_work(self) -> bool:
        """Whether starting over would lose a painting's progress, a paid reply, or an uploaded batch file."""
        query = (
            "SELECT EXISTS (SELECT 1 FROM items WHERE state != 'pending') "
            "OR EXISTS (SELECT 1 FROM totals WHERE cost > 0) OR EXISTS (SELECT 1 FROM parts WHERE file IS NOT NULL)"
        )
        return bool(self._fetch_one(query)[0])

    def _fetch_in_chunks(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield the rows of a query; `ROWS_AT_ONCE` of them are in memory at once."""
        try:
            cursor = self._connection.execute(query, values)
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                yield from rows
        except sqlite3.Error as error:
            raise self._not_read(error) from error

    # Writing.

    def keep_reply_form(self, side: Side, form: ReplyForm) -> None:
        """Keep the form in which a side's endpoint gives replies, for later processes of this run.

        Args:
            side: the side whose endpoint is meant.
            form: the form of a request that it answered.
        """
        with self.transaction():
            values = (f"structured.{side}", str(REPLY_FORMS.index(form)))
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", values)

    def keep_chosen(self, splits: Sequence[str] | None, limit: int | None) -> None:
        """Keep which paintings this process works on, for those who look at the run's status.

        Args:
            splits: names of the splits whose paintings are described; None for all splits.
            limit: only the first so many paintings of these splits, finished ones included; None for all.
        """
        with self.transaction():
            values = ("chosen", json.dumps([None if splits is None else list(splits), limit]))
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", values)

    def fill(self, items: Iterable[WorkItem]) -> None:
        """Enter the paintings of a new run, all of them or none.

        Args:
            items: the paintings; their draft, feedback and counts are not written.
        """
        rows = ((i.position, i.id, i.split, i.image, i.sha256, i.score, i.category) for i in items)
        query = "INSERT INTO items (position, id, split, image, sha256, score, category) VALUES (?, ?, ?, ?, ?, ?, ?)"
        with self.transaction():
            self._connection.executemany(query, rows)

    def write(self, exchanges: Sequence[Exchange], changes: Sequence[Change]) -> None:
        """Write exchanges and the paintings' new states in one transaction.

        Args:
            exchanges: requests that have ended, with their replies.
            changes: the paintings' new states; these paintings no longer belong to a batch.
        """
        with self.transaction():
            self.add(exchanges, changes)

    def add(self, exchanges: Sequence[Exchange], changes: Sequence[Change]) -> None:
        """Like `write`, but the caller must have opened the transaction."""
        for exchange in exchanges:
            values = (exchange.prompt_tokens or 0, exchange.completion_tokens or 0, exchange.cost)
            self._connection.execute(_ADD_TO_TOTALS, (exchange.side, exchange.outcome, *values))
        self._connection.executemany(
            _INSERT_EXCHANGE,
            (
                (e.position, e.side, e.round, e.outcome, self._frame_number(e.frame), self._clean_text(e.request),
                 self._clean_text(e.reply), e.prompt_tokens, e.completion_tokens, e.cost, e.seconds, e.at)
                for e in exchanges
            ),
        )  # fmt: skip
        self._connection.executemany(
            _UPDATE_ITEM,
            (
                (c.state, c.rounds, c.reason, self._clean_text(c.detail), self._levels_json(c.description),
                 c.judge_score, self._clean_text(c.judge_reason), self._levels_json(c.draft),
                 self._clean_text(c.feedback), c.judge_tries, c.position)
                for c in changes
            ),
        )  # fmt: skip

    def _clean_text(self, text: str | None) -> str | None:
        """Remove the endpoints' keys and other secrets from a text, and replace what UTF-8 cannot encode."""
        return None if text is None else storable(without_keys(text, self.keys))

    def _levels_json(self, levels: dict[str, str] | None) -> str | None:
        if levels is None:
            return None
        return json.dumps({level: self._clean_text(text) for level, text in levels.items()}, ensure_ascii=False)

    def _frame_number(self, content: str) -> int:
        """Return the number of a frame in the table `frames`, where it is entered if it is new."""
        number = self._frames.get(content)
        if number is None:
            self._connection.execute("INSERT OR IGNORE INTO frames (content) VALUES (?)", (content,))
            query = "SELECT number FROM frames WHERE content = ?"
            number = self._frames[content] = self._connection.execute(query, (content,)).fetchone()[0]
        return number

    def make_part(self, name: str, side: Side, positions: Sequence[int], *, form: ReplyForm, reserved: float) -> None:
        """Put paintings into a new part, so that nothing else asks about them.

        Args:
            name: a name that is unique among all runs; the batch's metadata holds it, so that it can be found again.
            side: which side the part's requests ask.
            positions: positions of the paintings that its requests are about.
            form: the form in which its requests ask for their replies.
            reserved: the most that its requests can cost together.
        """
        query = "INSERT INTO parts (name, side, items, structured, reserved) VALUES (?, ?, ?, ?, ?)"
        with self.transaction():
            values = (name, side, len(positions), REPLY_FORMS.index(form), reserved)
            number = self._connection.execute(query, values).lastrowid
            self._connection.executemany(
                "UPDATE items SET part = ? WHERE position = ?", ((number, position) for position in positions)
            )

    def part_sent(self, number: int, *, file: str | None = None, batch: str | None = None) -> None:
        """Keep the ids that the provider gave to a part's file and to its batch.

        Args:
            number: the part's number, as `open_parts` gives it.
            file: id of the uploaded file; None keeps the earlier id.
            batch: id of the batch; None keeps the earlier id.
        """
        query = "UPDATE parts SET file = coalesce(?, file), batch = coalesce(?, batch) WHERE number = ?"
        with self.transaction():
            self._connection.execute(query, (file, batch, number))

    def part_done(self, number: int) -> int:
        """Close a part and free its paintings without a reply, so that they can be asked about again.

        Args:
            number: the part's number, as `open_parts` gives it.

        Returns:
            Number of the freed paintings.
        """
        with self.transaction():
            free = self._connection.execute("UPDATE items SET part = NULL WHERE part = ?", (number,)).rowcount
            self._connection.execute("UPDATE parts SET status = 'done' WHERE number = ?", (number,))
        return free

    def retry_failed(self) -> int:
        """Make all failed paintings pending again; the store keeps their exchanges.

        Returns:
            Number of paintings that had failed.
        """
        query = (
            "UPDATE items SET state = 'pending', reason = NULL, detail = NULL, rounds = 0, judge_score = NULL, "
            "judge_reason = NULL, draft = NULL, feedback = NULL, judge_tries = 0 WHERE state = 'failed'"
        )
        with self.transaction():
            return self._connection.execute(query).rowcount


def _work_item(row: Sequence[Any]) -> WorkItem:
    values = list(row)
    values[8] = _parse_levels(row[8])
    return WorkItem(*values)


def _parse_levels(text: str | None) -> dict[str, str] | None:
    return None if text is None else json.loads(text)


class StoreWriter:
    """Writes to a store in a thread of its own, so that an event loop need not wait; an async context manager.

    Whatever arrives within `GATHER_SECONDS` is written in one commit, so that hundreds of replies per second need only
    about a hundred commits.

    Args:
        store: a store that is open for writing; nothing else uses it until the writer is closed.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._jobs: queue.SimpleQueue[_WriteJob | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_until_closed, name="artquant-rad-store")

    async def __aenter__(self) -> "StoreWriter":
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def write(self, exchanges: Sequence[Exchange], changes: Sequence[Change]) -> None:
        """Write exchanges and changes, and return once both are on the disk.

        Args:
            exchanges: requests that have ended, with their replies.
            changes: the paintings' new states; these paintings no longer belong to a batch.

        Raises:
            ArtQuantError: the file cannot be written, such as on a full disk.
        """
        written = self._loop.create_future()
        self._jobs.put((exchanges, changes, written))
        await written

    def _write_until_closed(self) -> None:
        """Write what `write` puts into the queue, until None in the queue says that the writer is closed."""
        more = True
        while more:
            first = self._jobs.get()
            if first is None:
                return
            jobs = [first]
            time.sleep(GATHER_SECONDS)
            while not self._jobs.empty():
                job = self._jobs.get()
                if job is None:
                    more = False
                    break
                jobs.append(job)
            error: BaseException | None = None
            try:
                self._store.write([e for job in jobs for e in job[0]], [c for job in jobs for c in job[1]])
            except ArtQuantError as problem:
                error = problem
            except BaseException as problem:  # any error must reach those who wait, or they would wait for ever
                error = self._store.not_written(problem)
                error.__cause__ = problem
            self._loop.call_soon_threadsafe(_tell_waiting, [job[2] for job in jobs], error)


def _tell_waiting(written: Sequence["asyncio.Future[None]"], error: BaseException | None) -> None:
    for future in written:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
