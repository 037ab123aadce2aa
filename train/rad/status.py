"""`artquant rad status`: how far a run is, read from its store while it works."""

from pathlib import Path

from artquant_plugin.common.run_record import has_writer
from artquant_plugin.train.rad.record import LOCK_FILE, RunRecord
from artquant_plugin.train.rad.store import STORE_FILE, RunStore


def status_lines(run: Path) -> list[str]:
    """Counts, reasons, rounds, cost, pace and the time that is left.

    Raises:
        ArtQuantError: no run directory.
    """
    with RunStore(run / STORE_FILE, readonly=True) as store:
        record = RunRecord.read(run)
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
        if not has_writer(run / LOCK_FILE):
            return [*lines, "finished" if not left else "not running; the command that began it goes on with it"]
        pace = store.pace()
        if pace is not None and done:
            requests = sum(sums.requests for sums in usage.values())
            lines.append(f"{pace:.1f} requests/s, about {_time(left * requests / done / pace)} left")
        return [*lines, "running"]


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"
