"""What the command line names, as sources of images.

Each argument is taken as the first of these that it is: ``-``, for paths that come through standard input; a location
with a scheme (``hf://…``); a file (a table or an archive by its ending; else by its content a picture, or a text that
lists pictures); a folder (an imported dataset, a saved `datasets` dataset, images, or tables and archives); a pattern
with ``*``, ``?`` or ``[``; the name of an imported dataset with an optional ``:split``; a dataset on the Hub.
"""

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.files import ImportedSplit, ListedFiles, NamedFile, RemoteFiles, TarArchive, list_remote
from artquant_plugin.bulk.folders import IMAGE_SUFFIXES, Folder, is_passed_over
from artquant_plugin.bulk.images import ImageInput, NamedImage
from artquant_plugin.bulk.library_datasets import LibraryDataset, is_saved_dataset, library_sources
from artquant_plugin.bulk.manifests import IMAGE_COLUMN, ImageColumns, Manifest, ParquetTable, text_source
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.locations import is_remote, suffix
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.text import listed
from artquant_plugin.data.dataset import INFO_FILE, SPLITS, Dataset, data_home
from artquant_plugin.data.picture_files import file_kind
from artquant_plugin.data.picture_kinds import TEXT

ImageReference = tuple[ImageInput, int, Any]  # a source, a position in it from 0, and what it holds there
TEXT_TABLES = (".jsonl", ".json", ".csv", ".tsv")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")  # the reader of tables refuses the last two with the remedy
INPUT_FORMS = "a picture, a folder, a table (.jsonl, .json, .csv, .tsv, .xlsx, .parquet) or an archive (.tar)"
STANDARD_INPUT = "-"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a run is to score.

    Args:
        sources: read one after the other; their rows stand in this order.
    """

    sources: tuple[ImageInput, ...]

    @property
    def file_per_shard(self) -> bool:
        """Whether output shards follow the input's own files: several tables or archives, and nothing else."""
        return len(self.sources) > 1 and all(
            isinstance(source, ParquetTable | TarArchive | LibraryDataset) for source in self.sources
        )

    def references(self) -> Iterator[ImageReference]:
        """A reference to every image, in order."""
        for source in self.sources:
            yield from references_of(source)

    def images(self) -> Iterator[NamedImage]:
        """Every image, in order."""
        return map(referenced, self.references())

    def count(self) -> int | None:
        """Number of images, or None where that is not cheap to know."""
        counts = [source.count() for source in self.sources]
        return None if None in counts else sum(count for count in counts if count is not None)

    def passed_over(self) -> str:
        """What the folders and archives hold besides pictures, for people; empty when that is nothing.

        Archives count while they are read, so that this is complete behind a run.

        Example: ``passed over 3: text files 2, hidden folders 1``.
        """
        found: Counter[str] = Counter()
        for source in self.sources:
            if isinstance(source, Folder | ListedFiles | RemoteFiles | TarArchive):
                found += source.passed_over
        if not found:
            return ""
        return f"passed over {found.total():,}: {', '.join(f'{kind} {n:,}' for kind, n in found.most_common())}"

    def identity(self) -> list[dict[str, Any]]:
        """What must stay the same for a rerun to go on with earlier rows, by source."""
        return [source.identity() for source in self.sources]


def references_of(source: ImageInput) -> Iterator[ImageReference]:
    """A reference to every image of a source, in order."""
    return ((source, index, reference) for index, reference in enumerate(source.references()))


def referenced(reference: ImageReference) -> NamedImage:
    """The image of a reference, with its bytes where they are embedded in a table or an archive."""
    source, index, content = reference
    return source.image(index, content)


def find_inputs(names: Sequence[str], *, split: str | None = None, columns: ImageColumns | None = None) -> Inputs:
    """Find everything that the command line names.

    Args:
        names: paths, locations with a scheme, names of datasets; the head of this module says which wins.
        split: of the datasets among them; None takes the test split of an imported dataset, and the only split of
            another.
        columns: which columns of the tables among them are read; None takes the default ones.

    Raises:
        ArtQuantError: a name is nothing that can be read; the message says what was tried.
    """
    columns = columns or ImageColumns()
    return Inputs(tuple(chain.from_iterable(_sources(name, split, columns) for name in names)))


def _sources(name: str, split: str | None, columns: ImageColumns) -> Iterable[ImageInput]:
    if name == STANDARD_INPUT:
        return [_from_standard_input()]
    if is_remote(name):
        return _remote(name, columns)
    path = expanded(name)
    if path.is_file():
        return [_file(str(path), columns)]
    if path.is_dir():
        return _folder(path, split, columns)
    if glob.has_magic(name) and not os.path.lexists(path):
        return _matching(name, columns)
    dataset, colon, wanted = name.rpartition(":")
    if not colon:
        dataset, wanted = name, split or "test"
    imported = data_home() / dataset
    if dataset and (imported / INFO_FILE).is_file():
        return [_imported(imported, wanted)]
    if dataset and colon and Path(dataset).is_dir():
        return _folder(Path(dataset), wanted, columns)
    known = suffix(name) in (*IMAGE_SUFFIXES, *WORKBOOKS, ".txt") or _is_table(name)
    if os.path.lexists(path):
        what = "is a link that leads nowhere" if path.is_symlink() else "is neither a file nor a folder"
        raise ArtQuantError(f"'{name}' {what}; name {INPUT_FORMS}")
    if known or name.startswith((".", "/", "~")):
        raise ArtQuantError(f"'{name}' does not exist; mend the path")
    hub, _, hub_split = name.partition(":")
    if HUB_ID.fullmatch(hub):
        return library_sources(hub, hub_split or split, columns)
    raise ArtQuantError(
        f"'{name}' is no file, no folder, no dataset under '{data_home()}', and no Hub id (owner/name); mend the name"
    )


