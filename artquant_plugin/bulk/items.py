"""One image of a bulk run, and what it is a part of."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import source_name


@dataclass(frozen=True, slots=True)
class Item:
    """One image to score.

    Args:
        name: what its row is called: a path, or an id.
        image: a file, an encoded image, or the reason why there is none.
    """

    name: str
    image: Path | bytes | ArtQuantError


class Part(Protocol):
    """A part of the input that can be read on its own: a folder, a manifest, one archive.

    Records are cheap to pass over; a record becomes an item, with its image's bytes, when it is asked for.
    """

    @property
    def label(self) -> str:
        """What messages and the run's record call it."""
        ...

    def records(self) -> Iterator[Any]:
        """All records, in order; never collected."""
        ...

    def item(self, index: int, record: Any) -> Item:
        """The image of a record; `index` is its place in this part, from 0."""
        ...

    def count(self) -> int | None:
        """Number of records where that is cheap to know."""
        ...

    def identity(self) -> dict[str, Any]:
        """What must stay the same for a rerun to go on with earlier results."""
        ...


def image_of(item: Item) -> Path | bytes:
    """An item's image, as scorers take it.

    Raises:
        ArtQuantError: the item has none.
    """
    if isinstance(item.image, ArtQuantError):
        raise item.image
    return item.image


def reason_of(item: Item, error: ArtQuantError) -> str:
    """Why an item has no score; an image that came as bytes is called by the item's name."""
    if isinstance(item.image, bytes):
        return str(error).replace(source_name(item.image), f"'{item.name}'")
    return str(error)
