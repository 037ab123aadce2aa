"""Samples -> one batch: model inputs, and what each position is to predict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.data.image_memory import held_together
from artquant_plugin.prompting.prompter import Answer, Prompter
from artquant_plugin.scoring.prepare import picture_pixels
from artquant_plugin.train.data import ClosedPicture, Sample

Item = dict[str, Any]
Part = dict[str, Any]
REPORT = "report"  # the key under which a batch of `GuardedCollator` carries its `BatchReport`


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What is known of a batch beside its tensors.

    Args:
        names: Kind and painting of each sample in the batch.
        tokens: Tokens of the batch that are not padding, image tokens among them.
        unreadable: Kind and painting of each sample that was left out, and why its image cannot be read.
        failure: Why no batch could be made; None when there is one.
        fault: What is wrong with this machine, so that an image could not be read; None when nothing is.
    """

    names: tuple[str, ...] = ()
    tokens: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    failure: str | None = None
    fault: str | None = None


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
        prompter: Writes prompts and answers in the form that the model's processor wants.
        share_images: Whether a painting's score and description sample use one encoding of its image when they are in
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
        """Collate items of `SampleDataset` whose images could be read.

        Args:
            items: At least one; each has a ``sample`` and its ``image``.
        """
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
        """Samples that go through the model together.

        Args:
            items: At least one, as in a call of the collator.
            reuses_images: Whether their images are those of the part before, in the same order; the part then carries
                no pixels.

        Raises:
            ArtQuantError: The processor cuts an answer off.
        """
        samples = [item["sample"] for item in items]
        answers = [self.answer(sample) for sample in samples]
        inputs = self._inputs([answer.text for answer in answers], [item["image"] for item in items])
        if reuses_images:
            del inputs["pixel_values"]  # the other image inputs, such as the grid, are still needed
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

    def _inputs(self, texts: Sequence[str], pictures: Sequence[Image.Image | ClosedPicture]) -> dict[str, Any]:
        """What the prompter makes of texts and pictures, of which closed ones are opened as memory allows."""
        if not any(isinstance(picture, ClosedPicture) for picture in pictures):
            return self.prompter.inputs(texts, pictures)
        opened = ((text, _opened(picture)) for text, picture in zip(texts, pictures, strict=True))
        made = []
        for group in held_together(opened, lambda pair: picture_pixels(pair[1])):
            made.append(self.prompter.inputs([text for text, _ in group], [picture for _, picture in group]))
        return joined_inputs(made, self.prompter.processor.tokenizer.pad_token_id)

    def answer(self, sample: Sample) -> Answer:
        """The assistant's turn of a sample; a score sample names the level of the largest probability."""
        if sample.label is None:
            assert sample.description is not None
            return self.prompter.describe_answer(sample.description)
        return self.prompter.score_answer(int(np.argmax(sample.label)), sample.attribute)


