"""Datasets that the `datasets` library reads: by Hub id, streamed, or from a folder that it saved."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.images import NamedImage
from artquant_plugin.bulk.manifests import REMEDY, ImageColumns, cell_image
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import missing_column
from artquant_plugin.common.text import first_line

SAVED_FILES = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder is one that `datasets` saved."""
    return any((folder / name).is_file() for name in SAVED_FILES)


@dataclass(frozen=True, slots=True)
class LibraryDataset:
    """One split of a dataset of the `datasets` library, or one of the input files that it is made of.

    Args:
        name: a Hub id with an optional ``@revision``, or a folder that the library saved.
        split: the name of one of the dataset's splits.
        columns: which columns hold the image and the row's name.
        file: which of the input files is read, from 0 to `files` - 1.
        files: number of the input files of the split; 1 reads the whole split.
    """

    name: str
    split: str
    columns: ImageColumns
    file: int = 0
    files: int = 1

    @property
    def label(self) -> str:
        """The dataset and its split and, where the split has several input files, the number of the file."""
        whole = f"{self.name}:{self.split}"
        return whole if self.files == 1 else f"{whole}/{self.file}"

    def references(self) -> Iterator[dict[str, Any]]:
        """Every row of the split, or of its file, as a stream; images stay encoded.

        Raises:
            ArtQuantError: a column is missing, or the rows cannot be fetched.
        """
        from datasets import Image

        dataset = _loaded(self.name, self.split)
        column = self.columns.image
        features = dataset.features or {}
        if features:
            for wanted in filter(None, (column, self.columns.name)):
                if wanted not in features:
                    raise missing_column(self.label, wanted, list(features), REMEDY)
            if isinstance(features[column], Image):
                dataset = dataset.cast_column(column, Image(decode=False))
        if self.files > 1:
            dataset = dataset.shard(num_shards=self.files, index=self.file)
        rows = iter(dataset)
        while True:
            try:
                row = next(rows, None)
            except (OSError, ValueError) as error:
                raise _unreadable(self.label, error) from error
            if row is None:
                return
            yield row

    def image(self, index: int, reference: dict[str, Any]) -> NamedImage:
        """The image of a row."""
        for wanted in filter(None, (self.columns.image, self.columns.name)):
            if wanted not in reference:
                raise missing_column(self.label, wanted, list(reference), REMEDY)
        root = Path(self.columns.root) if self.columns.root else None
        # The library names an embedded image after its file alone, which may stand in many rows; a place does not.
        place = f"{self.label}#{index}"
        name = reference[self.columns.name] if self.columns.name else place
        return cell_image(reference[self.columns.image], fallback=place, root=root, name=name)

    def count(self) -> int | None:
        """The number of rows that the dataset's card gives; None where it gives none, and for one of several files."""
        if self.files > 1:
            return None
        split = (_loaded(self.name, self.split).info.splits or {}).get(self.split)
        return split.num_examples if split is not None and split.num_examples else None

    def identity(self) -> dict[str, Any]:
        """The commit of the dataset on the Hub, or the fingerprint of a saved one."""
        return self.columns.identity(self.label) | {"revision": _revision(self.name, self.split)}


def library_sources(name: str, split: str | None, columns: ImageColumns) -> list[LibraryDataset]:
    """The sources of a dataset: one per input file, so that a process reads the files of its own shards alone.

    Args:
        name: a Hub id with an optional ``@revision``, or a folder that `datasets` saved.
        split: the name of a split; None takes the only one of a dataset that has one.
        columns: which columns hold the image and the row's name.

    Raises:
        ArtQuantError: no such dataset or split, or it cannot be read.
    """
    chosen = _split(name, split)
    files = 1 if Path(name).is_dir() else _loaded(name, chosen).num_shards
    return [LibraryDataset(name, chosen, columns, file, files) for file in range(files)]


def _split(name: str, split: str | None) -> str:
    """The name of the split that is meant: the given one, or the only one."""
    folder = Path(name)
    try:
        if folder.is_dir():
            from datasets import DatasetDict, load_from_disk

            saved = load_from_disk(str(folder))
            splits = list(saved) if isinstance(saved, DatasetDict) else [str(saved.split or "all")]
        else:
            from datasets import get_dataset_split_names

            dataset, _, revision = name.partition("@")
            splits = get_dataset_split_names(dataset, revision=revision or None)
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error
    if split in splits:
        return str(split)
    if split is None and len(splits) == 1:
        return splits[0]
    given = "no split is chosen" if split is None else f"it has no split {split!r}"
    raise ArtQuantError(f"dataset '{name}' has {', '.join(splits)}, and {given}; pass --split")


@functools.lru_cache(maxsize=4)
def _loaded(name: str, split: str) -> Any:
    from datasets import DatasetDict, load_dataset, load_from_disk

    try:
        if Path(name).is_dir():
            saved = load_from_disk(name)
            return saved[split] if isinstance(saved, DatasetDict) else saved
        dataset, _, revision = name.partition("@")
        return load_dataset(dataset, split=split, revision=revision or None, streaming=True)
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error


def _revision(name: str, split: str) -> str | None:
    if Path(name).is_dir():
        return _loaded(name, split)._fingerprint
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    dataset, _, revision = name.partition("@")
    try:
        return HfApi().dataset_info(dataset, revision=revision or None).sha
    except (HfHubHTTPError, OSError) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> ArtQuantError:
    reason = first_line(error)
    return ArtQuantError(f"dataset '{name}' cannot be read ({reason}); mend the id, log in, or try again")
