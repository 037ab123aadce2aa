"""Whether a model of a board was trained on the pictures that it is tested on, as far as its Hub id tells."""

import re
from collections.abc import Iterable

from artquant_plugin.checkpoint.known import KnownCheckpoint, known_checkpoint


def seen_in_training(names: Iterable[str], dataset: str) -> str:
    """A sentence about a published checkpoint that was trained on the dataset that it is tested on.

    Args:
        names: what the model is called, of which one may be its Hub id, with an optional ``@revision`` or ``:preset``
            behind it.
        dataset: the name of the dataset that is tested, such as ``baid``.

    Returns:
        The sentence without its full stop; empty for a model that is not known, and for one that was trained on other
        datasets as far as `known_checkpoints.yaml` says.

    Example:
        >>> seen_in_training(["q-future/q-align-aesthetic"], "ava")
        'its training data are AVA, so it may have seen pictures of this test'
        >>> seen_in_training(["q-future/q-align-aesthetic"], "baid")
        ''
    """
    known = _known(names)
    found = [] if known is None else [entry for entry in known.trained_on if _names(entry, dataset)]
    if not found:
        return ""
    return f"its training data are {', '.join(found)}, so it may have seen pictures of this test"


def _known(names: Iterable[str]) -> KnownCheckpoint | None:
    found = (known_checkpoint(name.partition(":")[0]) for name in names)
    return next((known for known in found if known is not None), None)


def _names(entry: str, dataset: str) -> bool:
    """Whether an entry names a dataset: as one of its words, or as a whole where case and punctuation do not count."""
    words = [_plain(word) for word in re.split(r"[\s,:;]+", entry)]
    return bool(_plain(dataset)) and _plain(dataset) in [*words, _plain(entry)]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())
