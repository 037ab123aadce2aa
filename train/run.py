"""A training run: load or build the model, train the stages one after the other, write one checkpoint and its record.

Each stage is a training of `ArtQuantTrainer` in a folder of its own; the next one begins with the weights that the
stage before it ended with.
"""

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, broadcast_object_list
from transformers import set_seed
from transformers.integrations import (
    TensorBoardCallback,
    get_reporting_integration_callbacks,
    is_tensorboard_available,
)

from artquant_plugin.checkpoint import SCORING_FILE, ScoringSpec, load_checkpoint, restore_weights, save_checkpoint
from artquant_plugin.checkpoint.quantization import stored_quantization
from artquant_plugin.common.device import default_device
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.text import one_line
from artquant_plugin.data.task_names import task_of
from artquant_plugin.prompting.prompter import Prompter
from artquant_plugin.train import preflight
from artquant_plugin.train.callbacks import StopRequest, any_process
from artquant_plugin.train.config import TrainConfig, accumulation_steps, launched_processes, stage_arguments
from artquant_plugin.train.data import MixedSamples, TrainingData, load_training_data
from artquant_plugin.train.level_mass import MassChange, raise_level_mass
from artquant_plugin.train.made_from import made_from, made_from_local, starting_folders
from artquant_plugin.train.parts import PARTS, choose_trained
from artquant_plugin.train.pushing import check_push, push_last
from artquant_plugin.train.record import RECORD_FILE, RunSummary, read_training_record, write_output
from artquant_plugin.train.sections import StageSection
from artquant_plugin.train.stages import RunFolder, StageFolder, StageResult, refuse_other_run
from artquant_plugin.train.tiny import build_tiny_model
from artquant_plugin.train.trainer import ArtQuantTrainer

METRICS: tuple[str, ...] = ("eval_srocc", "eval_plcc", "eval_level_mass")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StoppedRun:
    """A run that was asked to end before it was finished.

    Args:
        stage: Name of the stage in which it ended.
        checkpoint: Checkpoint that the stage goes on from; None when the run had not begun the stage.
    """

    stage: str
    checkpoint: Path | None


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """What all stages of a run share.

    Args:
        config: Configuration that the run was started with.
        data: Datasets and samples that the stages train on.
        spec: The scoring file that the checkpoints get.
        processor: Processor of the model, which checkpoints get as well.
        prompter: Writes the prompts and answers of processor and spec.
    """

    config: TrainConfig
    data: TrainingData
    spec: ScoringSpec
    processor: Any
    prompter: Prompter

    def samples(self, stage: StageSection) -> MixedSamples:
        """What a stage sees, of all datasets.

        Args:
            stage: The stage, whose kinds of samples are taken.

        Raises:
            ArtQuantError: The weights of the datasets leave no sample.
        """
        samples = self.data.mixed(stage.samples, self.config.seed)
        if not len(samples):
            weights = ", ".join(f"{section.weight:g}" for section in self.config.data)
            raise ArtQuantError(f"stage {stage.name} has no sample at data weight {weights}; raise the weight")
        return samples

    def trainer(
        self,
        stage: StageSection,
        model: Any,
        folder: StageFolder,
        *,
        request: StopRequest | None = None,
        callbacks: Sequence[Any] = (),
        rehearsal: bool = False,
    ) -> ArtQuantTrainer:
        """The trainer of a stage.

        Args:
            stage: The stage that is trained.
            model: The model, with what is trained chosen.
            folder: Folder that the stage's checkpoints are written to.
            request: Tells whether the user asked the run to stop.
            callbacks: Further callbacks, such as TensorBoard's.
            rehearsal: Whether the trainer only tries the first batch; it then tells no tracker and no Hub.
        """
        validation = [painting for paintings in self.data.validation for painting in paintings]
        args = stage_arguments(self.config, stage, folder.path, validated=bool(validation), push=not rehearsal)
        if rehearsal:
            args.report_to = []
        try:
            return ArtQuantTrainer(
                model,
                args,
                self.samples(stage),
                validation or None,
                processing_class=self.processor,
                prompter=self.prompter,
                callbacks=callbacks,
                stop_request=request,
                in_run=True,
            )
        except (ValueError, ImportError) as error:
            if isinstance(error, ArtQuantError):
                raise
            raise ArtQuantError(f"train: {one_line(error)}") from error


