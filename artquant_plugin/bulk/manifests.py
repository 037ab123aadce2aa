"""Tables of images: a column of a JSON-lines, CSV or Parquet file holds their paths, or the encoded images."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.folders import IMAGE_SUFFIXES
from artquant_plugin.bulk.images import NamedImage
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.locations import content_key, is_remote, open_binary, quick_key, suffix
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.tables import TableRow, parquet_batches, read_table
from artquant_plugin.common.text import one_line
from artquant_plugin.data.picture_files import refuse_address

IMAGE_COLUMN = "image"
REMEDY = "pass --image-column or --id-column"  # for a column that is not there
ROWS_AT_ONCE = 32  # of a Parquet file with embedded images; each may hold megabytes


@dataclass(frozen=True, slots=True)
class ImageColumns:
    """Which columns of a table are read.

    Args:
        image: the column with the image's path, or with the encoded image.
        name: the column that names the row; None names it by the image's path.
        root: the folder of relative paths; None means the table's own folder.
    """

    image: str = IMAGE_COLUMN
    name: str | None = None
    root: str | None = None

    @property
    def asked(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        return tuple(dict.fromkeys(filter(None, (self.image, self.name))))

    def folder(self, location: str) -> Path | None:
        """The folder of a table's relative paths; None where paths mean nothing, as in a remote table."""
        if self.root is not None:
            return Path(self.root)
        return None if is_remote(location) else Path(location).parent

    def identity(self, location: str) -> dict[str, Any]:
        """What a table's rows depend on besides its content."""
        return {"table": location, "image_column": self.image, "id_column": self.name, "image_root": self.root}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A JSON, CSV or TSV file with one image per row, read row by row where the format allows it.

    Args:
        location: a path, or an address that fsspec reads; its suffix tells the format.
        columns: the names of the columns that hold the images and their ids.
    """

    location: str
    columns: ImageColumns

    @property
    def label(self) -> str:
        """The file."""
        return self.location

    def references(self) -> Iterator[TableRow]:
        """Every row.

        Raises:
            ArtQuantError: the table cannot be read, or a row is faulty.
        """
        return read_table(self.location, self.columns.asked, remedy=REMEDY)

    def image(self, index: int, reference: TableRow) -> NamedImage:
        """The image that a row names."""
        return cell_image(
            reference.values[self.columns.image],
            fallback=reference.place,
            root=self.columns.folder(self.location),
            name=reference.values[self.columns.name] if self.columns.name else None,
        )

    def count(self) -> int | None:
        """Number of rows: the table is read, so that a faulty row is told before a model is loaded."""
        return sum(1 for _ in self.references())

    def identity(self) -> dict[str, Any]:
        """The location, the columns, a hash of the whole file, and one of the pictures that it names."""
        images = (self.image(index, row) for index, row in enumerate(self.references()))
        found = {"content": content_key(self.location, whole=True), "pictures": _pictures_key(images)}
        return self.columns.identity(self.location) | found


@dataclass(frozen=True, slots=True)
class PathList:
    """A text file with the path of one image per line and no header line. Blank lines are passed over.

    Args:
        location: the path of the list.
        root: the folder of relative paths; None means the list's own folder.
    """

    location: str
    root: str | None

    @property
    def label(self) -> str:
        """The file."""
        return self.location

    def references(self) -> Iterator[tuple[int, str]]:
        """The number of every line, from 1, and the path on it.

        Raises:
            ArtQuantError: the file cannot be read, or is not UTF-8.
        """
        with open_binary(self.location) as file:
            for number, line in enumerate(file, start=1):
                try:
                    path = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    place = f"{self.location}:{number}"
                    raise ArtQuantError(f"{place}: the line is not UTF-8; save the file as UTF-8") from error
                if path:
                    yield number, path

    def image(self, index: int, reference: tuple[int, str]) -> NamedImage:
        """The image that a line names."""
        number, path = reference
        return cell_image(path, fallback=f"{self.location}:{number}", root=self._folder)

    def count(self) -> int | None:
        """Number of lines that name an image: the file is read."""
        return sum(1 for _ in self.references())

    def identity(self) -> dict[str, Any]:
        """The location, the folder of relative paths, a hash of the whole file, and one of the pictures."""
        images = (self.image(index, line) for index, line in enumerate(self.references()))
        found = {"content": content_key(self.location, whole=True), "pictures": _pictures_key(images)}
        return {"list": self.location, "image_root": self.root} | found

    @property
    def _folder(self) -> Path:
        return Path(self.location).parent if self.root is None else Path(self.root)


def text_source(location: str, columns: ImageColumns) -> Manifest | PathList:
    """What a text file without an ending of a table is: a table with a header line, or a list of paths.

    Args:
        location: the path of the text file.
        columns: which columns are read when it is a table.

    Returns:
        A table when the first line names the image column, or columns were chosen; a list when the first line is the
        path of a file that is there, or ends as a picture's does and holds nothing that separates columns.

    Raises:
        ArtQuantError: it is neither, so that reading it would mean guessing.
    """
    listed = PathList(location, columns.root)
    if columns.image != IMAGE_COLUMN or columns.name is not None:
        return Manifest(location, columns)
    _, first = next(listed.references(), (0, ""))
    if columns.image in re.split(r"[,;\t]", first.replace('"', "")):
        return Manifest(location, columns)
    content = listed.image(0, (1, first)).content if first else None
    if isinstance(content, Path) and (
        os.path.isfile(content) or (suffix(first) in IMAGE_SUFFIXES and not re.search(r"[,;\t]", first))
    ):
        return listed
    raise ArtQuantError(
        f"'{location}' is a text file whose first line is neither a header with the column {columns.image!r} nor the "
        f"path of a picture ({one_line(first, 80)!r}); give it a header line, or name pictures or a folder"
    )


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """A Parquet file whose image column holds paths or, as `datasets` writes them, encoded images.

    Args:
        location: a path, or an address that fsspec reads.
        columns: the names of the columns that hold the images and their ids.
    """

    location: str
    columns: ImageColumns

    @property
    def label(self) -> str:
        """The file."""
        return self.location

    def references(self) -> Iterator[tuple[Any, Any]]:
        """Image and id of every row, as pyarrow holds them: a row that is passed over is not copied.

        Raises:
            ArtQuantError: the file is no Parquet file, or a column is missing.
        """
        for batch in parquet_batches(self.location, self.columns.asked, rows_at_once=ROWS_AT_ONCE, remedy=REMEDY):
            images = batch.column(self.columns.image)
            names = batch.column(self.columns.name) if self.columns.name else None
            for row in range(batch.num_rows):
                yield images[row], None if names is None else names[row]

    def image(self, index: int, reference: tuple[Any, Any]) -> NamedImage:
        """The image of a row, copied out of the table."""
        place, root = f"{self.location}#{index}", self.columns.folder(self.location)
        try:
            value, name = (None if cell is None else cell.as_py() for cell in reference)
        except UnicodeDecodeError as error:
            return NamedImage(place, ArtQuantError(f"row {place} holds text that is no UTF-8 ({error}); mend the row"))
        return cell_image(value, fallback=place, root=root, name=name)

    def count(self) -> int | None:
        """Number of rows, as the file's footer says; None for a broken file, whose reading raises the error."""
        import pyarrow
        from pyarrow import parquet

        with open_binary(self.location) as file:
            try:
                return parquet.ParquetFile(file).metadata.num_rows
            except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
                if is_machine_fault(error):
                    raise machine_error(error, f"'{self.location}' cannot be read") from error
                return None

    def identity(self) -> dict[str, Any]:
        """The location, the columns, a key of the file's size and of samples of its content, and one of the pictures.

        Pictures inside the file are part of its content; the others are the files that its rows name.
        """
        found = self.columns.identity(self.location) | {"content": content_key(self.location)}
        return found | {"pictures": _pictures_key(self.image(0, row) for row in self._rows_of_paths())}

    def _rows_of_paths(self) -> Iterator[tuple[Any, Any]]:
        """The rows of a table whose image column holds text; nothing of one that holds encoded images."""
        from pyarrow import types

        for row in self.references():
            if not (types.is_string(row[0].type) or types.is_large_string(row[0].type)):
                return
            yield row


