"""The trainer: forward, loss, its parts in the log, and SROCC/PLCC of the validation split as evaluation."""

import inspect
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import DistributedType, gather_object
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from transformers import Trainer

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset, Painting
from artquant_plugin.metrics.agreement import plcc, srocc
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.collate import count_passes, count_terms, count_tokens, with_passes
from artquant_plugin.train.config import LossSection
from artquant_plugin.train.losses import TERMS, LossParts, level_divergence, mean, moments, pair_fidelity, per_token
from artquant_plugin.train.order import PaintingOrder
from artquant_plugin.train.samples import SampleDataset


class AestheticTrainer(Trainer):
    """`transformers.Trainer` with the loss of the paper and evaluation by the scoring engine.

    Each term of the loss is a mean over its own samples or tokens in a whole optimisation step, of all micro-batches
    and all processes, so that accumulating gradients and adding processes gives what one large batch gives.

    Args:
        level_ids: token ids of the K levels.
        loss_weights: what the terms weigh, and how they are computed.
        spec: the scoring file that the checkpoint will carry.
        validation: paintings that evaluation scores, with the dataset that they are of.
        score_batch_size: images per forward pass in evaluation.
        share_images: bring a painting's two samples into one batch, for a collator that lets them share its image.
        trainer_arguments: passed on to `Trainer`.

    Raises:
        ArtQuantError: images are to be shared, and the architecture does not take images that are encoded already.
    """

    loss_is_scaled_for_ga = True  # `Trainer` must not divide by the number of micro-batches

    def __init__(
        self,
        *,
        level_ids: Sequence[int],
        loss_weights: LossSection,
        spec: ScoringSpec,
        validation: Sequence[tuple[Dataset, Painting]],
        score_batch_size: int,
        share_images: bool = False,
        **trainer_arguments: Any,
    ) -> None:
        super().__init__(**trainer_arguments)
        self.level_ids = torch.tensor(level_ids)
        self.loss_weights = loss_weights
        self.spec = spec
        self.validation = validation
        self.score_batch_size = score_batch_size
        self.share_images = share_images
        self._sums, self._steps = torch.zeros(len(TERMS)), torch.zeros(len(TERMS))  # of the parts since the last log
        if share_images and not takes_encoded_images(self.model):
            raise ArtQuantError(
                f"{type(core(self.model)).__name__} does not take images that are encoded already; "
                "set train.share_images: false"
            )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | None]:
        """The micro-batches of one optimisation step, and the counts that its loss is normalised with.

        Returns:
            The batches, and the counts of `count_terms` summed over all of them and over all processes, shape (4,);
            what `Trainer` hands to `compute_loss` as `num_items_in_batch`.
        """
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = torch.stack([count_terms(batch) for batch in batches]).sum(dim=0).to(device)
        if self.accelerator.num_processes > 1:
            passes = torch.cat([count_passes(batch) for batch in batches]).to(device)
            gathered = self.accelerator.gather(torch.cat([counts, passes])[None])
            counts = gathered[:, : len(TERMS)].sum(dim=0)
            most = gathered[:, len(TERMS) :].amax(dim=0).cpu().split(2)
            batches = [with_passes(batch, each) for batch, each in zip(batches, most, strict=True)]
        self._steps += (counts > 0).cpu()
        return batches, counts

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward of a micro-batch, part by part: only one part's activations are held at a time.

        Args:
            model: wrapped for several processes or not.
            inputs: a batch of `AnswerCollator`.
            num_items_in_batch: counts of `get_batch_samples`.

        Returns:
            The batch's loss, without its graph.
        """
        groups = self._groups(inputs["parts"])
        losses = []
        for group in groups[:-1]:  # gradients are exchanged once, with the last
            with self.accelerator.no_sync(model):
                losses.append(super().training_step(model, inputs | {"parts": group}, num_items_in_batch))
        losses.append(super().training_step(model, inputs | {"parts": groups[-1]}, num_items_in_batch))
        return torch.stack(losses).sum()

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """On the device; soft labels keep float32, where DeepSpeed has `Trainer` cast all numbers to the model's."""
        labels = [part["level_targets"] for part in inputs["parts"]]
        prepared = super()._prepare_inputs(inputs)
        for part, targets in zip(prepared["parts"], labels, strict=True):
            part["level_targets"] = targets.to(self.args.device)
        return prepared

    def _groups(self, parts: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """The parts that must go through backward together: those that share images, or are ranked against others."""
        if self.loss_weights.k_ranking or self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            return [list(parts)]  # DeepSpeed takes a step of the optimiser in its own backward pass
        groups: list[list[dict[str, Any]]] = []
        for part in parts:
            if part["reuses_images"]:
                groups[-1].append(part)
            else:
                groups.append([part])
        return groups

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch of `AnswerCollator`.

        Args:
            model: wrapped for several processes or not.
            inputs: the batch.
            return_outputs: whether to return the model's outputs of each part, too.
            num_items_in_batch: counts of `get_batch_samples`; the batch's own when left out.

        Returns:
            This batch's share of the step's loss, times the number of processes, whose gradients are averaged.
        """
        if num_items_in_batch is None:
            counts, processes = count_terms(inputs), 1
        else:
            counts, processes = torch.as_tensor(num_items_in_batch), self.accelerator.num_processes
        outputs = self._forward(model, inputs["parts"])
        parts = self._loss_parts(inputs["parts"], [output.logits for output in outputs], counts / processes)
        weights = self.loss_weights
        loss = parts.total(k=weights.k, k_asl=weights.k_asl, k_ranking=weights.k_ranking)
        if not torch.isfinite(loss):
            raise ArtQuantError(
                f"the loss became {loss.item()} at step {self.state.global_step} with "
                f"{', '.join(inputs['paintings'])}; lower train.learning_rate"
            )
        if num_items_in_batch is not None:
            self._sums += parts.stacked().cpu()
        return (loss, outputs) if return_outputs else loss

    def _forward(self, model: nn.Module, parts: Sequence[dict[str, Any]]) -> list[Any]:
        """The model's outputs of each part of a batch."""
        outputs: list[Any] = []
        for part in parts:
            inputs = dict(part["inputs"])
            if part["reuses_images"]:
                inputs["mm_encoder_outputs"] = {"image": outputs[-1].image_outputs}
            outputs.append(model(**inputs, logits_to_keep=part["supervised"], use_cache=False))
        return outputs

    def _loss_parts(self, parts: Sequence[dict[str, Any]], logits: Sequence[Tensor], counts: Tensor) -> LossParts:
        """The terms of a batch's loss.

        Args:
            parts: of the batch.
            logits: of each part's supervised positions, shape (S, V).
            counts: what each term's sum is divided by, in the order of `TERMS`.
        """
        logits = [each.flatten(0, -2) for each in logits]
        tokens = torch.cat([per_token(each, part["next_ids"]) for each, part in zip(logits, parts, strict=True)])
        is_level = torch.cat([part["is_level"] for part in parts])
        is_description = torch.cat([part["is_description"] for part in parts])
        at_level = torch.cat([each[part["is_level"]] for each, part in zip(logits, parts, strict=True)])
        targets = torch.cat([part["level_targets"] for part in parts])
        level_ids = self.level_ids.to(at_level.device)
        count = dict(zip(TERMS, counts.to(at_level.device).unbind(), strict=True))
        whole = self.loss_weights.softmax == "vocabulary"
        return LossParts(
            ce_description=mean(tokens[is_description], count["ce_description"]),
            ce_answer=mean(tokens[~is_level & ~is_description], count["ce_answer"]),
            kl=level_divergence(
                at_level if whole else at_level[:, level_ids],
                targets,
                level_ids=level_ids if whole else None,
                count=count["kl"],
            ),
            ranking=self._ranking(at_level[:, level_ids], targets, count["ranking"]),
        )

    def _ranking(self, logits: Tensor, targets: Tensor, count: Tensor) -> Tensor:
        """The fidelity loss of all pairs in a batch; soft labels tell the true scores and their spread."""
        if self.loss_weights.k_ranking == 0:
            return logits.new_zeros((), dtype=torch.float32)
        values = torch.tensor(self.spec.scale.values, dtype=torch.float32, device=logits.device)
        scores, variances = moments(logits.float().softmax(dim=-1), values)
        true_scores, true_variances = moments(targets.float(), values)
        continuous = self.loss_weights.ranking != "binary"
        return pair_fidelity(
            scores,
            true_scores,
            variances=variances if self.loss_weights.ranking == "predicted" else None,
            true_variances=true_variances if continuous else None,
            count=count,
        )

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Of a batch's forward and backward pass, by `Trainer`'s own rule: six per token and weight."""
        return 6 * count_tokens(inputs) * self.accelerator.unwrap_model(self.model).num_parameters()

    def _get_train_sampler(self, train_dataset: TorchDataset[Any] | None = None) -> Sampler[int] | None:
        """`Trainer`'s own random order, unless paintings' samples are to meet."""
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if self.share_images and isinstance(dataset, SampleDataset):
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            return PaintingOrder(dataset.samples, seed)
        return super()._get_train_sampler(train_dataset)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of the loss's parts over the steps since the last line, each over the steps that had it."""
        if "loss" in logs:
            sums = self.accelerator.reduce(self._sums.to(self.args.device), reduction="mean").tolist()
            logs |= {
                name: total / steps
                for name, total, steps in zip(TERMS, sums, self._steps.tolist(), strict=True)
                if steps and (name != "ranking" or self.loss_weights.k_ranking)
            }
            self._sums.zero_()
            self._steps.zero_()
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
            own = self._validate(scorer, paths[start::step])
        model.train(was_training)
        predictions = np.empty(len(paths))
        if step == 1:
            predictions[:] = own
        else:
            for rank, scores in enumerate(gather_object([own])):
                predictions[rank::step] = scores
        truths = np.array([painting.score for _, painting in self.validation])
        known = ~np.isnan(predictions)
        metrics = {
            f"{metric_key_prefix}_srocc": srocc(predictions[known], truths[known]),
            f"{metric_key_prefix}_plcc": plcc(predictions[known], truths[known]),
        }
        self.log({name: value for name, value in metrics.items() if math.isfinite(value)})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _validate(self, scorer: ArtQuantScorer, paths: Sequence[Path]) -> list[float]:
        """A score per painting; NaN for one that is left out."""
        return [score.score for score in scorer.score(paths)]


def takes_encoded_images(model: Any) -> bool:
    """Whether a model's forward pass takes images as its own encoder gave them, and returns them."""
    return "mm_encoder_outputs" in inspect.signature(core(model).forward).parameters
