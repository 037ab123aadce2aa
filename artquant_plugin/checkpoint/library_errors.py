"""Errors of the libraries that load checkpoints, as one line for the user."""

from collections.abc import Iterator
from contextlib import contextmanager

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line


@contextmanager
def library_errors_in_one_line(what: str, remedy: str) -> Iterator[None]:
    """Turn what `transformers` and `safetensors` raise in a block into an `ArtQuantError`.

    Args:
        what: the thing that is loaded in the block, as the subject of the message.
        remedy: what the user can do where the error itself tells no better.

    Raises:
        ArtQuantError: the block failed. An `ArtQuantError` from inside the block passes through as it is.
    """
    from safetensors import SafetensorError

    failures = (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError, TypeError, SafetensorError)
    try:
        yield
    except ArtQuantError:
        raise
    except failures as error:
        if "trust_remote_code" in str(error):
            raise ArtQuantError(
                f"{what} needs Python code of its own; read it, then pass trust_remote_code=true"
            ) from error
        if isinstance(error, ImportError):
            raise ArtQuantError(f"{what} needs a package that is not there ({one_line(error)}); install it") from error
        raise ArtQuantError(f"{what} cannot be loaded ({one_line(error)}); {remedy}") from error