def train(
    config: TrainConfig, *, overwrite: bool = False, resume: bool = False, say: Say | None = None
) -> RunSummary | StoppedRun:
    """Run all stages.

    Args:
        config: Configuration as `load_config` gives it.
        overwrite: Begin anew where a run was begun, and replace a finished checkpoint in the output folder.
        resume: Go on where a run of this configuration ended; a finished one is left as it is.
        say: Gets each line of the check before the first step; None for nobody.

    Returns:
        The summary, or where the run stopped when it got SIGTERM.

    Raises:
        ArtQuantError: Data or model are missing or do not fit, the output holds a run already, another process trains
            into it, or the run failed.
        MachineError: A fault of this machine, such as a full disk, ended the run, which can be resumed.
    """
    started = time.monotonic()
    state = _processes(config)
    run = RunFolder(config.output)
    with ExitStack() as held:
        on_main_process(lambda: held.enter_context(run.only_run()))
        try:
            return _train(config, run, state, started, overwrite=overwrite, resume=resume, say=say)
        except OSError as error:
            if not is_machine_fault(error):
                raise
            raise machine_error(error, f"'{error.filename or config.output}' cannot be used") from error


def _train(
    config: TrainConfig,
    run: RunFolder,
    state: PartialState,
    started: float,
    *,
    overwrite: bool,
    resume: bool,
    say: Say | None,
) -> RunSummary | StoppedRun:
    """What `train` does while it holds the lock of the output folder."""
    if not overwrite and (finished := _earlier_run(config, run, state, resume=resume)) is not None:
        return finished
    prepared, model = prepare(config)
    made: dict[str, Any] = {}

    def check_inputs() -> None:
        made.update(made_from(config, prepared.data.datasets, state.num_processes))
        if not overwrite:
            run.check(config, made)

    on_main_process(check_inputs)
    for line in _preflight(prepared, model):
        if say is not None and state.is_main_process:
            say(line)
    state.wait_for_everyone()  # every process has looked for an earlier run before this one begins
    if state.is_main_process:
        if overwrite:
            run.clear()
        run.begin(config, made)
    state.wait_for_everyone()

    results: list[tuple[str, StageResult]] = []
    with StopRequest().listening() as request:
        for stage in config.stages:
            folder = run.stage(stage.name)
            result = folder.result()
            if result is not None:
                restore_weights(model, folder.weights)
            else:
                if any_process(request.made):
                    return StoppedRun(stage.name, None)
                trained = _run_stage(prepared, stage, model, folder, request)
                if isinstance(trained, StoppedRun):
                    return trained
                model, result = trained
            results.append((stage.name, result))
    mass = _raise_level_mass(prepared, model) if state.is_main_process else None
    summary = RunSummary(
        output=config.output,
        tasks=tuple(dict.fromkeys(filter(None, map(task_of, prepared.data.datasets)))),
        stages=tuple((name, result.metrics) for name, result in results),
        skipped=len({name for _, result in results for name in result.skipped}),
        seconds=time.monotonic() - started,
        level_mass=mass,
    )
    if state.is_main_process:
        changed = mass is not None and mass.reason is None
        save = partial(save_checkpoint, model=model, processor=prepared.processor, spec=prepared.spec)
        write_output(config, made, model, run, results, summary, save=save if changed else None)
        try:
            push_last(config)
        finally:  # after the push, so that a run that is killed during it makes up for it when it is resumed
            run.clear()
    state.wait_for_everyone()
    return summary


