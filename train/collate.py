"""Samples -> one batch: model inputs, and what each position is to predict."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from artquant_plugin.errors import ArtQuantError
from artquant_plugin.prompting import Answer, Prompter


class AnswerCollator:
    """Builds a batch in which only answers are supervised.

    Beside the model's inputs, a batch holds, for n sequences of length L and S supervised positions in row order:

    - ``supervised``: bool (n, L), positions whose next token is to be predicted; the model gives logits for these
      alone (`logits_to_keep`).
    - ``next_ids``: long (S,), the token behind each; ``is_level`` and ``is_description``: bool (S,).
    - ``level_targets``: float32 (score samples, K), soft labels in row order.

    Args:
        prompter: prompts and answers of the processor.

    Example:
        For the answer ids ``[The, quality, is, good, ., <end>]`` behind a prompt of 4 tokens, L = 10, supervised is
        true at 3..8 and next_ids is the answer itself; is_level is true at the one that predicts ``good``, whose
        target is the soft label and not the word.
    """

    def __init__(self, prompter: Prompter) -> None:
        self.prompter = prompter

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Collate items of `SampleDataset`."""
        samples = [item["sample"] for item in items]
        answers = [self.answer(sample) for sample in samples]
        batch = self.prompter.inputs([answer.text for answer in answers], [item["image"] for item in items])
        ids = batch["input_ids"]
        supervised = torch.zeros(ids.shape, dtype=torch.bool)
        is_level: list[bool] = []
        is_description: list[bool] = []
        lengths = batch["attention_mask"].sum(dim=1).tolist()
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
        batch["supervised"] = supervised
        batch["next_ids"] = ids[:, 1:][supervised[:, :-1]]
        batch["is_level"] = torch.tensor(is_level)
        batch["is_description"] = torch.tensor(is_description)
        batch["level_targets"] = torch.tensor(
            np.stack(labels) if labels else np.zeros((0, levels)), dtype=torch.float32
        )
        return batch

    def answer(self, sample: Any) -> Answer:
        """The assistant's turn of a sample; a score sample names the level of the largest probability."""
        if sample.kind == "describe":
            return self.prompter.describe_answer(sample.description)
        return self.prompter.score_answer(int(np.argmax(sample.label)))
