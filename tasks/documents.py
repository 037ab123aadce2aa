"""The documents of a task: what lmms-eval gets of a dataset's paintings, in the place of the rows that it loads."""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from artquant_plugin.common.errors import ArtQuantWarning
from artquant_plugin.data.copies import copy_notes
from artquant_plugin.data.dataset import INFO_FILE, Dataset
from artquant_plugin.data.find import find_dataset
from artquant_plugin.data.paintings import Painting
from artquant_plugin.data.task_names import TEST_SPLIT, check_test_split

Document = dict[str, Any]  # one painting, as lmms-eval passes it to a task
Columns = dict[str, list[Any]]


def manifest(dataset: str) -> str:
    """The path of a file that lmms-eval can load for a dataset: dataset.json, the smallest one.

    lmms-eval insists on loading a file. The documents do not come from it: `Documents` makes them from what `Dataset`
    reads, so that the rows are checked and may stand in JSON lines or in Parquet files.

    Args:
        dataset: the dataset's name, or the path of its folder.

    Raises:
        ArtQuantError: the dataset is not there, or has no painting in its test split.

    Warns:
        ArtQuantWarning: pictures of the test split stand in it twice, or in a split that models are trained on.
    """
    folder = find_dataset(dataset)
    found = Dataset.load(folder)
    check_test_split(found)
    for note in copy_notes(found.info, (TEST_SPLIT,)):
        warnings.warn(f"dataset {dataset!r}: {note}", ArtQuantWarning, stacklevel=2)
    return str(folder / INFO_FILE)


class Documents:
    """A function that gives lmms-eval the documents of a dataset in the place of the rows that it loaded.

    A document has the painting's `id`, `category` and `image` (the path of the file), what `further` adds, and
    `missing`: how many paintings of the split could not be used at import, the same number in every document.

    lmms-eval's cache of responses (``--use_cache``) tells rows apart by their number, and tasks by their
    configuration, in which a function stands as its `str`. A hash of the paintings is a part of it, so that after
    another import no painting is given the response to another one.

    Args:
        dataset: the dataset's name, or the path of its folder.
        further: gives the columns that a kind of task needs beside those of every task.
        rows: makes the rows that have a document each of the split's paintings; None for one row per painting.
    """

    def __init__(
        self,
        dataset: str,
        further: Callable[[Dataset, Sequence[Painting]], Columns],
        rows: Callable[[Sequence[Painting]], Sequence[Painting]] | None = None,
    ) -> None:
        self._dataset = dataset
        self._further = further
        self._rows = rows

    def __call__(self, rows: Any) -> Any:
        """The documents, as a table of the library `datasets`.

        Args:
            rows: what lmms-eval has loaded; it is not looked at.
        """
        from datasets import Dataset as Table

        return Table.from_dict(self._columns)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Documents":
        """The same object: lmms-eval copies a task's configuration whenever it looks at it."""
        return self

    def __str__(self) -> str:
        """The dataset's name and the hash of its documents, of the images' own hashes, and of their sizes and times.

        A picture that is replaced without another import changes its size or time, and with it the hash.
        """
        digest = hashlib.sha256(json.dumps(self._columns, sort_keys=True).encode())
        digest.update(json.dumps(self._images).encode())
        return f"paintings of dataset {self._dataset!r}, SHA-256 {digest.hexdigest()}"

    @cached_property
    def _columns(self) -> Columns:
        loaded, paintings = self._loaded
        return {
            "id": [painting.id for painting in paintings],
            "category": [painting.category for painting in paintings],
            "image": [str(loaded.image_path(painting)) for painting in paintings],
            **self._further(loaded, paintings),
            "missing": [sum(loaded.info.splits[TEST_SPLIT].missing.values())] * len(paintings),
        }

    @cached_property
    def _images(self) -> list[tuple[Any, ...]]:
        """Hash at import, size and time of each image; the hash alone where the file is not there."""
        loaded, paintings = self._loaded
        states: list[tuple[Any, ...]] = []
        for painting in paintings:
            try:
                state = loaded.image_path(painting).stat()
            except OSError:
                states.append((painting.sha256,))
            else:
                states.append((painting.sha256, state.st_size, state.st_mtime_ns))
        return states

    @cached_property
    def _loaded(self) -> tuple[Dataset, Sequence[Painting]]:
        loaded = Dataset.load(find_dataset(self._dataset))
        paintings = loaded.split(TEST_SPLIT)
        return loaded, paintings if self._rows is None else self._rows(paintings)
