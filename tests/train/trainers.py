"""Trainers in miniature, with models and batches that tests know."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import torch
from torch import Tensor
from transformers import TrainerCallback

from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.train.config import ArtQuantConfig
from artquant_plugin.train.data import MixedSamples, Sample
from artquant_plugin.train.sections import LossSection
from artquant_plugin.train.tiny import build_tiny_model
from artquant_plugin.train.trainer import ArtQuantTrainer
from tests.backbones.mplug_owl2.parity import Case
from tests.tiny import SIZES, pictures, tiny_texts

WORDS = "warm reds and a harbour under a low sky".split()


class Gradients(TrainerCallback):
    """Keeps every step's gradients, by parameter."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
        self.steps.append(
            {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
        )


def samples(folder: Path, kinds: Sequence[str]) -> list[Sample]:
    """One sample per kind, each of a painting of its own, with descriptions of different lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for index, (kind, image) in enumerate(zip(kinds, pictures(len(kinds)), strict=True)):
        path = folder / f"{index}.png"
        image.save(path)
        if kind == "score":
            label = LevelScale().soft_labels([1.5 + index % 8])[0]
            made.append(Sample("score", str(index), path, label=label))
        else:
            made.append(Sample("describe", str(index), path, description=" ".join(WORDS[: 1 + index % 8])))
    return made


def pairs(folder: Path, count: int) -> list[Sample]:
    """Score and description sample of each of some paintings; the scores first, as a run lists them."""
    scores = samples(folder, ["score"] * count)
    described = samples(folder / "again", ["describe"] * count)
    return scores + [
        Sample("describe", score.painting_id, score.image, description=other.description)
        for score, other in zip(scores, described, strict=True)
    ]


def tiny_trainer(
    folder: Path,
    chosen: Sequence[Sample] | datasets.IterableDataset,
    *,
    batch: int,
    loss: LossSection | None = None,
    share_images: bool = False,
    optim: str = "sgd",
    callbacks: Sequence[TrainerCallback] = (),
    **options: Any,
) -> ArtQuantTrainer:
    """A trainer of a LLaVA of its own, always with the same weights; by default plain descent without clipping."""
    model, processor = build_tiny_model(SIZES, tiny_texts(), seed=0)
    arguments = ArtQuantConfig(
        output_dir=str(folder / "run"),
        per_device_train_batch_size=batch,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        optim=optim,
        lr_scheduler_type="constant",
        max_grad_norm=0,
        use_cpu=True,
        disable_tqdm=True,
        loss=(loss or LossSection()).model_dump(),
        share_images=share_images,
        **options,
    )
    return ArtQuantTrainer(
        model,
        arguments,
        chosen if isinstance(chosen, datasets.IterableDataset) else MixedSamples([(chosen, 1.0)], seed=0),
        processing_class=processor,
        callbacks=list(callbacks),
    )


def recorded_trainer(folder: Path, recorded: Case, loss: LossSection) -> Any:
    """A trainer of a recorded model, in training mode as it was recorded; its processor was not recorded."""
    prompter: Any = SimpleNamespace(level_ids=recorded.expected["level_ids"])
    trainer = ArtQuantTrainer(
        recorded.model(),
        ArtQuantConfig(output_dir=str(folder), report_to="none", use_cpu=True, loss=loss.model_dump()),
        prompter=prompter,
    )
    trainer.model.train()
    return trainer


def recorded_part(recorded: Case, rows: Sequence[int], *, image_rows: Sequence[int] | None = None) -> dict[str, Any]:
    """Some rows of the recorded batch, all of one kind, as a part of ours.

    Args:
        recorded: the case.
        rows: of the batch.
        image_rows: whose images they show; their own when left out.
    """
    io, expected = recorded.io, recorded.expected
    rows = list(rows)
    mask = io["train.expanded_attention_mask"][rows]
    length = int(mask.sum(dim=1).max())
    labels = io["train.expanded_labels"][rows][:, :length]
    supervised = torch.zeros_like(labels, dtype=torch.bool)
    supervised[:, :-1] = labels[:, 1:] != -100
    next_ids = labels[:, 1:][supervised[:, :-1]]
    (describes,) = {expected["train_task_types"][row] == "description" for row in rows}
    # The level is the seventh token of an answer whose prefix has six.
    is_level = torch.zeros_like(supervised)
    if not describes:
        is_level[torch.arange(len(rows)), supervised.int().argmax(dim=1) + len(expected["level_prefix_ids"])] = True
    return {
        "inputs": {
            "input_ids": recorded.expanded(io["train.input_ids"][rows])[:, :length],
            "attention_mask": mask[:, :length].long(),
            "pixel_values": io["train.images"][rows if image_rows is None else list(image_rows), 0],
        },
        "supervised": supervised,
        "next_ids": next_ids,
        "is_level": is_level[supervised],
        "is_description": torch.full(next_ids.shape, describes),
        "level_targets": io["train.level_probs"][[] if describes else rows],
        "reuses_images": False,
    }
