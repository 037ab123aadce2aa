"""What a scripted endpoint may answer."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Says:
    """A completion beyond its text.

    Args:
        text: content; None with a refusal.
        refusal: in the protocol's form.
        finish: ``stop``, ``length``, ``content_filter``.
        usage: tokens of prompt and reply; None leaves the counts out. As many as the default has hold the prompts of
            the tests, whose texts have up to 10,000 characters.
        delay: seconds, beside the endpoint's own.
    """

    text: str | None = None
    refusal: str | None = None
    finish: str = "stop"
    usage: tuple[int, int] | None = (1000, 1)
    delay: float = 0.0


@dataclass(frozen=True)
class Fails:
    """An HTTP error.

    Args:
        status: of the response.
        headers: of it, such as ``retry-after``.
        code: the error's, such as ``insufficient_quota``.
        message: the error's.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    code: str | None = None
    message: str = "injected"

    def body(self) -> dict[str, Any]:
        """As the protocol writes it."""
        return {"error": {"message": self.message, "type": "injected", "code": self.code}}


@dataclass(frozen=True)
class Cuts:
    """A connection that ends without a response, or in the middle of one.

    Args:
        begun: whether the response has begun.
    """

    begun: bool = False


@dataclass(frozen=True)
class Sends:
    """Any bytes as the response, piece by piece.

    Args:
        body: the bytes of the response; None where `pieces` makes them.
        status: of the response.
        headers: of it, beside the length of the body.
        pieces: makes the pieces of the body, which are sent without a length.
        pause: seconds between two pieces.
    """

    body: bytes | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    pieces: Callable[[], Iterable[bytes]] | None = None
    pause: float = 0.0


Answer = str | Says | Fails | Cuts | Sends