class GuardedCollator:
    """Collates the samples whose images could be read, and reports the others.

    If no image of a batch could be read, the batch is a grey image without any supervised position, so that all
    processes still step together.

    Args:
        collator: Makes a batch of the samples that could be read.
    """

    def __init__(self, collator: AnswerCollator) -> None:
        self.collator = collator

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Collate items of `SampleDataset`; the `BatchReport` stands under the key `REPORT`.

        A fault of the machine ends the run: no image is left out because of it.
        """
        faults = [item["fault"] for item in items if "fault" in item]
        if faults:
            return {REPORT: BatchReport(fault=faults[0])}
        readable = [item for item in items if "error" not in item]
        unreadable = tuple((_name(item), item["error"]) for item in items if "error" in item)
        names = tuple(map(_name, readable))
        try:
            batch = self.collator(readable) if readable else self._empty(items[0])
        except ArtQuantError as error:
            return {REPORT: BatchReport(names, unreadable=unreadable, failure=str(error))}
        except MachineError as error:
            return {REPORT: BatchReport(fault=str(error))}
        return {**batch, REPORT: BatchReport(names, count_tokens(batch) if readable else 0, unreadable)}

    def _empty(self, item: dict[str, Any]) -> dict[str, Any]:
        part = self.collator.part([{**item, "image": Image.new("RGB", (224, 224), (128, 128, 128))}])
        return {"parts": [without_supervision(part)], "paintings": []}


def joined_inputs(made: Sequence[dict[str, Any]], pad_token: int) -> dict[str, Any]:
    """Model inputs of several groups of samples as one batch, as the processor would have made them together.

    Processors pad what differs in size among the samples of a batch behind its end: token ids with the padding token,
    masks and pixels with zeros.

    Args:
        made: What the prompter made of each group: for each name a tensor whose first dimension counts samples,
            pictures or patches, with the same number of dimensions in each group.
        pad_token: Id of the tokenizer's padding token.

    Example:
        >>> groups = [{"input_ids": torch.tensor([[5, 6]])}, {"input_ids": torch.tensor([[7]])}]
        >>> joined_inputs(groups, 0)["input_ids"].tolist()
        [[5, 6], [7, 0]]
    """
    joined = {}
    for name in made[0]:
        tensors = [inputs[name] for inputs in made]
        shape = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
        padded = []
        for tensor in tensors:
            whole = tensor.new_full((len(tensor), *shape), pad_token if name == "input_ids" else 0)
            whole[tuple(slice(size) for size in tensor.shape)] = tensor
            padded.append(whole)
        joined[name] = torch.cat(padded)
    return joined


def _opened(picture: Image.Image | ClosedPicture) -> Image.Image:
    return picture.open() if isinstance(picture, ClosedPicture) else picture


def _name(item: dict[str, Any]) -> str:
    sample = item["sample"]
    return f"{sample.attribute or sample.kind} {sample.painting_id}"


def groups_that_share_images(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts of a batch in groups, each of which needs no other for its forward pass.

    Args:
        parts: Parts of a batch as `AnswerCollator` makes it.

    Returns:
        The parts in their order; one that reuses images stands in the group of the part that has them.
    """
    groups: list[list[Part]] = []
    for part in parts:
        if part["reuses_images"]:
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def count_passes(batch: dict[str, Any]) -> Tensor:
    """The number of forward passes that a batch needs, by their kind.

    Args:
        batch: A batch as `AnswerCollator` makes it, with a list of parts under ``parts``.

    Returns:
        Shape (2,), long: pairs of parts of which the second reuses the first one's images, and other parts.
    """
    twins = sum(part["reuses_images"] for part in batch["parts"])
    return torch.tensor([twins, len(batch["parts"]) - 2 * twins])


def with_passes(batch: dict[str, Any], passes: Tensor) -> dict[str, Any]:
    """Pad the batch with unsupervised parts, so that every process makes the same number of forward passes.

    Models whose weights are spread over processes exchange them in every pass; a process that makes fewer passes than
    the others would leave them waiting.

    Args:
        batch: A batch as `AnswerCollator` makes it, with a list of parts under ``parts``.
        passes: Number of passes of each kind, as `count_passes` gives it; at least the batch's own.
    """
    parts = batch["parts"]
    twins, alone = (passes - count_passes(batch)).tolist()
    idle = without_supervision(parts[0])
    without_pixels = {name: value for name, value in idle["inputs"].items() if name != "pixel_values"}
    added = [idle, idle | {"inputs": without_pixels, "reuses_images": True}] * twins
    return batch | {"parts": [*added, *parts, *[idle] * alone]}


def without_supervision(part: Part) -> Part:
    """The part without its supervised positions: it goes through the model and adds nothing to the loss."""
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
        batch: A batch as `AnswerCollator` makes it, with a list of parts under ``parts``.

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
    """Score and description sample of each painting that has both among the items; attributes' samples stay alone."""
    scores = {
        item["sample"].image: item
        for item in items
        if item["sample"].kind == "score" and item["sample"].attribute is None
    }
    describes = {item["sample"].image: item for item in items if item["sample"].kind == "describe"}
    return [(item, describes[image]) for image, item in scores.items() if image in describes]