def _earlier_run(config: TrainConfig, run: RunFolder, state: PartialState, *, resume: bool) -> RunSummary | None:
    """The summary of a finished run that is to be left as it is; None where there is something to train.

    Raises:
        ArtQuantError: The output holds a run or a checkpoint and `resume` is not asked for, or it holds a run of
            another configuration or of other data.
    """
    if run.begun:
        if not resume:
            raise ArtQuantError(
                f"{config.output} holds an unfinished run; pass --resume to continue it, or --overwrite to begin anew"
            )
        run.check(config, {})
        return None
    if (run.path / "config.yaml").is_file():  # which releases wrote that knew no run.json
        raise ArtQuantError(
            f"{config.output} holds an unfinished run of an earlier release; finish it there, or begin anew with "
            "--overwrite"
        )
    if not any((config.output / name).exists() for name in (SCORING_FILE, RECORD_FILE)):
        return None
    if not resume:
        raise ArtQuantError(f"{config.output} holds a finished checkpoint; pass --overwrite, or --set output=FOLDER")
    summary = RunSummary.load(config.output)

    def check_and_tidy() -> None:
        record = read_training_record(config.output)
        before = record.get("made_from", {})
        now = made_from_local(config) if before else {}  # earlier releases wrote the configuration alone
        remedy = "pass --overwrite to begin anew, or --set output=FOLDER"
        refuse_other_run(config.output, {"config": record["config"], **before}, config, now, remedy=remedy)
        run.clear()  # what a process left that was killed while it removed the folder

    on_main_process(check_and_tidy)
    return summary


def on_main_process(action: Callable[[], Any]) -> None:
    """Have the main process do something that the others wait for.

    Args:
        action: What is done; every process has to call this function.

    Raises:
        Exception: What the action raised; the other processes raise an `ArtQuantError` with its message.
    """
    state = PartialState()
    failure: Exception | None = None
    if state.is_main_process:
        try:
            action()
        except Exception as error:  # raised below, when the other processes know of it
            failure = error
    problem = None if failure is None else one_line(failure)
    if state.num_processes > 1:
        problem = broadcast_object_list([problem])[0]
    if failure is not None:
        raise failure
    if problem is not None:
        raise ArtQuantError(problem)


def dry_run(config: TrainConfig, say: Say) -> None:
    """Check everything and show the first batch of each stage; train and write nothing.

    Args:
        config: Configuration as `load_config` gives it.
        say: Called with each line of the check, by the main process alone.

    Raises:
        ArtQuantError: Data or model are missing or do not fit.
    """
    state = _processes(config)
    prepared, model = prepare(config)
    for line in _preflight(prepared, model, show=True):
        if state.is_main_process:
            say(line)


def prepare(config: TrainConfig) -> tuple[PreparedRun, Any]:
    """Check what the arguments ask of this machine, open the data, then load or build the model.

    Args:
        config: Configuration as `load_config` gives it.

    Returns:
        What all stages share, and the model that the first one begins with, on the CPU unless it is quantised.

    Raises:
        ArtQuantError: A tracker is missing, the Hub refuses, or data or model are missing or do not fit.
    """
    check_trackers(config)
    check_push(config)
    for stage in config.stages:  # before the minutes that loading a model may take
        arguments = stage_arguments(
            config, stage, RunFolder(config.output).stage(stage.name).path, validated=True, push=False
        )
        arguments.check_attention(config.model.attn, config.model.dtype)
    check_start(config)
    data = load_training_data(config)
    attributes = config.attributes.specs(config.levels)
    spec = ScoringSpec(scale=config.levels.scale(), prompt=config.prompt.spec(), attributes=attributes)
    model, processor = _begin_model(config, spec, data)
    prompter = Prompter(processor, spec.prompt, spec.scale, spec.attributes)
    return PreparedRun(config, data, spec, processor, prompter), model


