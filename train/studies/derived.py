"""Datasets that a study makes of an imported one: the paintings of a category, or all of them with shorter texts."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.common.run_record import one_at_a_time, refuse_changes
from artquant_plugin.common.text import listed
from artquant_plugin.data.dataset import INFO_FILE, SPLITS, Dataset, write_dataset
from artquant_plugin.data.paintings import Painting
from artquant_plugin.prompting.questions import WHOLE_TEXT, join_description


@dataclass(frozen=True, slots=True)
class DerivedDataset:
    """A dataset that is made of another one's rows; its images stay where they are.

    Args:
        source: Folder of the dataset whose rows are taken.
        folder: Folder that the dataset is written to.
        category: Category whose paintings are taken; None for all paintings.
        length: Share of each description's words that is kept, from its beginning, in percent from 1 to 100.
    """

    source: Path
    folder: Path
    category: str | None
    length: int

    def make(self) -> None:
        """Write the dataset, unless it is there.

        Raises:
            ArtQuantError: The folder holds a dataset that was made of something else, or no painting is left.
        """
        dataset = Dataset.load(self.source)
        made_of = {
            "dataset.json": sha256_file(dataset.folder / INFO_FILE),
            "category": self.category,
            "percent of each description": self.length,
        }
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(self.folder.parent / f".{self.folder.name}.lock"):  # shards come here together
            if (self.folder / INFO_FILE).is_file():
                before = json.loads(Dataset.load(self.folder).info.source)
                refuse_changes(self.folder, before, made_of, remedy="remove the folder, or set another output")
                return
            self._write(dataset, json.dumps(made_of))

    def _write(self, dataset: Dataset, made_of: str) -> None:
        rows = {split: self._chosen(dataset, split) for split in SPLITS if split in dataset.info.splits}
        info = dataset.info
        write_dataset(
            self.folder,
            name=self.folder.name,
            score_range=info.score_range,
            splits=rows,
            image_root=str(dataset.image_root.resolve()),
            source=made_of,
            license=info.license,
            level_values=info.level_values,
        )

    def _chosen(self, dataset: Dataset, split: str) -> list[Painting]:
        every = dataset.split(split)
        rows = [row for row in every if self.category in (None, row.category)]
        if not rows:
            known = sorted({row.category for row in every if row.category})
            raise ArtQuantError(
                f"category {self.category!r} has no painting in the split {split!r} of '{dataset.folder}'; take "
                f"one of its categories: {listed(known, 12) or 'it has none'}"
            )
        return [row if self.length == 100 else replace(row, description=shortened(row, self.length)) for row in rows]


def shortened(painting: Painting, length: int) -> dict[str, str] | None:
    """The beginning of a painting's description, as a text without levels; None where it has no description.

    Args:
        painting: The painting, with a description on three levels or with a whole text.
        length: Share of the words that is kept, in percent from 1 to 100; it is rounded up to whole words, and at
            least one word is kept.

    Example:
        >>> row = Painting("1", "1.png", "", 5.0, description={"text": "Warm reds and a calm harbour."})
        >>> shortened(row, 50)
        {'text': 'Warm reds and'}
    """
    if not painting.description:
        return None
    text = painting.description.get(WHOLE_TEXT) or join_description(painting.description)
    words = text.split(" ")
    return {WHOLE_TEXT: " ".join(words[: max(1, -(-len(words) * length // 100))])}
