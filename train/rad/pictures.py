"""Encodes pictures as data URIs in threads; Pillow releases the interpreter's lock while it decodes and scales."""

import asyncio
import base64
import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import header_size, open_image, resolve_inside, shown_as_stored
from artquant_plugin.data.picture_files import read_picture_file
from artquant_plugin.data.picture_kinds import HEAD_BYTES, kind_of
from artquant_plugin.train.rad.config import ImagesSection
from artquant_plugin.train.rad.store_rows import WorkItem


class Pictures:
    """Encodes the pictures of one image folder in a pool of threads; a context manager.

    Args:
        root: the dataset's image folder; no picture outside of it is read.
        images: the configuration's section on how pictures are sent.
    """

    def __init__(self, root: Path, images: ImagesSection) -> None:
        self._root = root
        self._images = images
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="artquant-rad-pictures")

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def data_uri(self, item: WorkItem) -> str:
        """Encode a painting's picture in a thread.

        Args:
            item: the painting whose picture is encoded.

        Raises:
            ArtQuantError: it cannot be read, or is not the file that was imported.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.encode, item)

    def encode(self, item: WorkItem) -> str:
        """Encode a painting's picture in the calling thread.

        Args:
            item: the painting whose picture is encoded.

        Raises:
            ArtQuantError: it cannot be read, or is not the file that was imported.
        """
        return data_uri(resolve_inside(self._root, item.image), item.sha256, self._images)


def data_uri(path: Path, sha256: str, images: ImagesSection) -> str:
    """Encode a picture as a viewer shows it, scaled down if it is too large, as a data URI of a JPEG file.

    A JPEG file that is small enough and needs no rotation or conversion of colours is sent as it is, once a test has
    shown that it can be decoded.

    Args:
        path: path of the picture's file.
        sha256: the hash that the file's bytes should have; empty where it is not known.
        images: the configuration's section on how pictures are sent.

    Raises:
        ArtQuantError: the file cannot be read, or is not the one that was imported.
    """
    picture = open_image(path)
    content = read_picture_file(path)
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ArtQuantError(f"image '{path}' is not the file that was imported; put that back, or import again")
    if max(picture.size) > images.longest_side or not (
        "JPEG" in kind_of(content[:HEAD_BYTES]).formats and shown_as_stored(content)
    ):
        picture.thumbnail((images.longest_side, images.longest_side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=images.quality)
        content = buffer.getvalue()
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"


def check_images(root: Path, items: list[WorkItem]) -> None:
    """Check the header of every picture before anything is sent; damage after the header is found when it is encoded.

    Args:
        root: the dataset's image folder; no picture outside of it is read.
        items: the paintings whose pictures are checked.

    Raises:
        ArtQuantError: a file cannot be read; the error names the first one and counts the others.
    """

    def is_unreadable(item: WorkItem) -> bool:
        return header_size(resolve_inside(root, item.image)) == (0, 0)

    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        unreadable = [item for item, is_bad in zip(items, threads.map(is_unreadable, items), strict=True) if is_bad]
    if unreadable:
        others = f" ({len(unreadable) - 1} more cannot be read)" if len(unreadable) > 1 else ""
        try:
            open_image(resolve_inside(root, unreadable[0].image))
        except ArtQuantError as error:
            raise ArtQuantError(f"{error}{others}; or import the dataset again with --allow-missing") from error
