"""What the store of a RAD run holds, as records."""

from dataclasses import dataclass
from typing import Literal

State = Literal["pending", "refining", "accepted", "failed"]
Side = Literal["generator", "judge"]
STATES: tuple[State, ...] = ("pending", "refining", "accepted", "failed")


@dataclass(frozen=True, slots=True)
class PaintingResult:
    """One painting as the run left it.

    Args:
        id: of the painting, unique in the dataset.
        split: of the dataset.
        image: path relative to the dataset's image root.
        sha256: of the image file; empty where the dataset does not know it.
        score: mean human score, in the dataset's range.
        category: as in the dataset.
        state: ``pending`` was never asked about, ``refining`` has replies and no end yet, ``accepted``, ``failed``.
        reason: why it failed, one word such as ``refused``; None for the others.
        detail: the same in a sentence.
        rounds: descriptions that were asked for.
        description: text of each level; of accepted paintings alone.
        judge_score: the judge's estimate in the dataset's range; in blind mode alone.
        judge_reason: the judge's last words.
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
    """One painting as work: what the next request is made from.

    Args:
        position: in the data's order, from 0.
        id: see `PaintingResult`, as the others that stand there.
        split: of the dataset.
        image: relative path.
        sha256: of the image file.
        score: human score.
        category: of the painting.
        rounds: descriptions that were asked for so far.
        draft: description that waits for its verdict; None when the generator is next.
        feedback: what the generator is told about its last description; None in the first round.
        judge_tries: replies of the judge to the present draft that could not be used.
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
        """Who is asked next."""
        return "generator" if self.draft is None else "judge"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its reply.

    Args:
        position: of the painting.
        side: who was asked.
        round: which description this is about, from 1.
        outcome: ``ok``, or the reason why the reply cannot be used.
        frame: what requests share, as JSON: model, parameters, first message. Never a key.
        request: the message that is this painting's own, without the picture, whose hash stands with the painting.
        reply: text as it came; None when there was none.
        prompt_tokens: as the endpoint counted them; None when it did not say.
        completion_tokens: likewise.
        cost: in the configuration's currency.
        seconds: until the reply, retries of the client included.
        at: when it came, seconds since 1970.
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
    """What a painting becomes; the fields are those of `PaintingResult` and `WorkItem`."""

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
    """Sums over exchanges.

    Args:
        requests: number of exchanges.
        prompt_tokens: of all of them.
        completion_tokens: likewise.
        cost: in the configuration's currency.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchPart:
    """Requests that go to the Batch API as one file.

    Args:
        number: of the part.
        name: unique among all runs; stands in the batch's metadata, by which a batch is found again.
        side: who is asked.
        items: requests in it.
        file: id of the uploaded file, once it is known.
        batch: id of the batch, once it is known.
        status: ``open`` or ``done``.
        structured: whether its requests ask for structured outputs.
        reserved: the most that it can cost.
    """

    number: int
    name: str
    side: Side
    items: int
    file: str | None
    batch: str | None
    status: str
    structured: bool
    reserved: float
