"""What the user named -> parts to read.

Each argument is taken as the first of these that it is: a location with a scheme (``hf://…``), a file (by its suffix:
a manifest, a table, an archive, else an image), a folder (an imported dataset, a saved `datasets` dataset, images, or
tables and archives), the name of an imported dataset with an optional ``:split``, a dataset on the Hub.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.archives import TarArchive, tar_extension
from artquant_plugin.bulk.files import IMAGE_SUFFIXES, Folder, ImportedSplit, NamedFile, RemoteFiles, list_remote
from artquant_plugin.bulk.hub import LibraryDataset, is_saved_dataset, library_parts
from artquant_plugin.bulk.items import Item, Part
from artquant_plugin.bulk.manifests import Columns, Manifest, ParquetTable
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.locations import is_remote, suffix
from artquant_plugin.data.dataset import INFO_FILE, SPLITS, Dataset, data_home

TABLE_SUFFIXES = (".jsonl", ".csv", ".parquet", ".tar")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True, slots=True)
class Source:
    """Everything that a run is to score.

    Args:
        parts: read one after the other.
    """

    parts: tuple[Part, ...]

    @property
    def file_per_shard(self) -> bool:
        """Whether output shards follow the input's own files: several tables or archives, and nothing else."""
        return len(self.parts) > 1 and all(
            isinstance(part, ParquetTable | TarArchive | LibraryDataset) for part in self.parts
        )

    def records(self) -> Iterator[tuple[Part, int, Any]]:
        """Part, place in it and record of everything, in order; `Part.item` makes an item of them."""
        for part in self.parts:
            for index, record in enumerate(part.records()):
                yield part, index, record

    def items(self) -> Iterator[Item]:
        """Everything, in order."""
        for part, index, record in self.records():
            yield part.item(index, record)

    def count(self) -> int | None:
        """Number of rows where that is cheap to know."""
        counts = [part.count() for part in self.parts]
        return None if None in counts else sum(count for count in counts if count is not None)

    def identity(self) -> list[dict[str, Any]]:
        """What must stay the same for a rerun to go on with earlier results."""
        return [part.identity() for part in self.parts]


def find_source(inputs: Sequence[str], *, split: str | None = None, columns: Columns | None = None) -> Source:
    """Everything that the arguments name, in their order.

    Args:
        inputs: paths, locations, names of datasets.
        split: of the datasets among them.
        columns: of the tables among them.

    Raises:
        ArtQuantError: an argument is nothing that can be read; what was tried is named.
    """
    columns = columns or Columns()
    return Source(tuple(chain.from_iterable(_parts(name, split, columns) for name in inputs)))


def _parts(name: str, split: str | None, columns: Columns) -> Iterable[Part]:
    if is_remote(name):
        return _remote(name, columns)
    path = Path(name).expanduser()
    if path.is_file():
        return [_file(str(path), columns)]
    if path.is_dir():
        return _folder(path, split, columns)
    dataset, colon, wanted = name.rpartition(":")
    if not colon:
        dataset, wanted = name, split or "test"
    imported = data_home() / dataset
    if dataset and (imported / INFO_FILE).is_file():
        return [_imported(imported, wanted)]
    if dataset and colon and Path(dataset).is_dir():
        return _folder(Path(dataset), wanted, columns)
    if suffix(name) in (*IMAGE_SUFFIXES, *TABLE_SUFFIXES) or name.startswith((".", "/", "~")):
        raise ArtQuantError(f"'{name}' does not exist; mend the path")
    hub, _, hub_split = name.partition(":")
    if HUB_ID.fullmatch(hub):
        return library_parts(hub, hub_split or split, columns)
    raise ArtQuantError(
        f"'{name}' is no file, no folder, no dataset under '{data_home()}', and no Hub id (owner/name); mend the name"
    )


def _file(location: str, columns: Columns) -> Part:
    kind = suffix(location)
    if kind == ".jsonl":
        path = Path(location)
        if columns.root is None and path.stem in SPLITS and (path.parent / INFO_FILE).is_file():
            return _imported(path.parent, path.stem)
        return Manifest(location, columns)
    if kind == ".csv":
        return Manifest(location, columns)
    if kind == ".parquet":
        return ParquetTable(location, columns)
    if kind == ".tar":
        return TarArchive(location, tar_extension(columns.image))
    return NamedFile(location)


def _imported(folder: Path, split: str) -> Part:
    dataset = Dataset.load(folder)
    if split not in dataset.info.splits:
        raise ArtQuantError(f"dataset '{folder}' has no split {split!r}; it has {', '.join(dataset.info.splits)}")
    return ImportedSplit(str(folder), split)


def _folder(path: Path, split: str | None, columns: Columns) -> Iterable[Part]:
    if (path / INFO_FILE).is_file():
        return [_imported(path, split or "test")]
    if is_saved_dataset(path):
        return library_parts(str(path), split, columns)
    images = Folder(str(path))
    if next(images.records(), None) is not None:
        return [images]
    tables = sorted(
        str(file)
        for file in path.rglob("*")
        if file.suffix.lower() in (".parquet", ".tar") and not file.name.startswith((".", "_")) and file.is_file()
    )
    if tables:
        return [_file(table, columns) for table in tables]
    raise ArtQuantError(
        f"no image is in '{path}' or below it (looked for {', '.join(IMAGE_SUFFIXES)}), and no .parquet or .tar; name "
        "another folder"
    )


def _remote(location: str, columns: Columns) -> Iterable[Part]:
    found = list_remote(location)
    tables = [name for name in found if suffix(name) in TABLE_SUFFIXES]
    images = tuple(name for name in found if suffix(name) in IMAGE_SUFFIXES)
    if images:
        return [RemoteFiles(location, images)]
    if tables:
        return [_file(name, columns) for name in tables]
    raise ArtQuantError(
        f"'{location}' holds no image and no {', '.join(TABLE_SUFFIXES)} file among {len(found):,}; name another"
    )