def check_start(config: TrainConfig) -> None:
    """See that training can start from the checkpoint that the configuration names, before it is loaded.

    Args:
        config: Configuration of the run, with its defaults filled in.

    Raises:
        ArtQuantError: The checkpoint is not there, lies in the output folder, or has weights that are stored quantised
            although a part is to be trained in full or quantised again.
    """
    for name, folder in starting_folders(config.model):
        if folder.resolve() == config.output.expanduser().resolve():
            raise ArtQuantError(
                f"output '{config.output}' is the folder of {name}, from which training starts and which it would "
                "replace; set output to another folder"
            )
        method = stored_quantization(folder)
        if method is None:
            continue
        if config.model.quantization is not None:
            raise ArtQuantError(
                f"{name} is stored quantised already ({method}); leave model.quantization out, or start from a model "
                "that is not quantised"
            )
        full = [part for part in PARTS if getattr(config.trained, part).method == "full"]
        if full:
            raise ArtQuantError(
                f"trained.{full[0]} is full, but {name} is stored quantised ({method}), and quantised weights cannot "
                "be trained; set it to lora or frozen, or start from a model that is not quantised"
            )


def _begin_model(config: TrainConfig, spec: ScoringSpec, data: TrainingData) -> tuple[Any, Any]:
    """Model and processor before the first step, with what is trained chosen."""
    set_seed(config.seed)
    section = config.model
    if section.pretrained is not None:
        device = "cpu"
        if section.quantization is not None:  # while it is loaded, so that a GPU has to be named
            device = default_device()
            device = f"cuda:{PartialState().local_process_index}" if device == "cuda" else device
        checkpoint = load_checkpoint(
            section.pretrained,
            scoring=spec,
            base=section.base,
            dtype=section.dtype,
            device=device,
            attn=section.attn,
            quantization=section.quantization,
            trust_remote_code=section.trust_remote_code,
            moved_later=True,
        )
        model, processor = checkpoint.model, checkpoint.processor
    else:
        assert section.tiny is not None
        model, processor = build_tiny_model(section.tiny, _texts(spec, data), config.seed)
    return choose_trained(model, config.trained), processor


def _texts(spec: ScoringSpec, data: TrainingData) -> list[str]:
    """What the tokenizer of a tiny model learns from."""
    prefixes = [spec.prompt.answer_prefix, *(each.answer_prefix for each in spec.attributes)]
    answers = [f"{prefix} {name}." for prefix in prefixes for name in spec.scale.names]
    described = [sample for samples in data.samples.get("describe", ()) for sample in samples]
    descriptions = [sample.description for sample in described if sample.description]
    # Each prompt stands as often as its samples, or the merges would know the descriptions alone.
    asked = [spec.prompt.question, spec.prompt.describe_question, *(each.question for each in spec.attributes)]
    texts = [*asked, *answers] * max(len(descriptions), 1)
    return [*texts, *descriptions]


def _processes(config: TrainConfig) -> PartialState:
    """Meet the other processes, where there are some."""
    use_cpu = default_device() == "cpu" if config.train.use_cpu is None else config.train.use_cpu
    state = PartialState(cpu=use_cpu)
    check_gpus(0 if use_cpu else torch.cuda.device_count(), state.distributed_type)
    return state


def _preflight(prepared: PreparedRun, model: Any, show: bool = False) -> list[str]:
    lines = preflight.check_data(prepared.config, prepared.data) + preflight.check_model(model, prepared.prompter)
    lines.append(preflight.describe_batch(prepared.config, PartialState().num_processes))
    trials, shown = [], []
    with tempfile.TemporaryDirectory(prefix="artquant-") as folder:
        for stage in prepared.config.stages:
            trainer = prepared.trainer(stage, model, StageFolder(Path(folder) / stage.name), rehearsal=True)
            steps = stage_steps(prepared.config, stage, prepared.samples(stage))
            trials.append(preflight.try_stage(trainer, stage.name, steps))
            if show:
                shown.append(f"first batch of stage {stage.name}:")
                shown += preflight.show_batch(trainer.first_batch(), prepared.prompter)
    return lines + preflight.describe_trials(trials) + shown


