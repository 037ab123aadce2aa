"""The trainer of a stage: learning rates by part, an order that a resumed run finds again, checkpoints that score."""

import math
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.utils.data import Sampler
from transformers.utils import PushInProgress

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint import restore_weights, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.text import one_line
from artquant_plugin.data.images import ImageError
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.callbacks import EpochStart, Flow, Speed
from artquant_plugin.train.guard import FACTS, BatchFacts, GuardedCollator, GuardedSamples
from artquant_plugin.train.mixture import EpochSampler, MixedSamples
from artquant_plugin.train.parts import Part, optimizer_groups
from artquant_plugin.train.pushing import push_checkpoint
from artquant_plugin.train.stages import WHOLE_FILE, StageFolder, checkpoints
from artquant_plugin.train.trainer import AestheticTrainer

LESS_MEMORY = (
    "lower train.per_device_train_batch_size and raise train.gradient_accumulation_steps by as much, set "
    "train.gradient_checkpointing=true, model.dtype=bfloat16, or train parts by lora instead of full"
)


class StageTrainer(AestheticTrainer):
    """`AestheticTrainer` for one stage of a run.

    Args:
        samples: what the stage sees.
        collator: of the samples.
        folder: of the stage.
        rates: learning rates of parts that have their own.
        flow: when to save and stop; one of the callbacks.
        keep_best: whether the best weights are kept as well.
        skip_bad: whether images that cannot be read are left out; else they stop the run.
        group_by_length: whether batches hold answers of like length.
        save_total_limit: how many checkpoints are kept.
        trainer_arguments: passed on to `AestheticTrainer`.
    """

    def __init__(
        self,
        *,
        samples: MixedSamples,
        collator: GuardedCollator,
        folder: StageFolder,
        rates: Mapping[Part, float],
        flow: Flow,
        keep_best: bool,
        skip_bad: bool,
        group_by_length: bool,
        save_total_limit: int,
        **trainer_arguments: Any,
    ) -> None:
        self._samples = samples
        self._collator = collator
        self._folder = folder
        self._rates = rates
        self._keep_best = keep_best
        self._skip_bad = skip_bad
        self._group_by_length = group_by_length
        self._save_total_limit = save_total_limit
        self._speed = Speed()
        self.skipped: dict[str, str] = {}
        super().__init__(train_dataset=GuardedSamples(samples), data_collator=collator, **trainer_arguments)
        if self.is_fsdp_enabled:
            _name_layers(self.accelerator.state.fsdp_plugin, core(self.model))
        self.add_callback(flow)
        self._epochs = EpochStart()
        self.add_callback(self._epochs)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer of the arguments, its groups by part and decay."""
        model = self.model if model is None else model
        if self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            decayed = self.get_decay_parameter_names(model)
            groups = optimizer_groups(model, decayed, weight_decay=self.args.weight_decay, rates=self._rates)
            self.optimizer = kind(groups, **options)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        answer = self._collator.collator.answer
        sampler = EpochSampler(
            self._samples,
            self.args.seed,
            batch_size=self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,
            length=(lambda sample: len(answer(sample).ids)) if self._group_by_length else None,
            share_images=self.share_images,
        )
        # accelerate 1.15 does not reach the sampler of a loader that skips batches in several processes.
        self._epochs.followers = [self._samples, sampler]
        return sampler

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> Any:
        """Batches of one optimisation step, checked."""
        return super().get_batch_samples(map(self._checked, epoch_iterator), num_batches, device)

    def _checked(self, batch: dict[str, Any]) -> dict[str, Any]:
        facts: BatchFacts = batch[FACTS]
        for name, reason in facts.bad:
            if not self._skip_bad:
                raise ArtQuantError(f"sample {name}: {reason}; or leave such images out with train.on_bad_sample=skip")
            if name not in self.skipped:
                warnings.warn(f"sample {name} is left out: {reason}", ArtQuantWarning, stacklevel=2)
            self.skipped[name] = reason
        if facts.failure is not None:
            raise ArtQuantError(f"batch of {', '.join(facts.names)}: {facts.failure}")
        return batch

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """One forward and backward pass.

        Raises:
            ArtQuantError: the memory does not suffice, or the loss is not finite.
        """
        inputs = dict(inputs)
        facts: BatchFacts = inputs.pop(FACTS)
        try:
            loss = super().training_step(model, inputs, num_items_in_batch)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            raise_if_memory(error)
            raise
        self._speed.count(len(facts.names), facts.tokens)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add speed, memory and the number of samples that were left out."""
        if "loss" in logs:
            logs |= self._speed.take(self.args)
            if self.skipped:
                logs["skipped"] = len(self.skipped)
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        """Evaluate, and keep the weights if they are the best so far."""
        best = self.state.best_metric
        # The engine enters the model below its root, whose own weights FSDP2 would leave in pieces.
        root = self.model_wrapped if isinstance(self.model_wrapped, FSDPModule) else None
        if root is not None:
            root.unshard()
        metrics = super().evaluate(*args, **options)
        if root is not None:
            root.reshard()
        value = metrics["eval_srocc"]
        if self._keep_best and (best is None or value > best):
            self.save_model(str(self._folder.best), _internal_call=True)
        self._speed.take(self.args)  # the time of evaluation is none of training's
        return metrics

    def _validate(self, scorer: ArtQuantScorer, paths: Sequence[Path]) -> list[float]:
        """A score per painting; an image that cannot be read stops the run or is left out, as in training."""
        if not self._skip_bad:
            return super()._validate(scorer, paths)
        scores = []
        for path, result in zip(paths, scorer.score_each(paths), strict=True):
            if isinstance(result, ImageError):
                if f"validation {path.name}" not in self.skipped:
                    warnings.warn(f"validation {path.name} is left out: {result}", ArtQuantWarning, stacklevel=2)
                self.skipped[f"validation {path.name}"] = str(result)
                scores.append(math.nan)
            elif isinstance(result, ArtQuantError):
                raise result
            else:
                scores.append(result.score)
        return scores

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write a checkpoint that scores."""
        if state_dict is not None:  # of a sharded model, some of whose tensors accelerate may leave in pieces
            state_dict = {
                name: value.full_tensor().cpu() if isinstance(value, DTensor) else value
                for name, value in state_dict.items()
            }
        if not self.args.should_save:
            return
        model = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        folder = Path(output_dir or str(self.args.output_dir))
        try:
            save_checkpoint(folder, model, self.processing_class, self.spec, state_dict)
        except (OSError, SafetensorError) as error:
            raise self._unwritten(folder, error) from error

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write everything that is needed to go on; what was written before goes only when this is whole."""
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                (folder / WHOLE_FILE).touch()
        except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
            if isinstance(error, RuntimeError) and "write" not in str(error):
                raise
            raise self._unwritten(folder, error) from error
        except ArtQuantError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if self.args.should_save:
            whole = [path for path in checkpoints(folder.parent) if (path / WHOLE_FILE).is_file()]
            for path in checkpoints(folder.parent):
                if path not in whole[-self._save_total_limit :]:
                    shutil.rmtree(path, ignore_errors=True)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Send what belongs to a checkpoint; the Trainer's own way would send the stage's folder, pickles included.

        As there, none is sent while the one before is on its way.
        """
        if not self.is_world_process_zero() or (self.push_in_progress and not self.push_in_progress.is_done()):
            return
        step = f"{self._folder.path.name}, step {self.state.global_step}"
        job: Any = push_checkpoint(Path(checkpoint_folder), str(self.hub_model_id), step)
        # The annotations there say one job, or none at all; the code means several.
        self.push_in_progress = cast(Any, PushInProgress(cast(Any, [job])))

    def _unwritten(self, folder: Path, error: Exception) -> ArtQuantError:
        shutil.rmtree(folder, ignore_errors=True)
        last = self._folder.last_checkpoint()
        remains = f"{last} is whole" if last else "there is no earlier one"
        reason = one_line(error)
        return ArtQuantError(
            f"checkpoint {folder} could not be written ({reason}); {remains}: make room on the disk and go on with "
            "--resume"
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Put a checkpoint's weights back, rounding nothing."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            restore_weights(self.model, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Put optimizer and scheduler back.

        Weights that nothing reads, as a vision tower's last norm, get no gradient, and so no state in the optimizer.
        Left to themselves, accelerate 1.15 and torch refuse to load a sharded optimizer then.
        """
        file = Path(checkpoint or "") / "optimizer.bin"
        if checkpoint is None or not self.is_fsdp_enabled or not file.is_file():
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        whole: dict[str, Any] = {}
        if self.accelerator.is_main_process:
            whole = torch.load(file, map_location="cpu", weights_only=True)
        options = StateDictOptions(full_state_dict=True, cpu_offload=True, broadcast_from_rank0=True, strict=False)
        model: Any = self.model
        optimizer: Any = self.optimizer
        scheduler: Any = self.lr_scheduler
        set_optimizer_state_dict(model, optimizer, whole, options=options)
        scheduler.load_state_dict(torch.load(Path(checkpoint) / "scheduler.pt", weights_only=True))


def _name_layers(plugin: Any, model: Any) -> None:
    """Tell accelerate which layers to spread: it stumbles over those that an architecture may have and has not.

    Left to itself, accelerate 1.15 takes all of `_no_split_modules` and requires each to be there.
    """
    if plugin.transformer_cls_names_to_wrap is None:
        there = {type(module).__name__ for module in model.modules()}
        plugin.transformer_cls_names_to_wrap = sorted(there & set(model._no_split_modules or ()))


def raise_if_memory(error: BaseException) -> None:
    """Say what to lower when memory did not suffice; other errors pass.

    Raises:
        ArtQuantError: the error is of memory.
    """
    said = ("allocate memory", "MPS backend out of memory")  # by torch on a CPU and on a Mac's GPU
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in said):
        raise ArtQuantError(f"the memory does not suffice for a training step; {LESS_MEMORY}") from error
