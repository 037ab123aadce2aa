"""The errors of the Hub's client as errors of one line, and the repository that a publication goes to."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hub import hub_message

# The names that git allows (git-check-ref-format), so that a wrong one is refused before anything is sent.
_TAG = re.compile(
    r"(?!.*(?:\.\.|//|@\{|/\.|\.lock(?:/|$)))(?!@$|[-./])[^\x00-\x20\x7f~^:?*\[\\]*[^\x00-\x20\x7f~^:?*\[\\./]"
)


@dataclass(frozen=True, slots=True)
class Target:
    """The repository on the Hub that something is published to.

    Args:
        name: id of the repository, ``namespace/name``.
        kind: the kind of repository, ``model`` or ``dataset``.
        private: whether the repository is to be private. A new one is made private; a public one is refused.
        tag: name of a tag to put on the commit; None for no tag.

    Raises:
        ArtQuantError: the id or the tag is not valid.
    """

    name: str
    kind: str = "model"
    private: bool = False
    tag: str | None = None

    def __post_init__(self) -> None:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id

        try:
            validate_repo_id(self.name)
        except HFValidationError as error:
            raise ArtQuantError(f"--repo {self.name!r} is no repository id; use NAMESPACE/NAME") from error
        if self.name.count("/") != 1:
            raise ArtQuantError(f"--repo {self.name!r} has no namespace; use NAMESPACE/NAME, your user name first")
        if self.tag is not None and (self.tag == "main" or not _TAG.fullmatch(self.tag)):
            raise ArtQuantError(f"--revision {self.tag!r} is no name of a tag; use one such as v1")


@contextmanager
def hub_errors(target: Target, *, writes: bool = False) -> Iterator[None]:
    """Turn errors of the Hub's client into an ArtQuantError of one line, which never shows the token.

    Args:
        target: the repository that the requests are about, which the error names.
        writes: whether the requests change the repository. False for requests that only read it, whose errors do not
            speak of an upload.

    Raises:
        ArtQuantError: the code within the context raised an error of the Hub's client, of the network or of a file.
    """
    from huggingface_hub import get_token
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    again = "run the same command again: what has arrived is not sent twice" if writes else "try again later"
    where = f"{target.kind} {target.name!r}"
    try:
        yield
    except ArtQuantError:
        raise
    except LocalTokenNotFoundError as error:
        raise ArtQuantError(
            f"{where} cannot be written without a token; log in with `hf auth login`, or set HF_TOKEN"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        told = error.response.headers.get("X-Error-Message") or error.server_message or ""
        if status == 401:
            has = "does not take the token" if get_token() else "asks for a token"
            raise ArtQuantError(
                f"the Hub {has} for {where} (401); log in with `hf auth login`, or set HF_TOKEN"
            ) from error
        if status == 403 and not writes:
            raise ArtQuantError(
                f"you may not read {where} (403: {hub_message(told)}); accept its terms on the Hub, or use a token "
                "that may read it"
            ) from error
        if status == 403:
            raise ArtQuantError(
                f"you may not write to {where} (403: {hub_message(told)}); name a repository of your own, or use a "
                "token that may write"
            ) from error
        if status == 404:
            raise ArtQuantError(
                f"the Hub has no {where} that you may see (404); correct the id, or use a token that may see it"
            ) from error
        if status == 412:
            raise ArtQuantError(f"{where} was changed by somebody else meanwhile (412); {again}") from error
        raise ArtQuantError(f"the Hub answers {status} for {where} ({hub_message(told or error)}); {again}") from error
    except OfflineModeIsEnabled as error:
        raise ArtQuantError(
            f"{where} cannot be looked up while HF_HUB_OFFLINE is set; unset it, and run the same command again"
        ) from error
    except (KeyError, TypeError, AttributeError) as error:  # of the Hub's client, for an answer of unknown form
        raise ArtQuantError(
            f"the server at {hub_message(ENDPOINT)} does not answer for {where} as the Hub does "
            f"({hub_message(repr(error))}); look at HF_ENDPOINT, and at a proxy between this machine and the Hub"
        ) from error
    except (OSError, RuntimeError, ValueError, HTTPError) as error:
        cause = error.__cause__ or error
        reason = hub_message(cause)
        if writes:
            raise ArtQuantError(f"{where}: the upload broke off ({reason}); {again}") from error
        if isinstance(error, HTTPError):
            raise ArtQuantError(
                f"the Hub at {hub_message(ENDPOINT)} cannot be reached for {where} ({reason}); look at the network "
                "and at HF_ENDPOINT, and run the same command again"
            ) from error
        raise ArtQuantError(f"{where} cannot be looked up on the Hub ({reason}); {again}") from error
