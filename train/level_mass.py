"""Raising the level words' probability among all tokens at the end of a training, without a change of scores.

The paper's loss compares the level words with each other alone, so that all of them together may have a percent of the
probability, and a server that lists a position's likeliest tokens lists none of them. Training their probability as
well cost 0.04 to 0.06 of SROCC on the demo. Adding one vector to the output head's rows of all level words costs
nothing: their logits grow by the same amount, so that the probabilities among them, and with these the scores, stay.
"""

import itertools
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from artquant_plugin.backbones.interface import core, last_hidden_states, logit_transform, token_logits
from artquant_plugin.prompting.prompter import Prompter
from artquant_plugin.train.collate import AnswerCollator
from artquant_plugin.train.data import MixedSamples
from artquant_plugin.train.output_head import add_to_rows, head_obstacle, shares_embedding

SCORES, DESCRIPTIONS, BATCH = 256, 64, 16  # samples that are looked at, and how many at once
REACHED = 0.95  # share of the score samples at which the level words have at least the probability that is wanted
_RIDGE = 1e-4  # in units of the hidden states' mean square: how far the vector may be turned away from other positions
_SAME = 1e-4  # largest change of a probability among the levels that counts as rounding


class Samples(Protocol):
    """Samples that can be read by their indices, as `SampleDataset` and a list of what a stream gave."""

    def __len__(self) -> int:
        """The number of samples."""

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The samples with these indices, each with its image or the error in its place."""


@dataclass(frozen=True, slots=True)
class MassChange:
    """What became of the level words' probability.

    Args:
        before: Mean probability that the level words had together among all tokens, as they were trained; None where
            they cannot be raised, or no image could be read.
        after: The same with the vector; `before` where nothing was changed.
        reason: Why nothing was changed; None where something was.
    """

    before: float | None
    after: float | None
    reason: str | None = None

    @property
    def line(self) -> str:
        """What became of it, for a terminal."""
        if self.before is None:
            return f"level words: not raised, as {self.reason}"
        if self.reason is None:
            return f"level words: {self.after:.3f} of the probability, {self.before:.3f} as they were trained"
        return f"level words: {self.before:.3f} of the probability; not raised, as {self.reason}"


def raise_level_mass(
    model: Any, prompter: Prompter, scores: Samples, descriptions: Samples | None, *, wanted: float
) -> MassChange:
    """Add one vector to the level words' rows of a model's output head, so that a server lists the words.

    The vector is the one that raises the level words where a level is decided and, as far as possible, nowhere else in
    the answers, so that descriptions are written as before.

    Args:
        model: The trained model, in a peft wrapper or without one, whole in this process. It is changed in place.
        prompter: Writes the prompts and answers that the model was trained on.
        scores: Score samples, of which `SCORES` that are evenly spaced are looked at.
        descriptions: Description samples, of which `DESCRIPTIONS` are; None where the model was trained on none.
        wanted: Probability in (0, 1) that the level words are to have together.

    Returns:
        The probability before and after. Nothing is changed where the words have it already, where a checkpoint would
        not hold the change, as with a head that is quantised or adapted otherwise, and where scores would change.
    """
    was_training = model.training
    model.eval()
    try:
        with _types_mixed(model):
            reason = _obstacle(model, prompter)
            if reason is not None:
                return MassChange(None, None, reason)
            level, other = _hidden_states(model, prompter, scores, SCORES)
            if descriptions is not None:
                other = torch.cat([other, _hidden_states(model, prompter, descriptions, DESCRIPTIONS)[1]])
        if not len(level):
            return MassChange(None, None, "no image of a score sample could be read")
        return _raise(model, prompter.level_ids, level, other, wanted)
    finally:
        model.train(was_training)


def raise_after_training(trainer: Any) -> MassChange:
    """Raise the level words of a model that an `ArtQuantTrainer` has trained, as `artquant train` does at its end.

    Args:
        trainer: The trainer after `train()`. Its `loss` says which probability the words are to have, and its samples
            are looked at; of a stream, those that come first. With several processes, each one calls this function.

    Returns:
        The probability before and after; nothing is changed where the weights are spread over processes.
    """
    wanted, samples = trainer.loss_section.level_mass, trainer.train_dataset
    if trainer.is_sharded:
        return MassChange(None, None, "the weights are spread over processes; load the saved checkpoint and raise it")
    if not wanted or samples is None:
        return MassChange(None, None, "loss.level_mass is 0, or there is no train_dataset")
    scores, descriptions = _samples_of(samples, "score"), _samples_of(samples, "describe")
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    return raise_level_mass(
        model, trainer.prompter, scores, descriptions if len(descriptions) else None, wanted=wanted
    )


def _samples_of(samples: Any, kind: str) -> Samples:
    """The samples of one kind; of a stream, those among the first that it gives."""
    if isinstance(samples, MixedSamples):
        return MixedSamples([([sample for sample in samples.samples if sample.kind == kind], 1.0)], seed=0)
    first = itertools.islice(samples, SCORES + DESCRIPTIONS)
    return _FirstItems(item for item in first if item["sample"].kind == kind)


class _FirstItems(list[dict[str, Any]]):
    """Items that were read from a stream, as a dataset of samples gives them."""

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The items with these indices."""
        return [self[index] for index in indices]


