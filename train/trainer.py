"""The trainer: forward, loss, its parts in the log, and SROCC/PLCC of the validation split as evaluation."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import Trainer

from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.dataset import Dataset, Painting
from artquant_plugin.metrics import plcc, srocc
from artquant_plugin.scoring import ArtQuantScorer
from artquant_plugin.train.config import LossSection
from artquant_plugin.train.losses import LossParts, level_divergence, token_cross_entropy


class AestheticTrainer(Trainer):
    """`transformers.Trainer` with the loss of the paper and evaluation by the scoring engine.

    Args:
        level_ids: token ids of the K levels.
        loss_weights: k and k_ASL.
        spec: the scoring file that the checkpoint will carry.
        validation: paintings that evaluation scores, with the dataset that they are of.
        score_batch_size: images per forward pass in evaluation.
        trainer_arguments: passed on to `Trainer`.
    """

    def __init__(
        self,
        *,
        level_ids: Sequence[int],
        loss_weights: LossSection,
        spec: ScoringSpec,
        validation: Sequence[tuple[Dataset, Painting]],
        score_batch_size: int,
        **trainer_arguments: Any,
    ) -> None:
        super().__init__(**trainer_arguments)
        self.level_ids = torch.tensor(level_ids)
        self.loss_weights = loss_weights
        self.spec = spec
        self.validation = validation
        self.score_batch_size = score_batch_size
        self._parts: dict[str, list[float]] = defaultdict(list)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch of `AnswerCollator`."""
        inputs = dict(inputs)
        supervised = inputs.pop("supervised")
        next_ids, level_targets = inputs.pop("next_ids"), inputs.pop("level_targets")
        is_level, is_description = inputs.pop("is_level"), inputs.pop("is_description")
        outputs = model(**inputs, logits_to_keep=supervised, use_cache=False)
        logits = outputs.logits.reshape(len(next_ids), -1)
        is_answer = ~is_level & ~is_description
        parts = LossParts(
            ce_description=token_cross_entropy(logits[is_description], next_ids[is_description]),
            ce_answer=token_cross_entropy(logits[is_answer], next_ids[is_answer]),
            kl=level_divergence(logits[is_level][:, self.level_ids.to(logits.device)], level_targets),
        )
        loss = parts.total(k=self.loss_weights.k, k_asl=self.loss_weights.k_asl)
        for name, present in (
            ("ce_description", is_description.any()),
            ("ce_answer", is_answer.any()),
            ("kl", is_level.any()),
        ):
            if present:
                self._parts[name].append(getattr(parts, name).item())
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the loss parts' means since the last line."""
        if "loss" in logs:
            logs |= {name: sum(values) / len(values) for name, values in self._parts.items()}
            self._parts.clear()
        super().log(logs, start_time)

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Score the validation paintings with the engine that users score with.

        Returns:
            ``eval_srocc`` and ``eval_plcc``.
        """
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        model.eval()
        checkpoint = Checkpoint(model=model, processor=self.processing_class, spec=self.spec, name="in training")
        paths = [dataset.image_path(painting) for dataset, painting in self.validation]
        # Processes share the paintings, unless they share the model: then all have to score all.
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        start, step = (0, 1) if sharded else (self.args.process_index, self.args.world_size)
        with self.accelerator.autocast():
            scorer = ArtQuantScorer(checkpoint, batch_size=self.score_batch_size)
            own = [score.score for score in scorer.score(paths[start::step])]
        model.train(was_training)
        predictions = np.empty(len(paths))
        if step == 1:
            predictions[:] = own
        else:
            for rank, scores in enumerate(gather_object([own])):
                predictions[rank::step] = scores
        truths = np.array([painting.score for _, painting in self.validation])
        metrics = {
            f"{metric_key_prefix}_srocc": srocc(predictions, truths),
            f"{metric_key_prefix}_plcc": plcc(predictions, truths),
        }
        self.log({name: value for name, value in metrics.items() if math.isfinite(value)})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
