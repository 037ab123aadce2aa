"""The pictures of a page: a thumbnail of every painting, and a larger preview of those that it shows as cases."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.progress import progress
from artquant_plugin.common.workers import process_pool
from artquant_plugin.data.images import ImageError, header_size, open_image

THUMBNAIL, PREVIEW = 240, 960  # pixels of the longer side
QUALITY = 82  # of the JPEG files
SHOWN_AFTER = 2.0  # seconds after which a progress bar appears on a terminal


@dataclass(frozen=True, slots=True)
class Picture:
    """The files of a painting's picture on a page.

    Args:
        name: name of the files without their ending, a hash that does not tell where the original is.
        preview: whether there is a larger preview beside the thumbnail.
    """

    name: str
    preview: bool


def write_pictures(
    images: Mapping[str, Path], previews: Iterable[str], folder: Path, *, workers: int | None = None
) -> tuple[dict[str, Picture], list[str]]:
    """Write the pictures that are not there yet. Those of an earlier page stay, since that page still shows them.

    Args:
        images: the image files by the painting's id.
        previews: ids of the paintings that get a larger preview, too.
        folder: the folder to write ``thumbs/`` and ``previews/`` in; it is made when absent.
        workers: number of processes, at least 1; None for one per core.

    Returns:
        The pictures by the painting's id, and the sorted ids of the paintings whose file could not be read.

    Raises:
        ArtQuantError: a picture cannot be written.
        MachineError: this machine does not let an image be read.
    """
    wanted = set(previews)
    for kind in ("thumbs", "previews"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    names = {painting_id: _name(path) for painting_id, path in images.items()}
    gone = {painting_id for painting_id, name in names.items() if name is None}
    work = [
        (painting_id, path, called, painting_id in wanted, folder)
        for painting_id, path in images.items()
        if (called := names[painting_id]) is not None
    ]
    todo = [item for item in work if not _is_written(item[2], item[3], folder)]
    bar = ("pictures", "picture", len(todo))
    processes = min(workers or os.cpu_count() or 1, len(todo))
    if processes > 1:
        with process_pool(processes) as pool:
            done = list(progress(pool.map(_write, todo, chunksize=32), *bar, delay=SHOWN_AFTER))
    else:
        done = list(progress(map(_write, todo), *bar, delay=SHOWN_AFTER))
    failed = gone | {item[0] for item, written in zip(todo, done, strict=True) if not written}
    pictures = {
        painting_id: Picture(name, (folder / "previews" / f"{name}.jpg").is_file())
        for painting_id, _, name, _, _ in work
        if painting_id not in failed
    }
    return pictures, sorted(failed)


def _name(path: Path) -> str | None:
    """The name of a picture's files; None where the image has gone since it was found."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return hashlib.sha256(f"{path}\0{state.st_size}\0{state.st_mtime_ns}".encode()).hexdigest()[:20]


def _is_written(name: str, preview: bool, folder: Path) -> bool:
    thumb = folder / "thumbs" / f"{name}.jpg"
    if not thumb.is_file():
        return False
    if not preview or (folder / "previews" / f"{name}.jpg").is_file():
        return True
    return max(header_size(thumb)) < THUMBNAIL  # an image as small as its thumbnail gets no preview


def _write(item: tuple[str, Path, str, bool, Path]) -> bool:
    """Write one picture, and return whether the image could be read. A picture that cannot be written is an error."""
    _, path, name, preview, folder = item
    try:
        picture = open_image(path, longest_side=PREVIEW if preview else THUMBNAIL)
    except ImageError:
        return False
    if preview and max(picture.size) > THUMBNAIL:
        picture.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)
        _save(picture, folder / "previews" / f"{name}.jpg")
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    _save(picture, folder / "thumbs" / f"{name}.jpg")
    return True


def _save(picture: Image.Image, path: Path) -> None:
    # `atomic_write` waits for the disk, which for thousands of files would take longer than everything else.
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)  # left by a killed process that had the same id
        with part.open("xb") as file:  # fails where a link is put there meanwhile
            picture.save(file, "JPEG", quality=QUALITY)
        os.replace(part, path)
    except OSError as error:  # Pillow's error about a full disk names no file
        raise ArtQuantError(f"'{path}' cannot be written ({error}); mend the path or the space on its disk") from error


def remove_other_pictures(folder: Path, pictures: Iterable[Picture]) -> None:
    """Remove the pictures of an earlier page, and what a killed process left half written.

    Args:
        folder: the folder that `write_pictures` wrote in.
        pictures: those that the new page shows, which stay.
    """
    names = {picture.name for picture in pictures}
    for kind in ("thumbs", "previews"):
        for file in (folder / kind).iterdir():
            if file.suffix == ".part" or (file.suffix == ".jpg" and file.stem not in names):
                file.unlink()
