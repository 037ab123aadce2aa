"""Images that cannot be read in the middle of an epoch, and what a batch tells of itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import ImageError
from artquant_plugin.train.collate import AnswerCollator, count_tokens, without_supervision
from artquant_plugin.train.samples import SampleDataset

FACTS = "facts"


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What is known of a batch beside its tensors.

    Args:
        names: kind and painting of each sample in it.
        tokens: real ones, image tokens among them.
        bad: kind and painting of each sample that was left out, and why.
        failure: why there is no batch at all; None when there is one.
    """

    names: tuple[str, ...] = ()
    tokens: int = 0
    bad: tuple[tuple[str, str], ...] = ()
    failure: str | None = None


class GuardedSamples(TorchDataset[dict[str, Any]]):
    """A dataset whose images that cannot be read become a message: errors do not travel well between processes."""

    def __init__(self, samples: SampleDataset) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            return self.samples[index]
        except ImageError as error:
            return {"sample": self.samples.samples[index], "error": str(error)}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The samples of a batch; torch's loader asks for them in one call."""
        try:
            return self.samples.__getitems__(indices)
        except ImageError:
            return [self[index] for index in indices]


class GuardedCollator:
    """Collates what could be read, and says what could not.

    A batch of which nothing could be read asks nothing of the model: one grey picture without a supervised position,
    since every process has to take part in every step.

    Args:
        collator: of good items.
    """

    def __init__(self, collator: AnswerCollator) -> None:
        self.collator = collator

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Collate items of `GuardedSamples`; the facts stand under the key ``facts``."""
        good = [item for item in items if "error" not in item]
        bad = tuple((_name(item), item["error"]) for item in items if "error" in item)
        names = tuple(map(_name, good))
        try:
            batch = self.collator(good) if good else self._empty(items[0])
        except ArtQuantError as error:
            return {FACTS: BatchFacts(names, bad=bad, failure=str(error))}
        return {**batch, FACTS: BatchFacts(names, count_tokens(batch) if good else 0, bad)}

    def _empty(self, item: dict[str, Any]) -> dict[str, Any]:
        part = self.collator.part([{**item, "image": Image.new("RGB", (224, 224), (128, 128, 128))}])
        return {"parts": [without_supervision(part)], "paintings": []}


def _name(item: dict[str, Any]) -> str:
    return f"{item['sample'].kind} {item['sample'].painting_id}"
