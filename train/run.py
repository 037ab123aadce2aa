"""A training run: load or build the model, run the stages, write one checkpoint and its record."""

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainingArguments, set_seed
from transformers.integrations import (
    TensorBoardCallback,
    get_reporting_integration_callbacks,
    is_tensorboard_available,
)

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint import SCORING_FILE, ScoringSpec, load_checkpoint, restore_weights
from artquant_plugin.errors import ArtQuantError
from artquant_plugin.files import atomic_files
from artquant_plugin.prompting import Prompter
from artquant_plugin.train import preflight
from artquant_plugin.train.callbacks import Flow, StopRequest
from artquant_plugin.train.collate import AnswerCollator
from artquant_plugin.train.config import StageSection, TrainConfig
from artquant_plugin.train.guard import GuardedCollator
from artquant_plugin.train.mixture import Material, MixedSamples, load_material
from artquant_plugin.train.parts import PARTS, choose_trained, count_trained
from artquant_plugin.train.record import Summary, write_record
from artquant_plugin.train.stage_trainer import StageTrainer
from artquant_plugin.train.stages import RunFolder, StageFolder, StageResult
from artquant_plugin.train.tiny import build_tiny_model

# Of either kind of checkpoint; those of the other kind go when a run is written over.
_WEIGHT_FILES = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "extra_weights.safetensors",
)
METRICS: tuple[str, ...] = ("eval_srocc", "eval_plcc")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stopped:
    """A run that was asked to end before it was through.

    Args:
        stage: in which it ended.
        checkpoint: that it goes on from; None when it had not begun the stage.
    """

    stage: str
    checkpoint: Path | None


@dataclass(frozen=True, slots=True)
class _Setting:
    """What all stages share."""

    config: TrainConfig
    material: Material
    spec: ScoringSpec
    processor: Any
    prompter: Prompter


def train(
    config: TrainConfig, *, overwrite: bool = False, resume: bool = False, say: Say | None = None
) -> Summary | Stopped:
    """Run all stages.

    Args:
        config: checked configuration.
        overwrite: begin anew where a run was begun, and replace a finished checkpoint in the output folder.
        resume: go on where a run of this configuration ended; a finished one is left as it is.
        say: gets each line of the check before the first step; nothing is said when None.

    Returns:
        The summary, or where the run stopped when it got SIGTERM.

    Raises:
        ArtQuantError: data or model are missing or do not fit; the output holds a run already; the run failed.
    """
    started = time.monotonic()
    state = PartialState(cpu=not torch.cuda.is_available())
    run = RunFolder(config.output)
    if (config.output / SCORING_FILE).exists() and not overwrite:
        if resume:
            return Summary.load(config.output)
        raise ArtQuantError(f"{config.output} holds a finished checkpoint; pass --overwrite or another output")
    if run.begun and not (overwrite or resume):
        raise ArtQuantError(
            f"{config.output} holds a run that is not through; go on with --resume or pass --overwrite"
        )
    if run.begun and not overwrite:
        run.check(config)
    _check_trackers(config)
    setting, model = _prepare(config)
    for line in _preflight(setting, model):
        if say is not None and state.is_main_process:
            say(line)
    if state.is_main_process:
        if overwrite:
            run.clear()
        run.begin(config)
    state.wait_for_everyone()

    results: list[tuple[str, StageResult]] = []
    with StopRequest().listening() as request:
        for stage in config.stages:
            folder = run.stage(stage.name)
            result = folder.result()
            if result is not None:
                restore_weights(model, folder.final)
            else:
                if request.made:
                    return Stopped(stage.name, None)
                trained = _run_stage(setting, stage, model, folder, request)
                if isinstance(trained, Stopped):
                    return trained
                model, result = trained
            results.append((stage.name, result))
    summary = Summary(
        output=config.output,
        datasets=tuple(dataset.info.name for dataset in setting.material.datasets),
        stages=tuple((name, result.metrics) for name, result in results),
        skipped=len({name for _, result in results for name in result.skipped}),
        seconds=time.monotonic() - started,
    )
    if state.is_main_process:
        _publish(setting, model, run, results, summary)
    state.wait_for_everyone()
    return summary


