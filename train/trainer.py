"""`transformers.Trainer` with the loss of the paper, evaluation by scoring, and checkpoints that score."""

import itertools
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import DistributedType
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import Sampler
from transformers import Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput
from transformers.utils import PushInProgress

from artquant_plugin.backbones.interface import core, damaged_weights, takes_encoded_images
from artquant_plugin.backbones.linear_attention import warn_of_missing_packages
from artquant_plugin.checkpoint import Checkpoint, load_checkpoint, restore_weights, save_checkpoint
from artquant_plugin.common.device import synchronize
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning, MachineError
from artquant_plugin.common.files import atomic_folder
from artquant_plugin.prompting.prompter import Prompter
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train import sharding
from artquant_plugin.train.callbacks import EpochStart, SaveAndStop, StopRequest, has_ended
from artquant_plugin.train.collate import (
    REPORT,
    AnswerCollator,
    BatchReport,
    GuardedCollator,
    count_passes,
    count_terms,
    count_tokens,
    groups_that_share_images,
    with_passes,
)
from artquant_plugin.train.config import ArtQuantConfig
from artquant_plugin.train.data import MixedSamples, ScoredPainting
from artquant_plugin.train.evaluation import agreement_metrics, score_paintings
from artquant_plugin.train.faults import SettingNames, checkpoint_unwritten, loss_not_finite, raise_if_memory
from artquant_plugin.train.log_line import LossMeans, Speed
from artquant_plugin.train.losses import TERMS, LossTerms, batch_terms
from artquant_plugin.train.order import EpochSampler
from artquant_plugin.train.parts import add_adapter, checkpoint_activations, grouped_by_part, processor_of
from artquant_plugin.train.pushing import push_checkpoint
from artquant_plugin.train.stages import WHOLE_FILE, StageFolder, remove_checkpoint
from artquant_plugin.train.tables import StreamedSamples, Table, evaluation_paintings, training_samples