def stage_steps(config: TrainConfig, stage: StageSection, samples: MixedSamples) -> int:
    """Optimisation steps of a stage, as the Trainer counts them.

    Args:
        config: Configuration of the run; `train.max_steps` takes the place of the stage's epochs.
        stage: The stage, whose epochs count.
        samples: What the stage sees in an epoch.
    """
    options = config.train
    if options.max_steps > 0:
        return int(options.max_steps)
    world = launched_processes()
    size = options.per_device_train_batch_size * world
    batches = len(samples) // size if options.dataloader_drop_last else -(-len(samples) // size)
    per_epoch = max(-(-batches // accumulation_steps(dict(options), world)), 1)
    return int(-(-per_epoch * stage.epochs // 1))


def _raise_level_mass(prepared: PreparedRun, model: Any) -> MassChange | None:
    """Give the level words the probability that the configuration asks for; None where it asks for none.

    It follows from the last stage's weights alone, so that a run that is killed while it writes its output does the
    same again when it is resumed.
    """
    config = prepared.config
    kinds = {kind for stage in config.stages for kind in stage.samples}
    if not config.loss.level_mass or "score" not in kinds:
        return None
    descriptions = prepared.data.mixed(("describe",), config.seed) if "describe" in kinds else None
    scores = prepared.data.mixed(("score",), config.seed)
    return raise_level_mass(model, prepared.prompter, scores, descriptions, wanted=config.loss.level_mass)


def _run_stage(
    prepared: PreparedRun, stage: StageSection, model: Any, folder: StageFolder, request: StopRequest
) -> tuple[Any, StageResult] | StoppedRun:
    config = prepared.config
    trainer = prepared.trainer(stage, model, folder, request=request, callbacks=_tensorboard(config, stage))
    checkpoint = folder.last_checkpoint()
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if trainer.stopped:
        return StoppedRun(stage.name, folder.last_checkpoint())
    best = trainer.best_folder
    if best is None:
        trainer.save_model(str(folder.final), _internal_call=True)
    trainer.accelerator.wait_for_everyone()
    if trainer.is_sharded:  # what was spread over processes is not put together again, but loaded
        model = _begin_model(config, prepared.spec, prepared.data)[0]
        restore_weights(model, folder.weights)
    else:
        model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    evaluations = [line for line in trainer.state.log_history if "eval_srocc" in line]
    if best is not None and evaluations:
        chosen = max(evaluations, key=lambda line: line["eval_srocc"])
    else:
        chosen = evaluations[-1] if evaluations else {}
    metrics = {key: chosen[key] for key in METRICS if key in chosen}
    result = StageResult(metrics, trainer.state.log_history, trainer.skipped)
    if trainer.args.should_save:
        folder.finish(result)
    trainer.accelerator.wait_for_everyone()
    return model, result


def check_gpus(gpus: int, kind: DistributedType) -> None:
    """Refuse several GPUs in one process: `Trainer` would wrap the model in DataParallel.

    DataParallel cuts tensors along their first axis, which the parts of a batch do not share.

    Args:
        gpus: Number of GPUs that this process sees.
        kind: How the processes work together; NO when this is the only one.

    Raises:
        ArtQuantError: One process sees several GPUs.
    """
    if kind == DistributedType.NO and gpus > 1:
        raise ArtQuantError(
            f"this process sees {gpus} GPUs, and a process trains on one; start one each with `torchrun "
            f"--nproc_per_node {gpus} -m artquant_plugin.train CONFIG` or `accelerate launch`, or set "
            "CUDA_VISIBLE_DEVICES=0"
        )


def check_trackers(config: TrainConfig) -> None:
    """See that the trackers of `train.report_to` are installed; without TensorBoard, warn.

    Args:
        config: Configuration of the run, which names the trackers.

    Raises:
        ArtQuantError: Another tracker is unknown or not installed.
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


def _tensorboard(config: TrainConfig, stage: StageSection) -> list[Any]:
    """The callback that writes a stage's log for TensorBoard; none where it is not wanted, or by another process."""
    wanted = "tensorboard" in config.train.report_to and is_tensorboard_available()
    if not wanted or not PartialState().is_main_process:
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(str(config.output / "tensorboard" / stage.name)))]
