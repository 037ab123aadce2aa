"""`artquant rad status`: how far a run is, read from its store while it works."""

from pathlib import Path

from filelock import FileLock, Timeout

from artquant_plugin.train.rad.record import read_record
from artquant_plugin.train.rad.run import LOCK_FILE
from artquant_plugin.train.rad.store import STORE_FILE, RunStore


def status_lines(run: Path) -> list[str]:
    """Counts, reasons, rounds, cost, pace and the time that is left.

    Raises:
        ArtQuantError: no run directory.
    """
    with RunStore(run / STORE_FILE, readonly=True) as store:
        record = read_record(run)
        counts, usage = store.counts(), store.usage()
        lines = []
        if record is not None:
            models = record.models
            lines.append(f"{record.data['name']}: {models['generator']} describes, {models['judge']} judges")
        total = sum(counts.values())
        lines.append(", ".join(f"{state} {count:,}" for state, count in counts.items()) + f" of {total:,}")
        lines += [f"  {count:,} {reason}" for reason, count in store.reasons().items()]
        for rounds, ends in store.rounds().items():
            ended = f"{ends['accepted']:,} accepted, {ends['failed']:,} failed"
            lines.append(f"after {rounds} round{'' if rounds == 1 else 's'}: {ended}")
        for (side, outcome), sums in usage.items():
            lines.append(
                f"{side} {outcome}: {sums.requests:,} requests, {sums.prompt_tokens:,} + {sums.completion_tokens:,} "
                f"tokens, cost {sums.cost:.4f}"
            )
        lines.append(f"cost {store.cost():.4f}")
        lines += [f"batch {part.batch}: {part.items:,} requests to the {part.side}" for part in store.open_parts()]
        left, done = counts["pending"] + counts["refining"], counts["accepted"] + counts["failed"]
        if not is_running(run):
            return [*lines, "finished" if not left else "not running; the command that began it goes on with it"]
        pace = store.pace()
        if pace is not None and done:
            requests = sum(sums.requests for sums in usage.values())
            lines.append(f"{pace:.1f} requests/s, about {_time(left * requests / done / pace)} left")
        return [*lines, "running"]


def is_running(run: Path) -> bool:
    """Whether a process works on a run."""
    if not (run / LOCK_FILE).is_file():
        return False
    lock = FileLock(run / LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"
