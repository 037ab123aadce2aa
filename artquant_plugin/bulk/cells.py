"""What stands in an image column: a path, or an encoded image as `datasets` writes it."""

from pathlib import Path
from typing import Any

from artquant_plugin.bulk.items import Item
from artquant_plugin.common.errors import ArtQuantError

IMAGE_COLUMN = "image"


def cell_item(value: Any, *, fallback: str, root: Path | None, name: Any = None) -> Item:
    """The item of one cell.

    Args:
        value: a path, bytes, or ``{"bytes": …, "path": …}``.
        fallback: the item's name when the cell has no path.
        root: folder of relative paths; None where paths mean nothing (a table on the Hub).
        name: the item's name from an id column.
    """
    called = None if name is None else str(name)
    if isinstance(value, dict):
        path, content = value.get("path"), value.get("bytes")
        if content is not None:
            return Item(called or path or fallback, bytes(content))
        value = path
    if isinstance(value, bytes):
        return Item(called or fallback, value)
    if isinstance(value, str) and value:
        if root is None:
            error = ArtQuantError(f"image '{value}' is a path in a remote table; embed the images' bytes in it")
            return Item(called or value, error)
        return Item(called or value, root / Path(value).expanduser())
    error = ArtQuantError(f"the image of {fallback} is {type(value).__name__}, not a path or bytes; mend the row")
    return Item(called or fallback, error)


def missing_column(location: str, column: str, columns: list[str]) -> ArtQuantError:
    """The error of a table that lacks a column."""
    return ArtQuantError(
        f"'{location}' has no column {column!r}, only {', '.join(columns) or 'nothing'}; pass --image-column or "
        "--id-column"
    )