class ArtQuantTrainer(Trainer):
    """Trains a vision-language model to score paintings, and to describe them.

    Each term of the loss is a mean over its own samples or tokens in a whole optimisation step, of all micro-batches
    and all processes, so that accumulating gradients and adding processes gives what one large batch gives. An
    evaluation scores the paintings of `eval_dataset` with the engine that users score with, and gives SROCC, PLCC and
    the level words' mean probability among all tokens.
    A checkpoint is a folder that `ArtQuantScorer` and lmms-eval load as it is.

    Args:
        model: Name or folder of a model, which `load_checkpoint` loads, or a loaded model of
            `AutoModelForImageTextToText`, perhaps in a peft wrapper.
        args: Arguments of the training, with the levels, the prompts and the loss.
        train_dataset: A `datasets.Dataset`, or a streaming `datasets.IterableDataset`, whose columns `TableColumns`
            describes; a stream needs `max_steps`. A run hands over the samples of its dataset folders.
        eval_dataset: Such a dataset, or a list of `ScoredPainting`, to evaluate on. None for no evaluation.
        processing_class: Processor of a loaded model; that of the name the model was loaded from when None.
        peft_config: Adapter that is trained beside the model's own weights, which stay as they are except those of
            `full_parts`. A `LoraConfig` without `target_modules` adapts every linear layer of the language model.
        callbacks: Further callbacks, as transformers takes them.
        optimizers: Optimizer and scheduler that are used instead of those of `args`.
        prompter: Writes prompts and answers; made of the processor and `args` when None.
        stop_request: Tells whether somebody asked training to stop, which then saves first; None where nobody can.
        in_run: Whether this is a stage of a run, whose messages name keys of its YAML file and options of `artquant
            train`. Else they name the fields of `ArtQuantConfig` and the arguments of `train`.

    Raises:
        ArtQuantError: The model or a dataset does not fit, or the model does not take encoded images although they are
            to be shared.
    """

    args: ArtQuantConfig
    loss_is_scaled_for_ga = True  # `Trainer` must not divide by the number of micro-batches

    def __init__(
        self,
        model: Any,
        args: ArtQuantConfig,
        train_dataset: MixedSamples | Table | None = None,
        eval_dataset: Sequence[ScoredPainting] | Table | None = None,
        *,
        processing_class: Any = None,
        peft_config: Any = None,
        callbacks: Sequence[Any] = (),
        optimizers: tuple[Any, Any] = (None, None),
        prompter: Prompter | None = None,
        stop_request: StopRequest | None = None,
        in_run: bool = False,
    ) -> None:
        if isinstance(model, str):
            args.check_attention(args.attn_implementation, args.model_dtype)
            checkpoint = load_checkpoint(
                model,
                scoring=args.scoring_spec(),
                dtype=args.model_dtype,
                attn=args.attn_implementation,
                trust_remote_code=args.trust_remote_code,
                moved_later=True,
            )
            model, processing_class = checkpoint.model, processing_class or checkpoint.processor
        elif processing_class is None and prompter is None:
            processing_class = processor_of(model, trust_remote_code=args.trust_remote_code)
        model = add_adapter(model, peft_config, args.full_parts, seed=args.seed)
        self.spec = spec = args.scoring_spec()
        prompter = prompter or Prompter(processing_class, spec.prompt, spec.scale, spec.attributes)
        self.prompter = prompter
        self.level_ids = torch.tensor(prompter.level_ids)
        self.loss_section = args.loss_section()
        self.folder = StageFolder(Path(str(args.output_dir)))
        self.skipped: dict[str, str] = {}
        self._names = SettingNames(in_run)
        self._speed = Speed()
        self._loss_means = LossMeans()
        self._epochs = EpochStart()
        self._save_and_stop = SaveAndStop(args.early_stopping_patience, stop_request)
        self._collator = AnswerCollator(prompter, share_images=args.share_images)
        super().__init__(
            model=model,
            args=args,
            data_collator=GuardedCollator(self._collator),
            train_dataset=training_samples(train_dataset, args),
            eval_dataset=cast(Any, None if eval_dataset is None else evaluation_paintings(eval_dataset)),
            processing_class=processing_class,
            callbacks=[*callbacks],
            optimizers=optimizers,
        )
        warn_of_missing_packages(self.model)
        if args.share_images and not takes_encoded_images(self.model):
            raise ArtQuantError(
                f"{type(core(self.model)).__name__} does not take images that are encoded already; "
                f"set {self._names.train('share_images', False)}"
            )
        if args.activation_checkpointing:  # before training, so that a rehearsal needs as much memory as a step
            checkpoint_activations(self.model, cast(dict[str, Any], args.activation_checkpointing_kwargs))
        if self.is_fsdp_enabled:
            sharding.name_layers(self.accelerator.state.fsdp_plugin, core(self.model))
        self.add_callback(self._save_and_stop)
        self.add_callback(self._epochs)

    @property
    def stopped(self) -> bool:
        """Whether training ended because somebody asked it to."""
        return self._save_and_stop.stopped

    @property
    def is_sharded(self) -> bool:
        """Whether the model's weights are spread over the processes."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    @property
    def best_folder(self) -> Path | None:
        """Folder of the best evaluation's weights; None where the last weights are kept, or nothing was evaluated."""
        return self.folder.best if self.args.keep == "best" and self.folder.best.exists() else None

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **options: Any) -> Any:
        """Train, and end with the weights that `args.keep` names.

        A model whose weights are spread over processes ends with the last weights; the best ones are in `best_folder`.

        Args:
            resume_from_checkpoint: Folder of a checkpoint to go on from, or True for the newest one that was written
                whole. None and False begin anew.
            args: Further positional arguments, which are handed to `Trainer.train` as they are.
            options: Further keyword arguments, which are handed to `Trainer.train` as they are.

        Raises:
            ArtQuantError: There is no checkpoint to go on from, an image cannot be read, the loss is not finite, the
                memory does not suffice, or a checkpoint could not be written.
        """
        if resume_from_checkpoint is True:
            last = self.folder.last_checkpoint()
            if last is None:
                raise ArtQuantError(f"{self.folder.path} holds no whole checkpoint to go on from; train without it")
            resume_from_checkpoint = str(last)
        if not resume_from_checkpoint and self.args.should_save:
            self.folder.begin_anew()
        self.accelerator.wait_for_everyone()
        output = self._ended(resume_from_checkpoint) or super().train(resume_from_checkpoint, *args, **options)
        self.accelerator.wait_for_everyone()  # one process writes the best weights, all look for them
        best = self.best_folder
        if best is not None and not self.stopped and not self.is_sharded:
            restore_weights(self.model, best)
        self.accelerator.wait_for_everyone()
        return output

    def _ended(self, checkpoint: str | bool | None) -> TrainOutput | None:
        """The end of a training whose checkpoint holds all steps; None where steps are left, or weights are spread.

        `Trainer` would make one more step from such a checkpoint where `max_steps` ends training within an epoch, and
        go on after an early end.
        """
        if not checkpoint or self.is_sharded:
            return None
        state = TrainerState.load_from_json(str(Path(str(checkpoint)) / TRAINER_STATE_NAME))
        if not has_ended(state, max_steps=self.args.max_steps, patience=self.args.early_stopping_patience):
            return None
        self.state = state
        self._load_from_checkpoint(str(checkpoint))
        losses = [line["train_loss"] for line in state.log_history if "train_loss" in line]
        return TrainOutput(state.global_step, losses[-1] if losses else math.nan, {})

    # Batches

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        """An order that follows from seed and epoch alone, so that a resumed run finds it again."""
        samples: Any = self.train_dataset if train_dataset is None else train_dataset
        answer = self._collator.answer
        sampler = EpochSampler(
            samples,
            self.args.seed if self.args.data_seed is None else self.args.data_seed,
            batch_size=self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,
            length=(lambda sample: len(answer(sample).ids)) if self.args.group_by_length else None,
            share_images=self.args.share_images,
        )
        # accelerate 1.15 does not reach the sampler of a loader that skips batches in several processes.
        self._epochs.told_epoch = [samples, sampler]
        return sampler

    def first_batch(self) -> dict[str, Any]:
        """The first batch of this process, as the collator gives it."""
        size, samples = self.args.train_batch_size, cast(Any, self.train_dataset)
        if isinstance(samples, StreamedSamples):
            return self.data_collator(list(itertools.islice(samples, size)))
        indices = list(itertools.islice(self._get_train_sampler(), size))
        return self.data_collator(samples.__getitems__(indices))

    def rehearse(self) -> float:
        """One forward and backward pass on the first batch, after which no weight and no gradient has changed.

        Returns:
            Seconds of the pass; on a GPU of the second one, as the first one is slower.

        Raises:
            ArtQuantError: The memory does not suffice, or an image of the batch cannot be read.
        """
        model, seconds = cast(Any, self.model), 0.0
        model.train()
        try:
            for _ in range(1 if self.args.device.type == "cpu" else 2):
                started = time.perf_counter()
                batches, counts = self.get_batch_samples(iter([self.first_batch()]), 1, self.args.device)
                inputs = self._prepare_inputs(batches[0])
                for parts in self._groups(inputs["parts"]):  # as in a step: one part's activations at a time
                    with self.accelerator.autocast():
                        self.compute_loss(model, inputs | {"parts": parts}, num_items_in_batch=counts).backward()
                synchronize(self.args.device)
                seconds = time.perf_counter() - started
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            raise_if_memory(error, self._names)
            raise
        finally:
            for parameter in model.parameters():
                parameter.grad = None
        return seconds

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | None]:
        """The micro-batches of one optimisation step, and the counts that its loss is normalised with.

        Args:
            epoch_iterator: Batches of the epoch, as the collator makes them.
            num_batches: How many micro-batches the step has.
            device: Device that the counts are put on.

        Returns:
            The batches, and the counts of `count_terms` summed over all of them and over all processes, shape (4,);
            `Trainer` hands the counts to `compute_loss` as `num_items_in_batch`.

        Raises:
            ArtQuantError: An image cannot be read and is not to be left out, no batch could be made, or a stream is
                empty.
        """
        batches, _ = super().get_batch_samples(map(self._checked, epoch_iterator), num_batches, device)
        if not batches:
            raise ArtQuantError("train_dataset gives no sample; give one with paintings")
        counts = torch.stack([count_terms(batch) for batch in batches]).sum(dim=0).to(device)
        if self.accelerator.num_processes > 1:
            passes = torch.cat([count_passes(batch) for batch in batches]).to(device)
            gathered = self.accelerator.gather(torch.cat([counts, passes])[None])
            counts = gathered[:, : len(TERMS)].sum(dim=0)
            most = gathered[:, len(TERMS) :].amax(dim=0).cpu().split(2)
            batches = [with_passes(batch, each) for batch, each in zip(batches, most, strict=True)]
        self._loss_means.count_step(counts)
        return batches, counts

    def _checked(self, batch: dict[str, Any]) -> dict[str, Any]:
        report: BatchReport = batch[REPORT]
        if report.fault is not None:
            raise MachineError(report.fault)
        for name, reason in report.unreadable:
            if self.args.on_bad_sample == "stop":
                leave_out = self._names.train("on_bad_sample", "skip")
                raise ArtQuantError(f"sample {name}: {reason}; or leave such images out with {leave_out}")
            self._skip(name, reason)
        if report.failure is not None:
            raise ArtQuantError(f"batch of {', '.join(report.names)}: {report.failure}")
        return batch

    def _skip(self, name: str, reason: str) -> None:
        """Count a sample that is left out, and warn when it is the first time."""
        if name not in self.skipped:
            warnings.warn(f"sample {name} is left out: {reason}", ArtQuantWarning, stacklevel=2)
        self.skipped[name] = reason

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """On the device; soft labels keep float32, where DeepSpeed has `Trainer` cast all numbers to the model's."""
        labels = [part["level_targets"] for part in inputs["parts"]]
        prepared = super()._prepare_inputs(inputs)
        for part, targets in zip(prepared["parts"], labels, strict=True):
            part["level_targets"] = targets.to(self.args.device)
        return prepared

    # Steps

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward of a micro-batch, part by part: only one part's activations are held at a time.

        Args:
            model: The model, wrapped for several processes or not.
            inputs: A batch of the collator.
            num_items_in_batch: Counts of the whole step, as `get_batch_samples` gives them.

        Returns:
            The batch's loss without its graph, a scalar.

        Raises:
            ArtQuantError: The memory does not suffice, or the loss is not finite.
        """
        groups, losses = self._groups(inputs["parts"]), []
        try:
            for group in groups:  # gradients are exchanged once, with the last
                with self.accelerator.no_sync(model) if group is not groups[-1] else nullcontext():
                    losses.append(super().training_step(model, inputs | {"parts": group}, num_items_in_batch))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            raise_if_memory(error, self._names)
            raise
        report: BatchReport = inputs.get(REPORT, BatchReport())
        self._speed.count(len(report.names), report.tokens)
        return torch.stack(losses).sum()

    def _groups(self, parts: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """The parts that go through backward together; all of them where they are ranked against each other."""
        # DeepSpeed takes a step of the optimiser in its own backward pass.
        is_whole = bool(self.loss_section.k_ranking) or self.accelerator.distributed_type == DistributedType.DEEPSPEED
        return [list(parts)] if is_whole else groups_that_share_images(parts)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch.

        Args:
            model: The model, wrapped for several processes or not.
            inputs: A batch as `AnswerCollator` makes it.
            return_outputs: Whether to return the model's outputs of each part, too.
            num_items_in_batch: Counts of `get_batch_samples`; the batch's own when None.

        Returns:
            This batch's share of the step's loss, a scalar, times the number of processes, whose gradients are
            averaged.

        Raises:
            ArtQuantError: The loss is not finite.
        """
        if num_items_in_batch is None:
            counts, processes = count_terms(inputs), 1
        else:
            counts, processes = torch.as_tensor(num_items_in_batch), self.accelerator.num_processes
        outputs = self.forward_parts(model, inputs["parts"])
        parts = self.loss_terms(inputs["parts"], [output.logits for output in outputs], counts / processes)
        weights = self.loss_section
        loss = parts.total(k=weights.k, k_asl=weights.k_asl, k_mass=weights.k_mass, k_ranking=weights.k_ranking)
        if not torch.isfinite(loss):
            raise self._not_finite(loss, inputs["paintings"])
        if num_items_in_batch is not None:
            self._loss_means.add(parts)
        return (loss, outputs) if return_outputs else loss

    def _not_finite(self, loss: Tensor, paintings: Sequence[str]) -> ArtQuantError:
        step = self.state.global_step
        damage = None if self.is_sharded or step > 0 else damaged_weights(self.model)
        dtype = None if self.args.fp16 else core(self.model).dtype
        return loss_not_finite(loss, paintings, step=step, damage=damage, dtype=dtype, names=self._names)

    def forward_parts(self, model: Any, parts: Sequence[dict[str, Any]]) -> list[Any]:
        """The model's outputs of each part of a batch; a part that reuses images takes those encoded before it.

        Args:
            model: The model, wrapped for several processes or not.
            parts: Parts of a batch of `AnswerCollator`, on the model's device.
        """
        outputs: list[Any] = []
        for part in parts:
            inputs = dict(part["inputs"])
            if part["reuses_images"]:
                inputs["mm_encoder_outputs"] = {"image": outputs[-1].image_outputs}
            outputs.append(model(**inputs, logits_to_keep=part["supervised"], use_cache=False))
        return outputs

    def loss_terms(self, parts: Sequence[dict[str, Any]], logits: Sequence[Tensor], counts: Tensor) -> LossTerms:
        """The terms of a batch's loss.

        Args:
            parts: Parts of a batch as `AnswerCollator` makes it.
            logits: Logits of each part's S supervised positions, shape (S, V).
            counts: What each term's sum is divided by, shape (4,), in the order of `TERMS`.
        """
        values, section = self.spec.scale.values, self.loss_section
        return batch_terms(parts, logits, counts, section=section, level_ids=self.level_ids, level_values=values)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer of `args.optim`, whose groups follow the model's parts and whether weights decay.

        Args:
            model: The model; `self.model` when None.

        Raises:
            ArtQuantError: Parts have learning rates of their own, and the optimizer groups the weights itself.
        """
        model = self.model if model is None else model
        if self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            decayed, rates = (
                self.get_decay_parameter_names(model),
                cast(dict[Any, float], self.args.part_learning_rates),
            )
            options = grouped_by_part(
                kind, options, model, decayed, weight_decay=self.args.weight_decay, rates=rates or {}
            )
            self.optimizer_cls_and_kwargs = kind, options
        return super().create_optimizer(model)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Operations of a batch's forward and backward pass by `Trainer`'s own rule: six per token and weight."""
        return 6 * count_tokens(inputs) * self.accelerator.unwrap_model(self.model).num_parameters()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add speed, memory, and the loss's terms to a line that has the loss.

        Args:
            logs: The line. A term is the mean over the steps since the last line that had it.
            start_time: Time at which training began, which is handed to `Trainer.log` as it is.
        """
        if "loss" in logs:
            logs |= self._speed.take(self.args)
            if self.skipped:
                logs["skipped"] = len(self.skipped)
            means = self._loss_means.take(lambda sums: self.accelerator.reduce(sums.to(self.args.device), "mean"))
            logs |= {name: mean for name, mean in means.items() if name != "ranking" or self.loss_section.k_ranking}
        super().log(logs, start_time)

    # Evaluation

    def evaluate(
        self,
        eval_dataset: Sequence[ScoredPainting] | Table | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Score paintings with the engine that users score with; during training, keep the best weights.

        Args:
            eval_dataset: Paintings to score, as in the constructor; those of the constructor when None.
            ignore_keys: Not used; `Trainer` has it.
            metric_key_prefix: Beginning of the metrics' names.

        Returns:
            ``eval_srocc`` and ``eval_plcc``, and ``eval_level_mass``, the mean probability that the level words have
            together among all tokens; NaN where they are not defined.

        Raises:
            ArtQuantError: There are no paintings, an image cannot be read and is not to be left out, or a weight of
                the model is not finite.
        """
        paintings = cast(Any, self.eval_dataset) if eval_dataset is None else evaluation_paintings(eval_dataset)
        if paintings is None:
            raise ArtQuantError("there are no paintings to evaluate on; pass eval_dataset")
        best = self.state.best_metric
        damage = None if self.is_sharded else damaged_weights(self.model)
        if damage is not None:
            remedy = f"; lower {self._names.train('learning_rate')}" if self.state.global_step else ""
            raise ArtQuantError(f"nothing can be scored at step {self.state.global_step}: {damage}{remedy}")
        # The engine enters the model below its root, whose own weights FSDP2 would leave in pieces.
        root = self.model_wrapped if isinstance(self.model_wrapped, FSDPModule) else None
        if root is not None:
            root.unshard()
        metrics = agreement_metrics(self._scores(paintings), paintings, metric_key_prefix)
        self.log({name: value for name, value in metrics.items() if math.isfinite(value)})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if root is not None:
            root.reshard()
        value = metrics[f"{metric_key_prefix}_srocc"]
        if self.is_in_train and self.args.keep == "best" and (best is None or value > best):
            self.save_model(str(self.folder.best), _internal_call=True)
        self._speed.take(self.args)  # the time of evaluation is none of training's
        return metrics

    def _scores(self, paintings: Sequence[ScoredPainting]) -> np.ndarray:
        """Score and level mass of each painting, shape (n, 2); NaN for one that is left out."""
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        model.eval()
        checkpoint = Checkpoint(model=model, processor=self.processing_class, spec=self.spec, name="in training")
        # Processes share the paintings, unless they share the model: then all have to score all.
        rank, processes = (0, 1) if self.is_sharded else (self.args.process_index, self.args.world_size)
        leave_out = self._skip if self.args.on_bad_sample == "skip" else None
        with self.accelerator.autocast():
            scorer = ArtQuantScorer(checkpoint, batch_size=self.args.per_device_eval_batch_size, level_mass=True)
            scores = score_paintings(scorer, paintings, leave_out, rank=rank, processes=processes)
        model.train(was_training)
        return scores

    # Checkpoints

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write a checkpoint that scores; the folders `best` and `final` appear whole."""
        if state_dict is not None:
            state_dict = sharding.whole_tensors(state_dict)
        if not self.args.should_save:
            return
        model = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        folder = Path(output_dir or str(self.args.output_dir))
        whole = folder in (self.folder.best, self.folder.final)
        try:
            with atomic_folder(folder) if whole else nullcontext(folder) as place:
                save_checkpoint(place, model, self.processing_class, self.spec, state_dict)
        except (OSError, SafetensorError) as error:
            raise checkpoint_unwritten(folder, error, self.folder.last_checkpoint(), self._names) from error

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write everything that is needed to go on; what was written before goes only when this is whole."""
        folder = self.folder.path / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            remove_checkpoint(folder)  # of a process that was killed while it wrote
        self.accelerator.wait_for_everyone()
        limit, self.args.save_total_limit = self.args.save_total_limit, None  # `Trainer` would remove them before
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                (folder / WHOLE_FILE).touch()
        except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
            if isinstance(error, RuntimeError) and "write" not in str(error):
                raise
            remove_checkpoint(folder)
            raise checkpoint_unwritten(folder, error, self.folder.last_checkpoint(), self._names) from error
        except ArtQuantError:
            remove_checkpoint(folder)
            raise
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save and limit is not None:
            self.folder.keep_newest(limit)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Send what belongs to a checkpoint; the Trainer's own way would send the output folder, pickles included.

        As there, none is sent while the one before is on its way.
        """
        if self.args.hub_strategy == "end" or not self.is_world_process_zero():
            return
        if self.push_in_progress and not self.push_in_progress.is_done():
            return
        state = f"{self.folder.path.name}, step {self.state.global_step}"
        job: Any = push_checkpoint(Path(checkpoint_folder), str(self.hub_model_id), state)
        # The annotations there say one job, or none at all; the code means several.
        self.push_in_progress = cast(Any, PushInProgress(cast(Any, [job])))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Put a checkpoint's weights back, rounding nothing."""
        if self.is_sharded:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            restore_weights(self.model, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Put optimizer and scheduler back."""
        folder = Path(checkpoint or "")
        if checkpoint is None or not self.is_fsdp_enabled or not (folder / "optimizer.bin").is_file():
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        scheduler: Any = self.lr_scheduler
        sharding.load_optimizer(self.model, self.optimizer, folder, is_main_process=self.accelerator.is_main_process)
        scheduler.load_state_dict(torch.load(folder / "scheduler.pt", weights_only=True))
