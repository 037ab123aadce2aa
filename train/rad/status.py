"""The lines of `artquant rad status`, on progress, and of `artquant rad generate --dry-run`, on prompts and cost."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from artquant_plugin.common.run_record import has_writer
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS
from artquant_plugin.train.rad.endpoint import first_form
from artquant_plugin.train.rad.plan import RadPlan
from artquant_plugin.train.rad.record import LOCK_FILE, RunRecord
from artquant_plugin.train.rad.steps import CHARACTERS_PER_TOKEN
from artquant_plugin.train.rad.store import STORE_FILE, RunStore

TYPICAL_SHARE = 0.5  # the typical cost of a request and its reply, as a share of the worst case that budgets assume


def status_lines(run: Path) -> list[str]:
    """Return lines about a run: counts, reasons, rounds, usage, cost, rate, and the time that is left.

    Args:
        run: the run directory; a run may be working on it.

    Raises:
        ArtQuantError: the folder is no run directory.
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
        unfinished, done = counts["pending"] + counts["refining"], counts["accepted"] + counts["failed"]
        left = len(store.positions(*store.chosen())) + sum(part.items for part in store.open_parts())
        if not has_writer(run / LOCK_FILE):
            if not unfinished:
                return [*lines, "finished"]
            if not left:
                return [*lines, f"finished what was asked for; {unfinished:,} other paintings are not described"]
            return [*lines, "not running; the command that began it goes on with it"]
        rate = store.requests_per_second()
        if rate is not None and done:
            requests = sum(sums.requests for sums in usage.values())
            lines.append(f"{rate:.1f} requests/s, about {_duration(left * requests / done / rate)} left")
        asked_for = "" if left == unfinished else f"; {left:,} paintings are left of what was asked for"
        return [*lines, f"running{asked_for}"]


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"


def preview(planned: RadPlan, *, splits: Sequence[str] | None, limit: int | None, batch: bool) -> list[str]:
    """Return lines with the first painting's prompts and the cost of all paintings. No request is sent, no key needed.

    Args:
        planned: the run that would be made.
        splits: count only paintings of these splits; None for all splits.
        limit: count only the first so many of them; None for all.
        batch: whether the prices of the Batch API apply to sides that use it.
    """
    config, steps = planned.config, planned.steps
    items = [item for item in planned.items() if splits is None or item.split in splits][:limit]
    if not items:
        return ["no painting is chosen"]
    item = items[0]
    drafted = replace(item, rounds=1, draft={level: "…" for level in DESCRIPTION_LEVELS})
    lines = [f"{len(items):,} paintings; the first one, '{item.image}' of {item.split}:"]
    asks = {}
    for side, asked in (("generator", item), ("judge", drafted)):
        section = config.generator if side == "generator" else config.judge
        asks[side] = request = steps.request(asked, form=first_form(section), picture="(the picture)")
        system, user = request.body["messages"]
        seen = "[the picture]\n" if side == "generator" else ""
        lines += [f"--- {side} {section.model}, system", system["content"], f"--- {side}, user", seen + request.text]
    lines.append("---")
    worst = {
        side: steps.worst_case(request, batch=batch and steps.side(request.side).batch)
        for side, request in asks.items()
    }
    once = sum(worst.values()) * len(items)
    if not once:
        return [*lines, "cost: no prices in the configuration"]
    lines.append(
        f"cost: about {once * TYPICAL_SHARE:.2f} with one round each; at most {once * config.rounds:.2f} "
        f"({config.rounds} rounds each, {1 / CHARACTERS_PER_TOKEN:g} tokens per character, longest replies)"
    )
    return lines
