"""One image of a bulk run, and the one place where it becomes what the scorer takes."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from artquant_plugin.errors import ArtQuantError
from artquant_plugin.images import ImageError, open_image


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


def opened(item: Item) -> Path | Image.Image:
    """An item's image as the scorer takes it: a path as it is, encoded bytes decoded as a file's would be.

    Raises:
        ArtQuantError: the item has no image, or its bytes are none that can be used.
    """
    if isinstance(item.image, ArtQuantError):
        raise item.image
    if isinstance(item.image, Path):
        return item.image
    # `open_image` reads files; through one, bytes get the same limits, rotation and colours.
    descriptor, name = tempfile.mkstemp(prefix="artquant-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(item.image)
        return open_image(name)
    except ImageError as error:
        raise ImageError(str(error).replace(name, item.name), error.reason) from error
    finally:
        os.unlink(name)
