"""Published checkpoints that answer with level words, from a data file: preset, licence and training data of each."""

import functools
from importlib.resources import files

import yaml
from pydantic import Field

from artquant_plugin.common.config import Section
from artquant_plugin.common.hub import split_revision

FILE = "known_checkpoints.yaml"


class KnownCheckpoint(Section):
    """A published checkpoint.

    Args:
        id: the Hub id, such as ``q-future/one-align``.
        scoring: the name of the preset with which it was published.
        architecture: the model type in its config.json.
        parameters: how many weights the whole model has, an adapter's base included.
        layout: what its files are, in words, such as ``full model, safetensors``.
        license: the licence of the weights, with that of the code where it differs.
        trained_on: names of the datasets that it was trained on.
        source: the repositories at commits from which the entry was written down.
    """

    id: str
    scoring: str
    architecture: str
    parameters: float = Field(gt=0)
    layout: str
    license: str
    trained_on: tuple[str, ...]
    source: str


@functools.cache
def known_checkpoints() -> tuple[KnownCheckpoint, ...]:
    """All known checkpoints, in the order of the file."""
    content = yaml.safe_load(files("artquant_plugin.checkpoint").joinpath(FILE).read_text(encoding="utf-8"))
    return tuple(KnownCheckpoint.model_validate(entry) for entry in content["checkpoints"])


def known_checkpoint(pretrained: str) -> KnownCheckpoint | None:
    """The known checkpoint of a Hub id; None for any other name.

    Args:
        pretrained: a Hub id with an optional ``@revision``, or a folder. Case does not count in a Hub id.
    """
    name = split_revision(pretrained)[0].casefold()
    return next((known for known in known_checkpoints() if known.id.casefold() == name), None)
