"""Files with images inside: Parquet tables and webdataset archives; read in pieces."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from artquant_plugin.bulk.cells import IMAGE_COLUMN, cell_item, missing_column
from artquant_plugin.bulk.files import IMAGE_SUFFIXES
from artquant_plugin.bulk.items import Item
from artquant_plugin.bulk.manifests import Columns
from artquant_plugin.bulk.places import content_key, open_binary, suffix
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import first_line

ROWS_AT_ONCE = 32  # of a table with embedded images; each may hold megabytes


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """A Parquet file whose image column holds paths or, as `datasets` writes them, encoded images."""

    location: str
    columns: Columns

    @property
    def label(self) -> str:
        """The file."""
        return self.location

    def records(self) -> Iterator[tuple[Any, Any]]:
        """Image and id of every row.

        Raises:
            ArtQuantError: no Parquet file, or a column is missing.
        """
        import pyarrow
        from pyarrow import parquet

        wanted = list(dict.fromkeys(filter(None, (self.columns.image, self.columns.name))))
        with open_binary(self.location) as file:
            try:
                table = parquet.ParquetFile(file)
                present = table.schema_arrow.names
                for column in wanted:
                    if column not in present:
                        raise missing_column(self.location, column, list(present))
                for batch in table.iter_batches(batch_size=ROWS_AT_ONCE, columns=wanted):
                    images = batch.column(self.columns.image)
                    names = batch.column(self.columns.name) if self.columns.name else None
                    for row in range(batch.num_rows):
                        yield images[row], None if names is None else names[row]
            except pyarrow.ArrowInvalid as error:
                reason = first_line(error)
                raise ArtQuantError(f"'{self.location}' is no Parquet file ({reason}); write it again") from error

    def item(self, index: int, record: tuple[Any, Any]) -> Item:
        """The image of a row, copied out of the table."""
        image, name = record
        place, root = f"{self.location}#{index}", self.columns.folder(self.location)
        return cell_item(image.as_py(), fallback=place, root=root, name=None if name is None else name.as_py())

    def count(self) -> int | None:
        """As the file's footer says."""
        import pyarrow
        from pyarrow import parquet

        with open_binary(self.location) as file:
            try:
                return parquet.ParquetFile(file).metadata.num_rows
            except pyarrow.ArrowInvalid:
                return None  # reading the rows gives the error

    def identity(self) -> dict[str, Any]:
        """Size and samples of the content."""
        return self.columns.identity(self.location) | {"content": content_key(self.location)}


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
