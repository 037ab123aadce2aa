"""A run with the dataset that it describes, read for export and report."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import INFO_FILE, Dataset
from artquant_plugin.data.paintings import Painting
from artquant_plugin.train.rad.record import RECORD_FILE, RunRecord
from artquant_plugin.train.rad.rows import Result
from artquant_plugin.train.rad.store import STORE_FILE, RunStore


@dataclass(frozen=True, slots=True)
class RadRun:
    """A run's folder, opened for reading; a run may still be writing to it.

    Args:
        folder: of `artquant rad generate --out`.
        record: what it was made from.
        store: its results.
        dataset: that its paintings are of.
    """

    folder: Path
    record: RunRecord
    store: RunStore
    dataset: Dataset

    @classmethod
    def open(cls, folder: Path, data: Path | None = None) -> Self:
        """Open a run.

        Args:
            folder: of the run.
            data: the dataset's folder, where it is no longer where the run found it.

        Raises:
            ArtQuantError: no run, or no dataset.
        """
        record = RunRecord.read(folder)
        if record is None:
            raise ArtQuantError(f"'{folder}' holds no {RECORD_FILE}; give the folder of `artquant rad generate --out`")
        source = Path(record.data["folder"]) if data is None else data
        if not (source / INFO_FILE).is_file():
            raise ArtQuantError(f"the run's dataset is not in '{source}'; pass --data with its folder")
        return cls(folder, record, RunStore(folder / STORE_FILE, readonly=True), Dataset.load(source))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def paintings(self) -> Iterator[tuple[Painting, Result]]:
        """Every painting of the dataset with what the run made of it, in the dataset's order.

        Raises:
            ArtQuantError: the dataset is not the one that the run described.
        """
        results = self.store.results()
        for split in self.dataset.info.splits:
            for painting in self.dataset.each(split):
                result = next(results, None)
                if result is None or _key(result.split, result) != _key(split, painting):
                    raise self._changed(painting.id)
                yield painting, result
        left = next(results, None)
        if left is not None:
            raise self._changed(left.id)

    def _changed(self, name: str) -> ArtQuantError:
        return ArtQuantError(
            f"dataset '{self.dataset.folder}' is not the one that '{self.folder}' described: painting {name!r} "
            "differs; put it back, or pass --data with the folder of the right one"
        )


def _key(split: str, row: Painting | Result) -> tuple[str, str, str, str, float]:
    return split, row.id, row.image, row.sha256, row.score