def _pictures_key(images: Iterable[NamedImage]) -> str:
    """A key of the pictures that are files of their own, among those that a table names."""
    return quick_key(image.content for image in images if isinstance(image.content, Path))


def cell_image(value: Any, *, fallback: str, root: Path | None, name: Any = None) -> NamedImage:
    """The image in a cell of an image column.

    Args:
        value: a path, an encoded image, or ``{"bytes": …, "path": …}`` as `datasets` writes it. Anything else gives a
            `NamedImage` that holds the reason instead of an image.
        fallback: what the image is called when neither an id nor a path names it.
        root: folder of relative paths; None where paths mean nothing, as in a table on the Hub.
        name: the image's name from an id column; None where there is none.
    """
    called = None if name is None else str(name)
    if isinstance(value, dict):
        path, content = value.get("path"), value.get("bytes")
        named = called or (path if isinstance(path, str) else None) or fallback
        if isinstance(content, bytes):
            return NamedImage(named, content)
        if content is not None:
            what = f"{type(content).__name__} in its field 'bytes', not the bytes of a picture"
            return NamedImage(named, ArtQuantError(f"the image of {fallback} holds {what}; mend the row"))
        value = path
    if isinstance(value, bytes):
        return NamedImage(called or fallback, value)
    if isinstance(value, str) and value:
        try:
            refuse_address(value)
        except ArtQuantError as error:
            return NamedImage(called or value, error)
        if root is None:
            remote = ArtQuantError(f"image '{value}' is a path in a remote table; embed the images' bytes in it")
            return NamedImage(called or value, remote)
        try:
            return NamedImage(called or value, root / expanded(value))
        except ArtQuantError as error:
            return NamedImage(called or value, error)
    other = ArtQuantError(f"the image of {fallback} is {type(value).__name__}, not a path or bytes; mend the row")
    return NamedImage(called or fallback, other)
