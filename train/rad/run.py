"""`artquant rad generate`: what is checked before anything is sent, and the run itself."""

from collections.abc import Callable, Sequence
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.run_record import only_writer, refuse_changes
from artquant_plugin.train.rad.endpoint import read_key
from artquant_plugin.train.rad.limits import check_budget
from artquant_plugin.train.rad.meter import Summary, summary
from artquant_plugin.train.rad.pictures import check_images
from artquant_plugin.train.rad.plan import Plan
from artquant_plugin.train.rad.record import LOCK_FILE, RECORD_FILE, RunRecord
from artquant_plugin.train.rad.rows import Side
from artquant_plugin.train.rad.store import STORE_FILE, RunStore

MANY = 5000  # images whose check takes long enough to be announced


def generate(
    planned: Plan,
    run: Path,
    *,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    max_cost: float | None = None,
    retry_failed: bool = False,
    batch: bool = False,
    show: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Summary:
    """Describe what is not described yet; a run that was killed goes on.

    Args:
        planned: see `plan`.
        run: the run directory; made when absent.
        splits: paintings of these alone.
        limit: among the first so many of them alone.
        max_cost: stop before more than this is spent, earlier runs counted.
        retry_failed: ask again about paintings that failed.
        batch: through the Batch API, for those sides whose configuration says so.
        show: whether to draw a bar on a terminal.
        say: told of what takes long.

    Raises:
        ArtQuantError: the run cannot begin, or cannot go on; what is written stays.
    """
    check_options(planned, splits, limit, max_cost)
    with only_writer(run / LOCK_FILE, run):
        _begin(planned, run)
        with RunStore(run / STORE_FILE) as store:
            if retry_failed:
                store.retry_failed()
            positions = store.positions(splits, limit)
            if not positions and not store.open_parts():
                return summary(store)
            from artquant_plugin.train.rad.session import Options, session  # imports openai, which takes a second

            keys: dict[Side, str | None] = {
                "generator": read_key("generator", planned.config.generator),
                "judge": read_key("judge", planned.config.judge),
            }
            if len(positions) > MANY:
                say(f"looking at the headers of {len(positions):,} images")
            check_images(planned.data.image_root, store.items(positions))
            return session(planned, store, run, keys, Options(splits, limit, max_cost, batch, show, say))


def check_options(planned: Plan, splits: Sequence[str] | None, limit: int | None, max_cost: float | None) -> None:
    """What `generate` is asked for, before anything is written or sent.

    Args:
        planned: see `plan`.
        splits: see `generate`, as the others.
        limit: likewise.
        max_cost: likewise.

    Raises:
        ArtQuantError: a split that the dataset does not have, or a number that is none of its kind.
    """
    check_budget(max_cost, {"generator": planned.config.generator, "judge": planned.config.judge})
    if limit is not None and limit < 1:
        raise ArtQuantError(f"--limit {limit} is not positive; leave it out for all paintings")
    for split in splits or ():
        if split not in planned.splits:
            raise ArtQuantError(f"the dataset has no split {split!r}; it has {', '.join(planned.splits)}")


def _begin(planned: Plan, run: Path) -> None:
    """Make the run directory, or go on with one that was made from the same.

    One in which nothing was ever asked is made anew: whoever mends a model's name after a first error need not know.
    """
    store = run / STORE_FILE
    before = RunRecord.read(run)
    if store.exists():
        with RunStore(store) as opened:
            asked = opened.asked()
        if asked and before is None:
            raise ArtQuantError(f"'{run}' has a {STORE_FILE} and no {RECORD_FILE}; give another --out")
        if asked and before is not None:
            refuse_changes(run, before.identity, planned.record.identity, remedy="put it back, or pass another --out")
            planned.record.write(run)  # where the data is now, today's limits and prices
            return
        for suffix in ("", "-wal", "-shm"):
            store.with_name(store.name + suffix).unlink(missing_ok=True)
    planned.record.write(run)
    with RunStore(store) as made:
        made.fill(planned.items())
