"""Keys come from the environment and go to the client, nowhere else."""

import os

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train.rad.config import EndpointSection
from artquant_plugin.train.rad.rows import Side


def read_key(side: Side, section: EndpointSection) -> str | None:
    """The key of a side; None where its endpoint wants none.

    Raises:
        ArtQuantError: the variable is not set, or holds what an HTTP header cannot carry.
    """
    if section.api_key_env is None:
        return None
    key = os.environ.get(section.api_key_env, "").strip()
    if not key:
        raise ArtQuantError(
            f"${section.api_key_env} is not set, and {side}.api_key_env names it; export it, or set "
            f"{side}.api_key_env=null where the endpoint wants no key"
        )
    if not (key.isascii() and key.isprintable()):
        raise ArtQuantError(
            f"${section.api_key_env} holds what no key does, a line break or a letter that is not ASCII; copy it again"
        )
    return key
