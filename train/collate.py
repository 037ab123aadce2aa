"""Samples -> one batch: model inputs, and what each position is to predict."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.prompter import Answer, Prompter
from artquant_plugin.train.samples import Sample

Item = dict[str, Any]
Part = dict[str, Any]


class AnswerCollator:
    """Builds a batch in which only answers are supervised.

    A batch is ``{"parts": [part, ...], "paintings": [id, ...]}``. Each part goes through the model on its own, so that
    short score answers are not padded to long descriptions. A part holds, for n sequences of length L and S supervised
    positions in row order:

    - ``inputs``: what the processor gives, input_ids and attention_mask of shape (n, L) among it.
    - ``supervised``: bool (n, L), positions whose next token is to be predicted; the model gives logits for these
      alone (`logits_to_keep`).
    - ``next_ids``: long (S,), the token behind each; ``is_level`` and ``is_description``: bool (S,).
    - ``level_targets``: float32 (score samples, K), soft labels in row order.
    - ``reuses_images``: whether its images are those of the part before it, in the same order; it then has no pixels.

    Args:
        prompter: prompts and answers of the processor.
        share_images: whether a painting's score and description sample use one encoding of its image when they are in
            one batch.

    Example:
        For the answer ids ``[The, quality, is, good, ., <end>]`` behind a prompt of 4 tokens, L = 10, supervised is
        true at 3..8 and next_ids is the answer itself; is_level is true at the one that predicts ``good``, whose
        target is the soft label and not the word.
    """

    def __init__(self, prompter: Prompter, *, share_images: bool = False) -> None:
        self.prompter = prompter
        self.share_images = share_images

    def __call__(self, items: Sequence[Item]) -> dict[str, Any]:
        """Collate items of `SampleDataset`."""
        twins = _twins(items) if self.share_images else []
        paired = {id(item) for pair in twins for item in pair}
        parts = []
        if twins:
            parts.append(self.part([score for score, _ in twins]))
            parts.append(self.part([describe for _, describe in twins], reuses_images=True))
        for kind in ("score", "describe"):
            alone = [item for item in items if item["sample"].kind == kind and id(item) not in paired]
            if alone:
                parts.append(self.part(alone))
        return {"parts": parts, "paintings": [item["sample"].painting_id for item in items]}

    def part(self, items: Sequence[Item], *, reuses_images: bool = False) -> Part:
        """Samples that go through the model together."""
        samples = [item["sample"] for item in items]
        answers = [self.answer(sample) for sample in samples]
        inputs = self.prompter.inputs([answer.text for answer in answers], [item["image"] for item in items])
        if reuses_images:
            del inputs["pixel_values"]  # what else tells of the images, such as their grid, has its use without them
        ids = inputs["input_ids"]
        supervised = torch.zeros(ids.shape, dtype=torch.bool)
        is_level: list[bool] = []
        is_description: list[bool] = []
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        for row, (sample, answer, length) in enumerate(zip(samples, answers, lengths, strict=True)):
            start = length - len(answer.ids)
            if ids[row, start:length].tolist() != list(answer.ids):
                raise ArtQuantError(
                    f"the answer of sample {sample.painting_id!r} is not at the end of its sequence; the processor "
                    "truncates or rewrites it: raise its maximum length"
                )
            supervised[row, start - 1 : length - 1] = True
            is_level.extend(index == answer.level for index in range(len(answer.ids)))
            is_description.extend([sample.kind == "describe"] * len(answer.ids))
        labels = [sample.label for sample in samples if sample.label is not None]
        levels = len(self.prompter.level_ids)
        return {
            "inputs": inputs,
            "supervised": supervised,
            "next_ids": ids[:, 1:][supervised[:, :-1]],
            "is_level": torch.tensor(is_level),
            "is_description": torch.tensor(is_description),
            "level_targets": torch.tensor(np.stack(labels) if labels else np.zeros((0, levels)), dtype=torch.float32),
            "reuses_images": reuses_images,
        }

    def answer(self, sample: Sample) -> Answer:
        """The assistant's turn of a sample; a score sample names the level of the largest probability."""
        if sample.label is None:
            assert sample.description is not None
            return self.prompter.describe_answer(sample.description)
        return self.prompter.score_answer(int(np.argmax(sample.label)))


def count_passes(batch: dict[str, Any]) -> Tensor:
    """How many twins of parts that share images, and how many other parts a batch has; shape (2,), long."""
    twins = sum(part["reuses_images"] for part in batch["parts"])
    return torch.tensor([twins, len(batch["parts"]) - 2 * twins])


def with_passes(batch: dict[str, Any], passes: Tensor) -> dict[str, Any]:
    """The batch with as many parts as `passes` says, of the form of `count_passes`; those added ask nothing.

    Models whose weights are spread over processes exchange them in every pass, so that all processes must make the
    same ones.
    """
    parts = batch["parts"]
    twins, alone = (passes - count_passes(batch)).tolist()
    idle = without_supervision(parts[0])
    without_pixels = {name: value for name, value in idle["inputs"].items() if name != "pixel_values"}
    added = [idle, idle | {"inputs": without_pixels, "reuses_images": True}] * twins
    return batch | {"parts": [*added, *parts, *[idle] * alone]}


def without_supervision(part: Part) -> Part:
    """A part that goes through the model and asks nothing of it."""
    nothing = part["next_ids"][:0]
    return part | {
        "supervised": torch.zeros_like(part["supervised"]),
        "next_ids": nothing,
        "is_level": nothing.bool(),
        "is_description": nothing.bool(),
        "level_targets": part["level_targets"][:0],
    }


def count_terms(batch: dict[str, Any]) -> Tensor:
    """What the loss's terms of a batch are sums over.

    Args:
        batch: of `AnswerCollator`.

    Returns:
        Shape (4,), long, on the CPU: description tokens, answer tokens without the level's, score samples, and pairs
        of these, in the order of `losses.TERMS`.
    """
    descriptions = sum(int(part["is_description"].sum()) for part in batch["parts"])
    tokens = sum(len(part["next_ids"]) for part in batch["parts"])
    scores = sum(len(part["level_targets"]) for part in batch["parts"])
    return torch.tensor([descriptions, tokens - descriptions - scores, scores, scores * (scores - 1) // 2])


def count_tokens(batch: dict[str, Any]) -> int:
    """Tokens of a batch that are not padding, an image's places among them."""
    return sum(int(part["inputs"]["attention_mask"].sum()) for part in batch["parts"])


def _twins(items: Sequence[Item]) -> list[tuple[Item, Item]]:
    """Score and description sample of each painting that has both among the items."""
    scores = {item["sample"].image: item for item in items if item["sample"].kind == "score"}
    describes = {item["sample"].image: item for item in items if item["sample"].kind == "describe"}
    return [(item, describes[image]) for image, item in scores.items() if image in describes]
