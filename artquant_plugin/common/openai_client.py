"""The one client for servers that speak the OpenAI protocol, and what its errors mean for a run.

Whatever goes wrong with a request becomes one of three errors:

- `RequestRefused`: the server will not take this request; it may take others.
- `RequestUnanswered`: no usable reply came, after the client's own retries; either the request or the server is at
  fault.
- `EndpointDown`: the run cannot go on with this server.

Importing this module does not import `openai`, which takes a second.
"""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion

FILTERED = ("content_filter", "content_policy_violation")  # codes by which a provider's filter refuses a request
RETRIED = (408, 409, 429)  # statuses that the client sends again, besides those from 500 on


class RequestFailed(Exception):
    """A request that got no usable reply; `RequestRefused` and `RequestUnanswered` say which kind.

    Args:
        reason: one word, such as ``http_400`` or ``timeout``.
        detail: the server's words, or what the client saw, in one line and without the key.
        status: the reply's HTTP status; None where no reply came or its status was no error.
    """

    def __init__(self, reason: str, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.status = status


class RequestRefused(RequestFailed):
    """The server will not take this request: ``refused`` by a provider's filter, or a status such as ``http_400``."""


class RequestUnanswered(RequestFailed):
    """No usable reply after the client's retries: ``connection``, ``timeout``, ``no_completion``, or ``http_429``."""


class EndpointDown(ArtQuantError):
    """The run cannot go on with this server; what is written stays, and a rerun goes on from there."""


@dataclass(frozen=True, slots=True)
class OpenAIServer:
    """A server, the model that is asked there, and the names by which messages tell a user what to change.

    Args:
        url: base address such as ``http://host:8000/v1``.
        model: the name by which the server knows the model.
        url_option: the option or setting that holds `url`.
        model_option: the option or setting that holds `model`.
        key: sent with every request as a bearer token; None for a server that wants none. No message contains it.
        key_variable: the environment variable that holds the key; None where none is configured.
        key_option: the setting that names the variable; it stands in messages where `key_variable` is None.
        role: what the server is used for, as in "no answer from judge"; empty where there is one server alone.
        timeout: seconds that one attempt may take, above 0.
        retries: how often the client repeats a request after 408, 409, 429, 5xx or a lost connection; 0 or more. It
            waits as long as the server says, or about 0.5, 1, 2, … up to 8 seconds.
    """

    url: str
    model: str
    url_option: str
    model_option: str
    key: str | None = field(default=None, repr=False)
    key_variable: str | None = None
    key_option: str = ""
    role: str = ""
    timeout: float = 120.0
    retries: int = 5

    def connect(self) -> "openai.AsyncOpenAI":
        """Make a client; call it within the event loop that uses it, and `close` the client there.

        The client speaks through aiohttp and keeps a thousand connections at most; a caller that wants fewer requests
        at once counts them itself.
        """
        import openai

        return openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self.key or "none",
            max_retries=self.retries,
            timeout=self.timeout,
            http_client=openai.DefaultAioHttpClient(timeout=self.timeout),
        )

    async def complete(
        self, client: "openai.AsyncOpenAI", body: dict[str, Any], *, forbidden_is_key: bool = True
    ) -> "ChatCompletion":
        """Send one chat completion request and wait for its reply.

        Args:
            client: made by `connect` in the running event loop.
            body: the whole request as JSON: ``model``, ``messages`` and every other field.
            forbidden_is_key: whether status 403 means that the key is refused. A provider whose moderation answers 403
                to single requests needs False once it has answered another one.

        Raises:
            RequestRefused: the server will not take this request.
            RequestUnanswered: no reply came, or one that is no completion.
            EndpointDown: the key, the account or the model is the trouble, so that every request would fail.
        """
        import openai
        from openai.types.chat import ChatCompletion

        try:
            # The whole body as `extra_body`, which goes over the rest: the client would walk through every message for
            # keys to rename, of which there are none, and spend a third of its time on it.
            reply = await client.chat.completions.create(model=self.model, messages=[], extra_body=body)
        except openai.APIError as error:
            raise self.meaning(error, forbidden_is_key=forbidden_is_key) from error
        except json.JSONDecodeError as error:
            raise RequestUnanswered("no_completion", f"a reply that is no JSON ({error})") from error
        if not isinstance(reply, ChatCompletion):  # the client hands text through, such as a proxy's page
            raise RequestUnanswered("no_completion", "a reply that is no completion")
        return reply

    def meaning(self, error: "openai.APIError", *, forbidden_is_key: bool = True) -> RequestFailed | EndpointDown:
        """The one of the three errors that an error of the client stands for.

        Args:
            error: raised by a client of `connect`.
            forbidden_is_key: whether status 403 means that the key is refused, as for `complete`.
        """
        import openai

        if isinstance(error, openai.APIConnectionError):
            # The aiohttp transport calls a connection that the server closes a timeout; Python's own error tells.
            if isinstance(_first_cause(error), TimeoutError):
                return RequestUnanswered("timeout", f"no answer within {self.timeout:g} s")
            return RequestUnanswered("connection", self.said(error))
        if not isinstance(error, openai.APIStatusError):
            return RequestUnanswered("no_completion", self.said(error))
        status, code, said = error.status_code, error.code, self.said(error)
        if status == 401 or (status == 403 and forbidden_is_key):
            return self.key_refused(said)
        if status == 402 or code == "insufficient_quota":
            return EndpointDown(f"the account at '{self.url}' is used up ({said}); top it up and run again to go on")
        if status == 404:
            return EndpointDown(
                f"'{self.url}' knows no model '{self.model}' ({said}); mend {self.model_option}, or end "
                f"{self.url_option} with /v1"
            )
        if status in RETRIED or status >= 500:
            return RequestUnanswered(f"http_{status}", said, status)
        return RequestRefused("refused" if code in FILTERED else f"http_{status}", said, status)

    def key_refused(self, said: str) -> EndpointDown:
        """The error that ends a run whose key the server does not take.

        Args:
            said: the server's words, from `said`.
        """
        if self.key_variable is None:
            remedy = f"set {self.key_option} to the name of the variable that holds it"
            return EndpointDown(f"'{self.url}' wants a key ({said}); {remedy}")
        state = "refuses the key" if self.key else "wants a key"
        return EndpointDown(f"'{self.url}' {state} in ${self.key_variable} ({said}); set it and run again")

    def no_answer(self, said: str) -> EndpointDown:
        """The error that ends a run whose server does not answer.

        Args:
            said: what went wrong, from `said` or from a `RequestUnanswered`.
        """
        role = f"{self.role} " if self.role else ""
        return EndpointDown(
            f"no answer from {role}'{self.url}' ({said}); start the server or mend {self.url_option}, and run again "
            "to go on"
        )

    def said(self, error: "openai.APIError") -> str:
        """What an error of the client says, in one line.

        The key is taken out, since some servers repeat it. Of a lost connection, the system's own error is told.

        Args:
            error: raised by a client of `connect`.
        """
        import openai

        told: object = error.message
        if isinstance(error, openai.APIConnectionError):
            told = _first_cause(error)
        elif isinstance(error.body, dict) and isinstance(error.body.get("message"), str):
            told = error.body["message"]
        return self.without_key(told)

    def without_key(self, text: object) -> str:
        """A text or an exception's message in one line, with ``[key]`` in the place of the key.

        Args:
            text: whatever a server or the system says.
        """
        line = str(text).replace(self.key, "[key]") if self.key and self.key in str(text) else text
        return one_line(line)


def _first_cause(error: BaseException) -> BaseException:
    """The error at the beginning of a chain of causes; the error itself when it has none."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
