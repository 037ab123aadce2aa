"""Webdataset archives: tar files of images, read from the first member to the last."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from artquant_plugin.bulk.files import IMAGE_SUFFIXES
from artquant_plugin.bulk.items import Item
from artquant_plugin.bulk.manifests import IMAGE_COLUMN
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.locations import content_key, open_binary, suffix


@dataclass(frozen=True, slots=True)
class TarArchive:
    """A webdataset archive: every image member is a row, in the archive's order.

    Args:
        location: the file.
        extension: which member of a sample is the image (``jpg`` of ``0001.jpg``); None for all image suffixes.
    """

    location: str
    extension: str | None = None

    @property
    def label(self) -> str:
        """The file."""
        return self.location

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of every image member.

        Raises:
            ArtQuantError: the archive is broken or cut short.
        """
        with open_binary(self.location) as file:
            try:
                with tarfile.open(fileobj=file, mode="r|*") as archive:
                    for member in archive:
                        if not member.isfile() or not self._is_image(member.name):
                            continue
                        content = archive.extractfile(member)
                        if content is not None:
                            yield member.name, content.read()
            except (tarfile.TarError, EOFError, OSError) as error:
                raise ArtQuantError(f"archive '{self.location}' is broken ({error}); fetch it again") from error

    def _is_image(self, name: str) -> bool:
        base = name.rsplit("/", 1)[-1]
        if base.startswith("."):
            return False
        if self.extension is None:
            return suffix(base) in IMAGE_SUFFIXES
        return base.partition(".")[2].lower() == self.extension.lower().lstrip(".")

    def item(self, index: int, record: tuple[str, bytes]) -> Item:
        """A member, named by its archive and its own name."""
        name, content = record
        return Item(f"{self.location}/{name}", content)

    def count(self) -> int | None:
        """Unknown without reading the archive."""
        return None

    def identity(self) -> dict[str, Any]:
        """Size and samples of the content."""
        return {"archive": self.location, "extension": self.extension, "content": content_key(self.location)}


def tar_extension(image_column: str) -> str | None:
    """The extension that an image column means in an archive; the default column means every image."""
    return None if image_column == IMAGE_COLUMN else image_column