def _raise(model: Any, level_ids: Sequence[int], level: Tensor, other: Tensor, wanted: float) -> MassChange:
    """Find the vector and add it, unless the words have the probability already, or scores would change.

    Args:
        model: The trained model, whose head is a plain one.
        level_ids: Token ids of the K level words.
        level: Hidden states where a level is decided, shape (n, hidden), float64, on the CPU.
        other: Hidden states at the other positions of answers, shape (m, hidden), float64, on the CPU.
        wanted: Probability in (0, 1) that the level words are to have together.
    """
    ids = list(level_ids)
    before = _logits(model, level)
    odds = _odds(before, ids)
    if torch.quantile(odds.sigmoid(), 1 - REACHED) >= wanted:
        return _unchanged(odds, "the level words have it already")
    direction = level.mean(dim=0)
    if len(other):
        moments = other.T @ other / len(other)
        ridge = _RIDGE * moments.diagonal().mean() * torch.eye(len(moments), dtype=moments.dtype)
        direction = torch.linalg.solve(moments + ridge, direction)
    along = logit_transform(model).scale * (level @ direction)
    needed = ((np.log(wanted / (1 - wanted)) - odds) / along)[along > 0]
    vector = torch.quantile(needed, REACHED) * direction
    shares = _shares(model, level, ids)
    undo = add_to_rows(model, ids, vector)
    if float((shares - _shares(model, level, ids)).abs().max()) > _SAME:
        undo()
        return _unchanged(odds, "scores would change by rounding")
    return MassChange(float(odds.sigmoid().mean()), float(_odds(_logits(model, level), ids).sigmoid().mean()))


def _shares(model: Any, hidden: Tensor, ids: Sequence[int]) -> Tensor:
    """Probabilities among the level words as a score is made of them, shape (n, K), on the CPU."""
    head = core(model).get_output_embeddings()
    with torch.no_grad():
        index = torch.tensor(ids, device=head.weight.device)
        return token_logits(model, hidden.to(head.weight), index).double().softmax(dim=-1).cpu()


def _logits(model: Any, hidden: Tensor) -> Tensor:
    """Logits of the whole vocabulary, shape (n, V), float64, on the CPU, for hidden states of shape (n, hidden)."""
    head = core(model).get_output_embeddings()
    with torch.no_grad():
        return logit_transform(model)(head(hidden.to(head.weight)).float()).double().cpu()


def _types_mixed(model: Any) -> Any:
    """Autocast where trained weights are float32 and the others narrower, as in training; else nothing."""
    types = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    narrow = types - {torch.float32}
    return torch.autocast(model.device.type, narrow.pop()) if len(types) > 1 else nullcontext()


def _obstacle(model: Any, prompter: Prompter) -> str | None:
    """Why the level words' rows must not be changed; None where they may."""
    if (obstacle := head_obstacle(model, prompter.level_ids)) is not None:
        return obstacle
    if logit_transform(model).cap is not None:
        return "it bends its logits, so that equal additions would change scores"
    request = prompter.score_request
    read = prompter.processor.tokenizer(request.text, add_special_tokens=False)["input_ids"][: -len(request.ids)]
    if shares_embedding(model) and set(prompter.level_ids) & set(read):
        return "its output head is its embedding, and the question holds a level word"
    return None


def _unchanged(odds: Tensor, reason: str) -> MassChange:
    mass = float(odds.sigmoid().mean())
    return MassChange(mass, mass, reason)


def _odds(logits: Tensor, ids: Sequence[int]) -> Tensor:
    """Logarithm of the level words' probability against all other tokens', shape (n,), for logits of shape (n, V)."""
    index = torch.tensor(ids)
    others = logits.index_fill(1, index, -torch.inf)
    return logits[:, index].logsumexp(dim=-1) - others.logsumexp(dim=-1)


def _hidden_states(model: Any, prompter: Prompter, samples: Samples, count: int) -> tuple[Tensor, Tensor]:
    """Hidden states of evenly spaced samples, where a level is decided and at the other positions of their answers.

    Args:
        model: The model in evaluation mode.
        prompter: Writes the samples' prompts and answers.
        samples: The samples; those whose image cannot be read are passed over.
        count: How many are looked at.

    Returns:
        Shapes (n, hidden) and (m, hidden), float64, on the CPU.
    """
    chosen = np.unique(np.linspace(0, len(samples) - 1, count).round().astype(int)).tolist() if len(samples) else []
    level, other = [], []
    for part in _parts(prompter, samples, chosen):
        inputs = {
            name: value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)
            if isinstance(value, Tensor)
            else value
            for name, value in part["inputs"].items()
        }
        with torch.inference_mode():
            hidden = last_hidden_states(model, inputs)
        read = hidden[part["supervised"].to(hidden.device)].double().cpu()
        level.append(read[part["is_level"]])
        other.append(read[~part["is_level"]])
    nothing = torch.zeros(0, core(model).config.get_text_config().hidden_size, dtype=torch.float64)
    return torch.cat([nothing, *level]), torch.cat([nothing, *other])


def _parts(prompter: Prompter, samples: Samples, chosen: Sequence[int]) -> Iterable[dict[str, Any]]:
    """Batches of the chosen samples as the trainer's model gets them, all answers supervised."""
    collator = AnswerCollator(prompter)
    for start in range(0, len(chosen), BATCH):
        items = [item for item in samples.__getitems__(chosen[start : start + BATCH]) if "error" not in item]
        if items:
            yield collator.part(items)