def dry_run(config: TrainConfig, say: Say) -> None:
    """Check everything, show the first batch of each stage, train and write nothing.

    Args:
        config: checked configuration.
        say: gets each line.

    Raises:
        ArtQuantError: as `train`.
    """
    _check_trackers(config)
    setting, model = _prepare(config)
    for line in _preflight(setting, model, show=True):
        say(line)


def _prepare(config: TrainConfig) -> tuple[_Setting, Any]:
    material = load_material(config)
    spec = ScoringSpec(scale=config.levels.scale(), prompt=config.prompt.spec())
    model, processor = _begin_model(config, spec, material)
    prompter = Prompter(processor, spec.prompt, spec.scale)
    return _Setting(config, material, spec, processor, prompter), model


def _begin_model(config: TrainConfig, spec: ScoringSpec, material: Material) -> tuple[Any, Any]:
    """Model and processor before the first step."""
    set_seed(config.seed)
    model, processor = _model(config, spec, material)
    model = choose_trained(model, config.trained)
    if config.train.gradient_checkpointing:
        core(model).activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return model, processor


def _model(config: TrainConfig, spec: ScoringSpec, material: Material) -> tuple[Any, Any]:
    section = config.model
    if section.pretrained is not None:
        quantised = section.quantization is not None  # bitsandbytes quantises while loading, on the GPU
        checkpoint = load_checkpoint(
            section.pretrained,
            base=section.base,
            dtype=section.dtype,
            device=f"cuda:{PartialState().local_process_index}" if quantised and torch.cuda.is_available() else "cpu",
            attn=section.attn,
            quantization=section.quantization,
            trust_remote_code=section.trust_remote_code,
        )
        return checkpoint.model, checkpoint.processor
    assert section.tiny is not None
    answers = [f"{spec.prompt.answer_prefix} {name}." for name in spec.scale.names]
    described = [sample for samples in material.samples.get("describe", ()) for sample in samples]
    descriptions = [sample.description for sample in described if sample.description]
    # Each prompt stands as often as its samples, or the merges would know the descriptions alone.
    texts = [spec.prompt.question, spec.prompt.describe_question, *answers] * max(len(descriptions), 1)
    return build_tiny_model(section.tiny, [*texts, *descriptions], config.seed)


def _check_trackers(config: TrainConfig) -> None:
    others = [name for name in config.train.report_to if name != "tensorboard"]
    if len(others) < len(config.train.report_to) and not is_tensorboard_available():
        warnings.warn("TensorBoard is not installed, so it gets no log (pip install tensorboard)", stacklevel=3)
    try:
        for kind in get_reporting_integration_callbacks(others):
            kind()
    except (RuntimeError, ValueError, ImportError) as error:
        raise ArtQuantError(
            f"train.report_to {', '.join(others)}: {' '.join(str(error).split())}; install the tracker or leave it out"
        ) from error


def _preflight(setting: _Setting, model: Any, show: bool = False) -> list[str]:
    config = setting.config
    lines = preflight.check_data(config, setting.material) + preflight.check_model(model, setting.prompter)
    trials, shown = [], []
    with tempfile.TemporaryDirectory(prefix="artquant-") as folder:
        for stage in config.stages:
            trainer = _trainer(
                setting, stage, model, StageFolder(Path(folder) / stage.name), Flow(StopRequest(), None)
            )
            trials.append(preflight.try_stage(trainer, stage.name, _steps(config, stage, _mixed(setting, stage))))
            if show:
                shown.append(f"first batch of stage {stage.name}:")
                shown += preflight.show_batch(preflight.first_batch(trainer), setting.prompter)
    return lines + preflight.describe_trials(trials) + shown


