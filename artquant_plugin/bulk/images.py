"""One image of a bulk run, and the sources that images come from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import source_name


@dataclass(frozen=True, slots=True)
class NamedImage:
    """One image with the name of its row.

    Args:
        name: what its row is called: a path, or an id.
        content: the image's file, its encoded bytes, or the reason why there is no image.
    """

    name: str
    content: Path | bytes | ArtQuantError


class ImageInput(Protocol):
    """A part of the input that can be read on its own: a folder, a table, one archive.

    A source gives references, which are cheap to pass over when a run goes on with earlier rows. A reference becomes
    an image, with its bytes, when it is asked for.
    """

    @property
    def label(self) -> str:
        """What messages call the input."""
        ...

    def references(self) -> Iterator[Any]:
        """All references, in order, as a stream that is never collected."""
        ...

    def image(self, index: int, reference: Any) -> NamedImage:
        """The image of a reference.

        Args:
            index: the reference's position in this source, from 0.
            reference: the reference to one image, as `references` lists it.
        """
        ...

    def count(self) -> int | None:
        """Number of references, or None where that is not cheap to know."""
        ...

    def identity(self) -> dict[str, Any]:
        """What must stay the same for a rerun to go on with earlier rows."""
        ...


def image_of(image: NamedImage) -> Path | bytes:
    """An image as scorers take it: its file, or its encoded bytes.

    Raises:
        ArtQuantError: there is no image; the error is the reason.
    """
    if isinstance(image.content, ArtQuantError):
        raise image.content
    return image.content


def reason_of(image: NamedImage, error: ArtQuantError) -> str:
    """Why an image has no score. A message about bytes names the image by `NamedImage.name`."""
    if isinstance(image.content, bytes):
        return str(error).replace(source_name(image.content), f"'{image.name}'")
    return str(error)
