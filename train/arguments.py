"""The trainer of a stage, its arguments and its trackers, from the configuration."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from transformers import TrainingArguments
from transformers.integrations import (
    TensorBoardCallback,
    get_reporting_integration_callbacks,
    is_tensorboard_available,
)

from artquant_plugin.common.device import default_device
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.text import one_line
from artquant_plugin.train.callbacks import Flow
from artquant_plugin.train.collate import AnswerCollator
from artquant_plugin.train.config import StageSection, TrainConfig
from artquant_plugin.train.guard import GuardedCollator
from artquant_plugin.train.mixture import MixedSamples
from artquant_plugin.train.model import Setting
from artquant_plugin.train.parts import PARTS
from artquant_plugin.train.stage_trainer import StageTrainer
from artquant_plugin.train.stages import StageFolder


def stage_trainer(
    setting: Setting,
    stage: StageSection,
    model: Any,
    folder: StageFolder,
    flow: Flow,
    callbacks: Sequence[Any] = (),
    *,
    push: bool = False,
) -> StageTrainer:
    """The trainer of a stage.

    Args:
        setting: of the run.
        stage: that is trained.
        model: with what is trained chosen.
        folder: of the stage.
        flow: when to save and stop.
        callbacks: further ones; with none at all, as in the check before the first step, no tracker is told.
        push: whether checkpoints go to `train.push_to_hub`, where it is set.
    """
    config, options = setting.config, setting.config.train
    samples = stage_samples(setting, stage)
    validated = bool(setting.material.validation)
    rates = {
        part: section.learning_rate
        for part in PARTS
        if (section := getattr(config.trained, part)).learning_rate is not None
    }
    arguments = TrainingArguments(
        output_dir=str(folder.path),
        num_train_epochs=stage.epochs,
        seed=config.seed,
        learning_rate=stage.learning_rate or options.learning_rate,
        per_device_train_batch_size=options.per_device_train_batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        weight_decay=options.weight_decay,
        adam_beta2=options.adam_beta2,
        max_grad_norm=options.max_grad_norm,
        lr_scheduler_type=options.lr_scheduler_type,
        warmup_steps=round(options.warmup_ratio * steps(config, stage, samples)),
        dataloader_num_workers=options.dataloader_num_workers,
        logging_steps=options.logging_steps,
        bf16=options.bf16,
        eval_strategy="no" if not validated else "epoch" if options.eval_steps is None else "steps",
        eval_steps=options.eval_steps,
        save_strategy="epoch" if options.save_steps is None else "steps",
        save_steps=options.save_steps or 500,
        metric_for_best_model="srocc",
        greater_is_better=True,
        logging_nan_inf_filter=False,
        report_to=[name for name in options.report_to if name != "tensorboard"] if callbacks else "none",
        remove_unused_columns=False,
        ddp_find_unused_parameters=True,  # such as a vision tower's layers behind the one that is read
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=default_device() == "cpu",
        push_to_hub=push and options.push_to_hub is not None,
        hub_model_id=options.push_to_hub,
        hub_strategy="every_save",
        hub_private_repo=True,
    )
    return StageTrainer(
        model=model,
        args=arguments,
        samples=samples,
        collator=GuardedCollator(AnswerCollator(setting.prompter, share_images=options.share_images)),
        folder=folder,
        rates=rates,
        flow=flow,
        keep_best=options.keep == "best" and validated,
        skip_bad=options.on_bad_sample == "skip",
        group_by_length=options.group_by_length,
        share_images=options.share_images,
        save_total_limit=options.save_total_limit,
        eval_dataset=samples if validated else None,
        processing_class=setting.processor,
        level_ids=setting.prompter.level_ids,
        loss_weights=config.loss,
        spec=setting.spec,
        validation=setting.material.validation,
        score_batch_size=config.score_batch_size,
        callbacks=list(callbacks),
    )


def stage_samples(setting: Setting, stage: StageSection) -> MixedSamples:
    """What a stage sees, of all datasets.

    Raises:
        ArtQuantError: the weights leave nothing.
    """
    samples = setting.material.mixed(stage.samples, setting.config.seed)
    if not len(samples):
        weights = ", ".join(f"{section.weight:g}" for section in setting.config.data)
        raise ArtQuantError(f"stage {stage.name} has no sample at data weight {weights}; raise the weight")
    return samples


def steps(config: TrainConfig, stage: StageSection, samples: MixedSamples) -> int:
    """Optimisation steps of a stage, as the Trainer counts them."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    batches = -(-len(samples) // (config.train.per_device_train_batch_size * world))
    per_epoch = -(-batches // config.train.gradient_accumulation_steps)
    return int(-(-per_epoch * stage.epochs // 1))


def check_gpus(gpus: int, kind: DistributedType) -> None:
    """Refuse several GPUs in one process: `Trainer` would wrap the model in DataParallel.

    DataParallel cuts tensors along their first axis, which the parts of a batch do not share.

    Args:
        gpus: how many this process sees.
        kind: how processes work together; NO when this is the only one.

    Raises:
        ArtQuantError: one process sees several.
    """
    if kind == DistributedType.NO and gpus > 1:
        raise ArtQuantError(
            f"this process sees {gpus} GPUs, and a process trains on one; start one each with `torchrun "
            f"--nproc_per_node {gpus} -m artquant_plugin.train CONFIG` or `accelerate launch`, or set "
            "CUDA_VISIBLE_DEVICES=0"
        )


def check_trackers(config: TrainConfig) -> None:
    """See that the trackers of `train.report_to` are installed; without TensorBoard, warn.

    Raises:
        ArtQuantError: another tracker is unknown or not installed.
    """
    others = [name for name in config.train.report_to if name != "tensorboard"]
    if len(others) < len(config.train.report_to) and not is_tensorboard_available():
        warnings.warn(
            "TensorBoard is not installed, so it gets no log (pip install tensorboard)", ArtQuantWarning, stacklevel=3
        )
    try:
        for kind in get_reporting_integration_callbacks(others):
            kind()
    except (RuntimeError, ValueError, ImportError) as error:
        raise ArtQuantError(
            f"train.report_to {', '.join(others)}: {one_line(error)}; install the tracker or leave it out"
        ) from error


def tensorboard(config: TrainConfig, stage: StageSection) -> list[Any]:
    """The callback that writes a stage's log for TensorBoard; none where it is not wanted, or by another process."""
    wanted = "tensorboard" in config.train.report_to and is_tensorboard_available()
    if not wanted or not PartialState().is_main_process:
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(str(config.output / "tensorboard" / stage.name)))]
