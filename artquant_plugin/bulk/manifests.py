"""Manifests: JSON lines and CSV files with a column of image paths; read line by line."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.cells import cell_item, missing_column
from artquant_plugin.bulk.items import Item
from artquant_plugin.bulk.places import content_key, is_remote, open_binary
from artquant_plugin.common.errors import ArtQuantError


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table are read.

    Args:
        image: path or embedded image.
        name: id of the row; None for the image's path.
        root: folder of relative paths; None for the table's own.
    """

    image: str = "image"
    name: str | None = None
    root: str | None = None

    def folder(self, location: str) -> Path | None:
        """Folder of relative paths in a table at a location."""
        if self.root is not None:
            return Path(self.root)
        return None if is_remote(location) else Path(location).parent

    def identity(self, location: str) -> dict[str, Any]:
        """What a table's rows depend on besides its content."""
        return {"table": location, "image_column": self.image, "id_column": self.name, "image_root": self.root}


@dataclass(frozen=True, slots=True)
class JsonLines:
    """One JSON object per line."""

    location: str
    columns: Columns

    @property
    def label(self) -> str:
        """The file."""
        return self.location

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Line number and line; parsed when it is asked for. Empty lines are passed over."""
        with open_binary(self.location) as file:
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    yield number, line

    def item(self, index: int, record: tuple[int, bytes]) -> Item:
        """The image that a line names.

        Raises:
            ArtQuantError: the line is no JSON object, or lacks the image column.
        """
        number, line = record
        place = f"{self.location}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ArtQuantError(f"{place}: not JSON ({error}); mend the line") from error
        if not isinstance(row, dict):
            raise ArtQuantError(f"{place}: {type(row).__name__} instead of an object; mend the line")
        for column in filter(None, (self.columns.image, self.columns.name)):
            if column not in row:
                raise missing_column(place, column, list(row))
        name = row[self.columns.name] if self.columns.name else None
        root = self.columns.folder(self.location)
        return cell_item(row[self.columns.image], fallback=place, root=root, name=name)

    def count(self) -> int | None:
        """Number of lines."""
        return sum(1 for _ in self.records())

    def identity(self) -> dict[str, Any]:
        """A hash of the whole file."""
        return self.columns.identity(self.location) | {"content": content_key(self.location, whole=True)}


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A CSV file with a header line, UTF-8."""

    location: str
    columns: Columns

    @property
    def label(self) -> str:
        """The file."""
        return self.location

    def records(self) -> Iterator[tuple[int, str | None, str | None]]:
        """Line number, image and id of every row.

        Raises:
            ArtQuantError: a column is missing, or the file is no CSV file.
        """
        try:
            with open_binary(self.location) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                present = list(reader.fieldnames or [])
                for column in filter(None, (self.columns.image, self.columns.name)):
                    if column not in present:
                        raise missing_column(self.location, column, present)
                for row in reader:
                    yield reader.line_num, row[self.columns.image], row[self.columns.name or self.columns.image]
        except UnicodeDecodeError as error:
            raise ArtQuantError(f"'{self.location}' is not UTF-8 (byte {error.start}); convert it") from error
        except csv.Error as error:
            raise ArtQuantError(f"'{self.location}' is no CSV file ({error}); mend it") from error

    def item(self, index: int, record: tuple[int, str | None, str | None]) -> Item:
        """The image that a row names."""
        number, image, name = record
        place, root = f"{self.location}:{number}", self.columns.folder(self.location)
        value = image.strip() if image else image
        return cell_item(value, fallback=place, root=root, name=name if self.columns.name else None)

    def count(self) -> int | None:
        """Number of rows."""
        return sum(1 for _ in self.records())

    def identity(self) -> dict[str, Any]:
        """A hash of the whole file."""
        return self.columns.identity(self.location) | {"content": content_key(self.location, whole=True)}