def _run_stage(
    setting: _Setting, stage: StageSection, model: Any, folder: StageFolder, request: StopRequest
) -> tuple[Any, StageResult] | Stopped:
    config = setting.config
    flow = Flow(request, config.train.early_stopping_patience)
    trackers = [*_tensorboard(config, stage)]
    trainer = _trainer(setting, stage, model, folder, flow, trackers)
    checkpoint = folder.last_checkpoint()
    if checkpoint is None and folder.best.exists() and trainer.args.should_save:
        shutil.rmtree(folder.best)  # of a run that ended before its first checkpoint
    trainer.accelerator.wait_for_everyone()
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if flow.stopped:
        return Stopped(stage.name, folder.last_checkpoint())
    keep_best = config.train.keep == "best" and folder.best.exists()
    if not keep_best:
        trainer.save_model(str(folder.final), _internal_call=True)
    elif trainer.args.should_save:
        shutil.rmtree(folder.final, ignore_errors=True)
        folder.best.rename(folder.final)
    trainer.accelerator.wait_for_everyone()
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if sharded:  # what was spread over processes is not put together again, but loaded
        model = _begin_model(config, setting.spec, setting.material)[0]
    else:
        model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if sharded or keep_best:
        restore_weights(model, folder.final)
    evaluations = [line for line in trainer.state.log_history if "eval_srocc" in line]
    chosen = max(evaluations, key=lambda line: line["eval_srocc"]) if keep_best and evaluations else None
    chosen = chosen or (evaluations[-1] if evaluations else {})
    metrics = {key: chosen[key] for key in METRICS if key in chosen}
    result = StageResult(metrics, trainer.state.log_history, trainer.skipped)
    if trainer.args.should_save:
        folder.finish(result)
    trainer.accelerator.wait_for_everyone()
    return model, result


def _mixed(setting: _Setting, stage: StageSection) -> MixedSamples:
    return setting.material.mixed(stage.samples, setting.config.seed)


def _steps(config: TrainConfig, stage: StageSection, samples: MixedSamples) -> int:
    """Optimisation steps of a stage, as the Trainer counts them."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    batches = -(-len(samples) // (config.train.per_device_train_batch_size * world))
    per_epoch = -(-batches // config.train.gradient_accumulation_steps)
    return int(-(-per_epoch * stage.epochs // 1))


def _trainer(
    setting: _Setting,
    stage: StageSection,
    model: Any,
    folder: StageFolder,
    flow: Flow,
    callbacks: Sequence[Any] = (),
) -> StageTrainer:
    config, options = setting.config, setting.config.train
    samples = _mixed(setting, stage)
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
        warmup_steps=round(options.warmup_ratio * _steps(config, stage, samples)),
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
        use_cpu=not torch.cuda.is_available(),
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


def _tensorboard(config: TrainConfig, stage: StageSection) -> list[Any]:
    wanted = "tensorboard" in config.train.report_to and is_tensorboard_available()
    if not wanted or not PartialState().is_main_process:
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(str(config.output / "tensorboard" / stage.name)))]


def _publish(
    setting: _Setting, model: Any, run: RunFolder, results: Sequence[tuple[str, StageResult]], summary: Summary
) -> None:
    """Put the last stage's checkpoint and the record into the output, together."""
    final = run.stage(results[-1][0]).final
    is_adapter = (final / "adapter_config.json").is_file()
    last = "adapter_config.json" if is_adapter else "config.json"
    with atomic_files(setting.config.output, last=last, replaced=_WEIGHT_FILES) as part:
        for path in final.iterdir():
            _link(path, part / path.name)
        counts = count_trained(model)
        trained: dict[str, Any] = {part: {"trained": some, "all": total} for part, (some, total) in counts.items()}
        write_record(part, setting.config, setting.material.datasets, results, summary, trained)
    run.clear()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
