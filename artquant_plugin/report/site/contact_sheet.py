"""A contact sheet: the pictures of a run of `artquant score`, best first, as one HTML file that needs nothing else."""

import base64
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from artquant_plugin import __version__
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write, remove_leftovers
from artquant_plugin.common.locations import is_remote
from artquant_plugin.common.machine import machine_faults
from artquant_plugin.common.progress import progress
from artquant_plugin.common.run_record import only_writer
from artquant_plugin.common.text import visible
from artquant_plugin.data.images import open_image
from artquant_plugin.report.site.page_pictures import QUALITY, SHOWN_AFTER, THUMBNAIL
from artquant_plugin.report.site.page_templates import asset, page_environment

GENERATOR = "artquant contact sheet"  # what the page says of itself, by which a later run knows that it may replace it
MARK_WITHIN = 1000  # bytes from the beginning of a page, within which it says so
SUFFIXES = (".html", ".htm")
SEVERAL = "several pictures have this name"
GONE = "the picture is no longer among the inputs"
AT_ONCE = 64  # pictures that are held while thumbnails are made


@dataclass(frozen=True, slots=True)
class RankedPicture:
    """A picture with its score.

    Args:
        name: the path or the id by which the run names the picture.
        score: in the unit of the checkpoint's scale.
        levels: the probability of each level word, best level first.
    """

    name: str
    score: float
    levels: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """What a contact sheet shows.

    Args:
        model: the name of the model that gave the scores.
        scored: how many pictures of the run have a score.
        failed: how many pictures of the run have no score.
        ranked: the pictures that are shown, best first.
        failures: name and reason of pictures without a score; not all of them where there are very many.
    """

    model: str
    scored: int
    failed: int
    ranked: Sequence[RankedPicture]
    failures: Sequence[tuple[str, str]] = field(default=())


@contextmanager
def sheet_writer(path: Path) -> Iterator[None]:
    """Hold the lock of a contact sheet from before its pictures are scored until it is written.

    Args:
        path: the HTML file that is to be written.

    Raises:
        ArtQuantError: the name does not end in .html; it is a folder's, or that of a file which is no contact sheet;
            another process writes it; its folder takes no files.
    """
    if is_remote(str(path)) or path.suffix.lower() not in SUFFIXES:
        raise ArtQuantError(f"--sheet '{path}' is no local path that ends with .html; the sheet is an HTML file")
    if path.is_dir():
        raise ArtQuantError(f"--sheet '{path}' is a folder; name a file in it")
    if path.exists():
        with path.open("rb") as file:
            if GENERATOR.encode() not in file.read(MARK_WITHIN):
                raise ArtQuantError(f"'{path}' exists and is no contact sheet; remove it, or name another --sheet")
    with only_writer(path.with_name(f".{path.name}.lock"), path, elsewhere="another --sheet"):
        remove_leftovers(path)
        yield


def write_contact_sheet(
    path: Path, sheet: ContactSheet, pictures: Iterable[tuple[str, Path | bytes | ArtQuantError]]
) -> None:
    """Write a contact sheet, within `sheet_writer`.

    Args:
        path: the HTML file, which is replaced in one step.
        sheet: the pictures and counts that the page shows.
        pictures: name and content of the pictures, in any order. A name that comes with several pictures has none on
            the page, as the one that was scored is not known; a content that cannot be opened has its reason there.

    Raises:
        MachineError: this machine does not let a picture be read or the page be written.
    """
    thumbnails: dict[str, tuple[str, str]] = {}  # of each name, a data URI or an empty text, and why there is none
    for name, thumbnail in _thumbnails(pictures, len(sheet.ranked)):
        before = thumbnails.setdefault(name, thumbnail)
        if before != thumbnail:
            thumbnails[name] = ("", SEVERAL)
    folder = common_folder([picture.name for picture in sheet.ranked])
    page = (
        page_environment()
        .get_template("contact_sheet.html.j2")
        .render(
            sheet=sheet,
            model=visible(sheet.model),
            generator=GENERATOR,
            styles=[asset("page.css"), asset("contact_sheet.css")],
            version=__version__,
            folder=visible(folder),
            cards=[
                _card(picture, picture.name.removeprefix(folder), *thumbnails.get(picture.name, ("", GONE)))
                for picture in sheet.ranked
            ],
            levels=[(word, _tone(place, sheet.ranked[0].levels)) for place, word in enumerate(sheet.ranked[0].levels)]
            if sheet.ranked
            else [],
            failures=[(visible(name), visible(reason)) for name, reason in sheet.failures],
        )
    )
    with machine_faults(f"'{path}' cannot be written"), atomic_write(path, "wb") as file:
        file.write(page.encode("utf-8", "replace"))


def common_folder(names: Sequence[str]) -> str:
    """The folder that all names have in common, with a slash at its end; empty where there is none.

    Example:
        >>> common_folder(["runs/a/1.png", "runs/b/1.png"]), common_folder(["1.png"])
        ('runs/', '')
    """
    shared = os.path.commonprefix([name.split("/")[:-1] for name in names])
    return "".join(f"{part}/" for part in shared)


def _card(picture: RankedPicture, name: str, uri: str, problem: str) -> dict[str, Any]:
    """What the template needs for one picture."""
    likeliest = max(picture.levels, key=lambda word: picture.levels[word])
    return {
        "name": visible(name),
        "uri": uri,
        "problem": problem,
        "score": picture.score,
        "likeliest": likeliest,
        "share": picture.levels[likeliest],
        "levels": [(share, _tone(place, picture.levels)) for place, share in enumerate(picture.levels.values())],
    }


def _tone(place: int, levels: Mapping[str, float]) -> int:
    """How much of the accent colour a level has, in percent, from 100 for the best level to 10 for the worst."""
    return round(100 - 90 * place / max(len(levels) - 1, 1))


def _thumbnails(
    pictures: Iterable[tuple[str, Path | bytes | ArtQuantError]], total: int
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Name, and data URI or reason, of each picture; some are made at a time, in threads."""
    stream = iter(progress(pictures, "sheet", "picture", total, delay=SHOWN_AFTER))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        while batch := list(islice(stream, AT_ONCE)):
            made = pool.map(_thumbnail, [content for _, content in batch])
            yield from zip((name for name, _ in batch), made, strict=True)


def _thumbnail(content: Path | bytes | ArtQuantError) -> tuple[str, str]:
    """A small picture as a data URI, and an empty text; or an empty text, and the reason."""
    try:
        if isinstance(content, ArtQuantError):
            raise content
        picture = open_image(content, longest_side=THUMBNAIL)
    except ArtQuantError as error:
        return "", visible(str(error))
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", ""
