"""The rules of a run, without any I/O: how a painting's next request is made, and how a reply changes the painting.

The live engine and the Batch API follow the same rules.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import DatasetInfo
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS
from artquant_plugin.train.rad.config import EndpointSection, RadConfig
from artquant_plugin.train.rad.leaks import find_score
from artquant_plugin.train.rad.prompts import Prompts
from artquant_plugin.train.rad.replies import Reply, ReplyError, Verdict, read_estimate, read_levels, read_verdict
from artquant_plugin.train.rad.store_rows import Change, Exchange, ReplyForm, Side, WorkItem

JUDGE_TRIES = 2  # a painting fails after so many unusable replies of the judge to one description
CHARACTERS_PER_TOKEN = 2  # English has about four; with two, the estimate of a prompt's tokens is on the safe side


@dataclass(frozen=True, slots=True)
class Request:
    """A request to one side about one painting.

    Args:
        side: the side that is asked.
        frame: the part of the body that many requests share, as JSON text; the store keeps it once.
        text: the user message about this painting, without its picture.
        body: the whole request as a JSON object, with the picture if one was given.
        tokens: the most tokens that the request and its reply can have together.
        reply_tokens: the most tokens that the reply can have; 0 where the configuration sets no limit.
    """

    side: Side
    frame: str
    text: str
    body: dict[str, Any]
    tokens: int
    reply_tokens: int


def _schema(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


_TEXT = {"type": "string"}
_SCHEMAS = {
    "generator": _schema("description", dict.fromkeys(DESCRIPTION_LEVELS, _TEXT)),
    "consistency": _schema("verdict", {"consistent": {"type": "boolean"}, "reason": _TEXT}),
    "blind": _schema("estimate", {"score": {"type": "number"}, "reason": _TEXT}),
}


class Steps:
    """Makes requests and decides what a reply means for a painting.

    Args:
        config: the run's configuration, files and overrides merged.
        info: the dataset whose paintings are described.
        prompts: the templates, filled for paintings of this dataset.
    """

    def __init__(self, config: RadConfig, info: DatasetInfo, prompts: Prompts) -> None:
        self.config = config
        self.info = info
        self.prompts = prompts
        self._frames: dict[tuple[str, str, ReplyForm], str] = {}

    def side(self, side: Side) -> EndpointSection:
        """Return one side's section of the configuration.

        Args:
            side: the side whose section is returned, ``generator`` or ``judge``.
        """
        return self.config.generator if side == "generator" else self.config.judge

    def request(self, item: WorkItem, *, form: ReplyForm, picture: str | None = None) -> Request:
        """Make the painting's next request.

        Args:
            item: the painting; the judge is asked if it has a draft, and the generator if not.
            form: how the request asks for JSON, in addition to the words of the prompts.
            picture: the painting's picture as a data URI, for the generator; the judge sees none.
        """
        side = item.side
        section = self.side(side)
        mode = "generator" if side == "generator" else self.config.judge.mode
        system, user = self.prompts.generate(item) if side == "generator" else self.prompts.judge(mode, item)
        shared: dict[str, Any] = {"model": section.model, **section.parameters}
        if form != "text":
            shared["response_format"] = _SCHEMAS[mode] if form == "schema" else {"type": "json_object"}
        opening = {"role": "system", "content": system}
        content: Any = user
        if side == "generator":
            content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": user}]
        body = {**shared, "messages": [opening, {"role": "user", "content": content}]}
        key = (mode, system, form)
        if key not in self._frames:
            self._frames[key] = json.dumps({**shared, "messages": [opening]}, ensure_ascii=False)
        picture_tokens = self.config.images.tokens if side == "generator" else 0
        reply_tokens = section.reply_cap or 0
        prompt_tokens = (len(system) + len(user)) // CHARACTERS_PER_TOKEN + picture_tokens
        return Request(side, self._frames[key], user, body, prompt_tokens + reply_tokens, reply_tokens)

    def worst_case(self, request: Request, *, batch: bool = False) -> float:
        """The most that a request and its reply can cost, in the configuration's currency.

        Args:
            request: a request that has not been sent yet.
            batch: whether the prices of the Batch API apply.
        """
        return self.cost(
            request.side, request.tokens - request.reply_tokens, request.reply_tokens, batch=batch
        )  # fmt: skip

    def cost(self, side: Side, prompt_tokens: int, completion_tokens: int, *, batch: bool = False) -> float:
        """Compute what tokens cost, in the configuration's currency.

        Args:
            side: the side whose prices apply.
            prompt_tokens: number of tokens of the request.
            completion_tokens: number of tokens of the reply.
            batch: whether the prices of the Batch API apply.
        """
        price = self.side(side).price
        sum_ = (prompt_tokens * price.input + completion_tokens * price.output) / 1e6
        return sum_ * (price.batch if batch else 1.0)

    def apply(self, item: WorkItem, reply: Reply) -> tuple[str, Change]:
        """Read a reply and decide how it changes the painting.

        Args:
            item: the painting as it was when the request was made.
            reply: the reply of the side that was asked.

        Returns:
            The exchange's outcome (``ok`` or a reason), and the change.
        """
        return self._after_description(item, reply) if item.side == "generator" else self._after_judgement(item, reply)

    def failed(self, item: WorkItem, reason: str, detail: str) -> Change:
        """Make the change by which a painting fails because its request got no usable reply.

        Args:
            item: the painting that the request was about.
            reason: one word, such as ``http_400``.
            detail: the reason in a sentence.
        """
        rounds = item.rounds + (item.side == "generator")
        return Change(item.position, "failed", rounds, reason=reason, detail=detail)

    def unreadable(self, item: WorkItem, error: ArtQuantError) -> Change:
        """Make the change by which a painting fails because its picture cannot be sent; no request is made.

        Args:
            item: the painting whose picture cannot be sent.
            error: the error that says why the picture cannot be sent.
        """
        return Change(item.position, "failed", item.rounds, reason="unreadable_image", detail=str(error))

    def exchange(
        self,
        item: WorkItem,
        request: Request,
        outcome: str,
        reply: Reply | None,
        *,
        cost: float,
        seconds: float,
        at: float,
    ) -> Exchange:
        """Make the store's record of a request that has ended.

        Args:
            item: the painting as it was when the request was made.
            request: the request as it was sent last, in the form that the endpoint answered.
            outcome: ``ok``, or the reason why the reply cannot be used.
            reply: the reply, or a text that says why there is none; None for neither.
            cost: what request and reply cost together, in the configuration's currency.
            seconds: time from sending to the reply; 0 for replies of the Batch API.
            at: the time of the reply, in seconds since 1970.
        """
        return Exchange(
            position=item.position,
            side=request.side,
            round=item.rounds + (request.side == "generator"),
            outcome=outcome,
            frame=request.frame,
            request=request.text,
            reply=reply.kept if reply else None,
            prompt_tokens=reply.prompt_tokens if reply else None,
            completion_tokens=reply.completion_tokens if reply else None,
            cost=cost,
            seconds=seconds,
            at=at,
        )

    def _after_description(self, item: WorkItem, reply: Reply) -> tuple[str, Change]:
        """Decide what the generator's reply changes: its description goes to the judge, or is written again."""
        rounds = item.rounds + 1
        try:
            levels = read_levels(reply, self._messages_not_to_copy(item))
            for text in levels.values():
                found = find_score(text, item.score, self.info.score_range[1])
                if found:
                    raise ReplyError("leaked_score", found)
        except ReplyError as error:
            feedback = item.feedback  # after a refusal, the earlier feedback is told again
            if error.reason == "leaked_score":
                feedback = self.prompts.feedback("leaked_score", item, found=error.detail)
            elif error.reason == "malformed":
                feedback = self.prompts.feedback("malformed", item, problem=error.detail)
            return error.reason, self._send_back_or_fail(item, rounds, error.reason, error.detail, feedback)
        return "ok", Change(item.position, "refining", rounds, draft=levels)

    def _after_judgement(self, item: WorkItem, reply: Reply) -> tuple[str, Change]:
        """Decide what the judge's reply changes: the description is accepted, sent back, or judged again."""
        try:
            verdict = self._read_judgement(item, reply)
        except ReplyError as error:
            tries = item.judge_tries + 1
            if tries >= JUDGE_TRIES:
                reason, detail = f"judge_{error.reason}", f"the judge's reply: {error.detail}"
                return error.reason, Change(item.position, "failed", item.rounds, reason=reason, detail=detail)
            feedback = self.prompts.feedback("no_verdict", item, problem=error.detail)
            again = Change(
                item.position, "refining", item.rounds, draft=item.draft, feedback=feedback, judge_tries=tries
            )  # fmt: skip
            return error.reason, again
        if self._accepts(item, verdict):
            accepted = Change(
                item.position,
                "accepted",
                item.rounds,
                description=item.draft,
                judge_score=verdict.score,
                judge_reason=verdict.reason,
            )
            return "ok", accepted
        name = "judged"
        if verdict.score is not None:
            name = "too_favourable" if verdict.score > item.score else "too_critical"
        feedback = self.prompts.feedback(name, item, reason=verdict.reason)
        return "ok", self._send_back_or_fail(item, item.rounds, "judge_rejected", verdict.reason, feedback, verdict)

    def _read_judgement(self, item: WorkItem, reply: Reply) -> Verdict:
        if self.config.judge.mode == "blind":
            return read_estimate(reply, self.info.score_range, self._messages_not_to_copy(item))
        return read_verdict(reply, self._messages_not_to_copy(item))

    def _messages_not_to_copy(self, item: WorkItem) -> tuple[str, str]:
        """Return the two messages of the painting's request, which a reply must not copy, without the feedback.

        Feedback may quote the earlier description or reply, and a new one may keep parts of it.
        """
        asked = replace(item, feedback=None)
        if item.side == "generator":
            return self.prompts.generate(asked)
        return self.prompts.judge(self.config.judge.mode, asked)

    def _accepts(self, item: WorkItem, verdict: Verdict) -> bool:
        if verdict.score is None:
            return bool(verdict.consistent)
        tolerance = self.config.judge.tolerance * self.prompts.statistics[item.split].deviation
        return abs(verdict.score - item.score) <= tolerance

    def _send_back_or_fail(
        self,
        item: WorkItem,
        rounds: int,
        reason: str,
        detail: str,
        feedback: str | None,
        verdict: Verdict | None = None,
    ) -> Change:
        """Send a painting back to the generator, or let it fail when it has had all of its rounds."""
        over = rounds >= self.config.rounds
        return Change(
            item.position,
            "failed" if over else "refining",
            rounds,
            reason=reason if over else None,
            detail=detail if over else None,
            judge_score=verdict.score if verdict else None,
            judge_reason=verdict.reason if verdict else None,
            feedback=None if over else feedback,
        )
