"""Images that cannot be read in the middle of an epoch, and what a batch tells of itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from artquant_plugin.errors import ArtQuantError
from artquant_plugin.images import ImageError
from artquant_plugin.train.collate import AnswerCollator
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
        inputs: the keys that are the model's.
    """

    names: tuple[str, ...] = ()
    tokens: int = 0
    bad: tuple[tuple[str, str], ...] = ()
    failure: str | None = None
    inputs: tuple[str, ...] = ()


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
        try:
            batch = self.collator(good) if good else self._empty(items[0])
        except ArtQuantError as error:
            return {FACTS: BatchFacts(names=tuple(map(_name, good)), bad=bad, failure=str(error))}
        tokens = int(batch["attention_mask"].sum()) if good else 0
        batch[FACTS] = BatchFacts(tuple(map(_name, good)), tokens, bad, inputs=() if good else self._inputs(batch))
        return batch

    def _empty(self, item: dict[str, Any]) -> dict[str, Any]:
        batch = dict(self.collator([{**item, "image": Image.new("RGB", (224, 224), (128, 128, 128))}]))
        for name in set(batch) - set(self._inputs(batch)):
            value = batch[name]
            if isinstance(value, Tensor):
                batch[name] = torch.zeros_like(value) if value.shape == batch["input_ids"].shape else value[:0]
        return batch

    def _inputs(self, batch: dict[str, Any]) -> tuple[str, ...]:
        """The keys that a processor gives."""
        prompter = self.collator.prompter
        made = prompter.inputs([prompter.score_request.text], [Image.new("RGB", (224, 224))])
        return tuple(name for name in batch if name in made)


def _name(item: dict[str, Any]) -> str:
    return f"{item['sample'].kind} {item['sample'].painting_id}"
