"""What the methods of a RAD run's store take and return: rows of its tables as dataclasses."""

from dataclasses import dataclass
from typing import Literal

State = Literal["pending", "refining", "accepted", "failed"]
Side = Literal["generator", "judge"]
ReplyForm = Literal["text", "object", "schema"]
"""How a request asks for JSON: in words alone, as ``json_object``, or by a JSON schema."""

# The store keeps a form as its index in this tuple, so the order must never change.
REPLY_FORMS: tuple[ReplyForm, ...] = ("text", "schema", "object")
STATES: tuple[State, ...] = ("pending", "refining", "accepted", "failed")


@dataclass(frozen=True, slots=True)
class PaintingResult:
    """The present result of one painting, final or not.

    Args:
        id: the painting's name, unique in the dataset.
        split: the split of the dataset that the painting is in.
        image: path of the picture, relative to the dataset's image root.
        sha256: hash of the picture's file in hexadecimal digits; empty where the dataset does not know it.
        score: mean human score, in the dataset's range.
        category: the painting's category as the dataset has it; None where it has none.
        state: ``pending`` (never asked about), ``refining`` (asked about, not decided), ``accepted`` or ``failed``.
        reason: why the painting failed, one word such as ``refused``; None for paintings in another state.
        detail: the reason in a sentence; None for paintings that did not fail.
        rounds: number of descriptions that the generator was asked for, 0 or more.
        description: text of each level; None unless the painting was accepted.
        judge_score: a blind judge's estimate of the last description, in the dataset's range; None where there is
            none.
        judge_reason: the judge's reason for its verdict on the last description; None where there is none.
    """

    id: str
    split: str
    image: str
    sha256: str
    score: float
    category: str | None
    state: State
    reason: str | None
    detail: str | None
    rounds: int
    description: dict[str, str] | None
    judge_score: float | None
    judge_reason: str | None


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One painting with all that its next request is made from.

    Args:
        position: the painting's place in the data's order, from 0.
        id: the painting's name, unique in the dataset.
        split: the split of the dataset that the painting is in.
        image: path of the picture, relative to the dataset's image root.
        sha256: hash of the picture's file in hexadecimal digits; empty where the dataset does not know it.
        score: mean human score, in the dataset's range.
        category: the painting's category as the dataset has it; None where it has none.
        rounds: number of descriptions that the generator was asked for so far, 0 or more.
        draft: the description that waits for its verdict, by level; None when the generator is asked next.
        feedback: what the side that is asked next is told about its last reply: the generator about a description that
            was sent back, the judge about a reply that was no verdict; None where there is nothing to tell.
        judge_tries: number of the judge's replies to the present draft that could not be used.
    """

    position: int
    id: str
    split: str
    image: str
    sha256: str
    score: float
    category: str | None
    rounds: int = 0
    draft: dict[str, str] | None = None
    feedback: str | None = None
    judge_tries: int = 0

    @property
    def side(self) -> Side:
        """The side that is asked next: the generator, unless a draft waits for its verdict."""
        return "generator" if self.draft is None else "judge"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its reply.

    Args:
        position: the painting's place in the data's order, from 0.
        side: which of the two sides was asked.
        round: number of the painting's description that was asked for or judged, from 1.
        outcome: ``ok``, or the reason why the reply cannot be used.
        frame: the part of the request that many requests share, as JSON: model, parameters, system message; no key.
        request: the user message about this painting, without the picture, whose hash is in the table of paintings.
        reply: the reply's text as it came; None when there was none.
        prompt_tokens: number of tokens of the request, as the endpoint counted them; None when it did not say.
        completion_tokens: number of tokens of the reply, as the endpoint counted them; None when it did not say.
        cost: what the request and its reply cost, in the configuration's currency; 0 or more.
        seconds: time from sending to the reply, the client's retries included; 0 for replies of the Batch API.
        at: when the reply came, in seconds since 1970.
    """

    position: int
    side: Side
    round: int
    outcome: str
    frame: str
    request: str
    reply: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float
    seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class Change:
    """A painting's new state; every field replaces the former value, so that a field left out becomes None or 0.

    Args:
        position: the painting's place in the data's order, from 0.
        state: ``refining`` where another request follows, ``accepted``, or ``failed``.
        rounds: number of descriptions that the generator was asked for so far.
        reason: why the painting failed, one word; None unless it failed.
        detail: the reason in a sentence; None unless it failed.
        description: text of each level; None unless the painting is accepted.
        judge_score: a blind judge's estimate in the dataset's range; None where there is none.
        judge_reason: the judge's reason for its verdict; None where there is none.
        draft: the description that waits for its verdict, by level; None when the generator is asked next.
        feedback: what the side that is asked next is told about its last reply; None where there is nothing to tell.
        judge_tries: number of the judge's replies to the present draft that could not be used.
    """

    position: int
    state: State
    rounds: int
    reason: str | None = None
    detail: str | None = None
    description: dict[str, str] | None = None
    judge_score: float | None = None
    judge_reason: str | None = None
    draft: dict[str, str] | None = None
    feedback: str | None = None
    judge_tries: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over several exchanges.

    Args:
        requests: number of exchanges in the sum.
        prompt_tokens: number of tokens of all requests whose tokens the endpoint counted.
        completion_tokens: number of tokens of all replies whose tokens the endpoint counted.
        cost: sum of the exchanges' costs, in the configuration's currency.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchPart:
    """A part of a run's requests that goes to the Batch API as one file and becomes one batch.

    Args:
        number: the part's number in the store, from 1.
        name: a name that is unique among all runs; the batch's metadata holds it, so that it can be found again.
        side: the side to which the requests go.
        items: number of requests in the file.
        file: the provider's id of the uploaded file; None until it is known.
        batch: the provider's id of the batch; None until it is known.
        status: ``open`` until its replies are in the store, then ``done``.
        form: the form in which its requests ask for their replies.
        reserved: the most that its requests can cost together, in the configuration's currency.
    """

    number: int
    name: str
    side: Side
    items: int
    file: str | None
    batch: str | None
    status: str
    form: ReplyForm
    reserved: float
