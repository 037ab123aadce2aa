"""`artquant rad generate --dry-run`: one painting's prompts, and what all of them would cost."""

from collections.abc import Sequence
from dataclasses import replace

from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS
from artquant_plugin.train.rad.plan import Plan
from artquant_plugin.train.rad.steps import CHARACTERS_PER_TOKEN

TYPICAL = 0.5  # a prompt in English and a reply, as shares of the most that budgets count with


def preview(planned: Plan, *, splits: Sequence[str] | None, limit: int | None, batch: bool) -> list[str]:
    """Lines to print; nothing is sent and no key is needed.

    Args:
        planned: the run.
        splits: paintings of these alone.
        limit: the first so many alone.
        batch: whether the Batch API's prices count.
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
        asks[side] = request = steps.request(asked, structured=section.structured != "never", picture="(the picture)")
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
        f"cost: about {once * TYPICAL:.2f} with one round each; at most {once * config.rounds:.2f} "
        f"({config.rounds} rounds each, {1 / CHARACTERS_PER_TOKEN:g} tokens per character, longest replies)"
    )
    return lines