def _is_table(location: str) -> bool:
    """Whether a location's ending is that of a table or an archive."""
    return suffix(location) in (*TEXT_TABLES, ".parquet") or location.lower().endswith(ARCHIVES)


def _table(location: str, columns: ImageColumns) -> ImageInput:
    """A table or an archive, by its ending, as `_is_table` knows them."""
    if suffix(location) == ".parquet":
        return ParquetTable(location, columns)
    if suffix(location) in TEXT_TABLES:
        return Manifest(location, columns)
    return TarArchive(location, None if columns.image == IMAGE_COLUMN else columns.image)


def _file(location: str, columns: ImageColumns) -> ImageInput:
    path, ending = Path(location), suffix(location)
    if ending == ".jsonl" and columns.root is None and path.stem in SPLITS and (path.parent / INFO_FILE).is_file():
        return _imported(path.parent, path.stem)
    if _is_table(location):
        return _table(location, columns)
    if ending in WORKBOOKS:
        return Manifest(location, columns)
    kind = file_kind(path)
    if ending in IMAGE_SUFFIXES or kind.picture:
        return NamedFile(location)
    if kind == TEXT:
        return text_source(location, columns)
    raise ArtQuantError(f"'{location}' is {kind.name}, and no picture; {kind.remedy}, or name {INPUT_FORMS}")


def _from_standard_input() -> ImageInput:
    """The pictures whose paths come through standard input, one per line, or separated by zero bytes."""
    if sys.stdin.isatty():
        raise ArtQuantError("- reads paths from standard input, and that is a terminal; write `find … | artquant …`")
    content = sys.stdin.buffer.read()
    names = content.split(b"\0" if b"\0" in content else b"\n")
    files = tuple(os.fsdecode(name.rstrip(b"\r")) for name in names if name.strip())
    if not files:
        raise ArtQuantError("no path came through standard input; write one per line, as `find` does")
    return ListedFiles(STANDARD_INPUT, files)


def _matching(pattern: str, columns: ImageColumns) -> Iterable[ImageInput]:
    """The pictures among the files that a pattern matches; its tables and archives where it matches no picture."""
    wanted = expanded(pattern)
    matches = glob.glob(str(wanted), recursive=True)
    matches.sort(key=lambda match: match.count(os.sep))  # the shortest of several ways to a file is the one that stays
    named = next(number for number, part in enumerate(wanted.parts) if glob.has_magic(part))  # folders without signs
    files: dict[tuple[str, str], str] = {}  # a file that a pattern finds through several folders' links is one
    for match in matches:
        if os.path.isfile(match) and not any(map(is_passed_over, Path(match).parts[named:])):
            files.setdefault((os.path.realpath(os.path.dirname(match)), os.path.basename(match)), match)
    pictures, passed_over = [], Counter[str]()
    for file in sorted(files.values()):
        kind = file_kind(Path(file))
        if suffix(file) in IMAGE_SUFFIXES or kind.picture:
            pictures.append(file)
        else:
            passed_over[kind.plural] += 1
    if pictures:
        return [ListedFiles(pattern, tuple(pictures), passed_over)]
    tables = [file for file in sorted(files.values()) if _is_table(file)]
    if tables:
        return [_table(file, columns) for file in tables]
    if files:
        raise ArtQuantError(f"the pattern '{pattern}' matches no picture, table or archive, only other files; mend it")
    hint = f"folders alone match the pattern '{pattern}'; end it with /*" if matches else None
    raise ArtQuantError(hint or f"no file matches the pattern '{pattern}'; mend it")


def _imported(folder: Path, split: str) -> ImageInput:
    dataset = Dataset.load(folder)
    if split not in dataset.info.splits:
        raise ArtQuantError(f"dataset '{folder}' has no split {split!r}; it has {', '.join(dataset.info.splits)}")
    return ImportedSplit(str(folder), split)


def _folder(path: Path, split: str | None, columns: ImageColumns) -> Iterable[ImageInput]:
    if (path / INFO_FILE).is_file():
        return [_imported(path, split or "test")]
    if is_saved_dataset(path):
        return library_sources(str(path), split, columns)
    images = Folder(str(path))
    if next(images.references(), None) is not None:
        return [images]
    tables = sorted(
        str(file)
        for file in path.rglob("*")
        if (file.suffix.lower() == ".parquet" or file.name.lower().endswith(ARCHIVES))
        and not file.name.startswith("_")
        and not any(map(is_passed_over, file.relative_to(path).parts))
        and file.is_file()
    )
    if tables:
        return [_table(table, columns) for table in tables]
    found = f" ({Inputs((images,)).passed_over()})" if images.passed_over else ""
    raise ArtQuantError(f"no image is in '{path}' or below it{found}, and no .parquet or .tar; name another folder")


def _remote(location: str, columns: ImageColumns) -> Iterable[ImageInput]:
    found = list_remote(location)
    tables = [name for name, _ in found if _is_table(name)]
    images = tuple(file for file in found if suffix(file[0]) in IMAGE_SUFFIXES)
    if images:
        passed_over = Counter(f"{suffix(name) or 'other'} files" for name, _ in set(found) - set(images))
        return [RemoteFiles(location, images, passed_over)]
    if tables:
        return [_table(name, columns) for name in tables]
    endings = listed(sorted({suffix(name) or "none" for name, _ in found}), 5)
    raise ArtQuantError(
        f"'{location}' holds no image, no table and no archive among {len(found):,} files (their endings: {endings}); "
        f"name {INPUT_FORMS}"
    )
