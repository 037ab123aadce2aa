"""The configuration of a training run: the arguments of the trainer, and the YAML file that holds them."""

import os
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import torch
from pydantic import ConfigDict, Field, ValidationError, create_model, field_validator, model_validator
from transformers import SchedulerType, TrainingArguments

from artquant_plugin.checkpoint import ScoringSpec
from artquant_plugin.checkpoint.attention import check_attention
from artquant_plugin.common.config import explain, read_config
from artquant_plugin.common.device import default_device
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import did_you_mean
from artquant_plugin.train.sections import (
    AttributesSection,
    LevelsSection,
    LossSection,
    PartName,
    PromptSection,
    RunSections,
    SampleKind,
    Section,
    StageSection,
)


def _on_cpu() -> bool:
    return default_device() == "cpu"


@dataclass
class ArtQuantConfig(TrainingArguments):
    """Arguments of `ArtQuantTrainer`: those of `transformers.TrainingArguments`, and its own.

    Model:
        model_dtype: Floating type that a model given by its name is loaded in: ``float32`` or ``bfloat16``. Weights
            that are trained become float32, because the optimizer needs them so.
        attn_implementation: Attention implementation of a model given by its name, such as ``sdpa``.
        trust_remote_code: Whether Python code of the model's repository may run.
        full_parts: Parts of the model whose own weights are trained beside the adapter of `peft_config`: any of
            ``language``, ``vision`` and ``projector``. None trains the adapter alone; without a `peft_config`, None
            leaves trained what requires gradients, which is every weight of a model given by its name.
        part_learning_rates: Learning rate by part, such as ``{"vision": 1e-5}``; other parts follow `learning_rate`.

    Data:
        sample_kinds: What is asked of each painting: ``score``, ``describe`` or both. None asks for the score, and for
            the description where the dataset has one.
        share_images: Whether a painting's score and description sample come into one batch, where its image is encoded
            once for both. The batch size must be even, and the model must take encoded images.
        group_by_length: Whether the descriptions of a batch are of like length, so that there is less padding. Each
            batch holds as many scores and descriptions as without it. It excludes `share_images`.
        on_bad_sample: ``stop`` ends training at an image that cannot be read; ``skip`` leaves it out and counts it.

    Labels:
        levels: Level words, their values, and how a score becomes a soft label: the keys of `LevelsSection`. None for
            the paper's, whose values reach from 1 to 10; scores outside the values are an error.
        prompt: Questions and answer prefix: the keys of `PromptSection`. None for the paper's.
        attributes: Attributes that are trained beside the score: the keys of `AttributesSection`. None for none.

    Loss:
        loss: Weights and forms of the loss's terms: the keys of `LossSection`. None for the paper's loss.

    Batch:
        global_batch_size: Samples of an optimisation step over all processes and micro-batches, from which
            `gradient_accumulation_steps` follows. None leaves that as it is given.

    Stage:
        warmup_ratio: Share of the steps, in [0, 1), over which the learning rate rises. `warmup_steps` excludes it.
        keep: Weights that training ends with: ``best`` for those of the evaluation with the highest SROCC, where there
            was one, or ``last``.
        early_stopping_patience: Evaluations in a row without a higher SROCC after which training ends. None for never.

    Defaults that differ from those of `TrainingArguments`:
        learning_rate: 2e-5 instead of 5e-5.
        lr_scheduler_type: ``cosine`` instead of ``linear``.
        per_device_train_batch_size: 16 instead of 8.
        per_device_eval_batch_size: 32 instead of 8; images per forward pass of an evaluation.
        logging_steps: 10 instead of 500.
        logging_nan_inf_filter: False instead of True: a loss that is not finite ends training.
        save_total_limit: 2 checkpoints instead of all.
        metric_for_best_model: ``srocc``, and `greater_is_better` True.
        remove_unused_columns: False instead of True: the trainer reads the columns itself.
        ddp_find_unused_parameters: True, because layers behind the one that is read get no gradient.
        dataloader_pin_memory: Whether there is a GPU for CUDA, instead of True.
        use_cpu: Whether there is no GPU, instead of False.
        activation_checkpointing_kwargs: ``{"use_reentrant": False}``.
        hub_private_repo: True instead of the account's own default.

    Raises:
        ArtQuantError: A value is not allowed, or is one that this trainer would not follow.
    """

    _VALID_DICT_FIELDS: ClassVar[list[str]] = [  # type: ignore[misc]  # theirs says nothing of being the class's
        *TrainingArguments._VALID_DICT_FIELDS,
        "part_learning_rates",
        "levels",
        "prompt",
        "attributes",
        "loss",
    ]

    learning_rate: float = 2e-5
    lr_scheduler_type: SchedulerType | str = "cosine"
    per_device_train_batch_size: int = 16
    per_device_eval_batch_size: int = 32
    logging_steps: float = 10
    logging_nan_inf_filter: bool = False
    save_total_limit: int | None = 2
    metric_for_best_model: str | None = "srocc"
    greater_is_better: bool | None = True
    remove_unused_columns: bool = False
    ddp_find_unused_parameters: bool | None = True
    dataloader_pin_memory: bool = field(default_factory=torch.cuda.is_available)
    use_cpu: bool = field(default_factory=_on_cpu)
    hub_private_repo: bool | None = True

    model_dtype: str = "float32"
    attn_implementation: str = "sdpa"
    trust_remote_code: bool = False
    full_parts: list[str] | None = None
    part_learning_rates: dict[str, float] | str | None = None
    sample_kinds: list[str] | None = None
    share_images: bool = False
    group_by_length: bool = False
    on_bad_sample: Literal["stop", "skip"] = "stop"
    levels: dict[str, Any] | str | None = None
    prompt: dict[str, Any] | str | None = None
    attributes: dict[str, Any] | str | None = None
    loss: dict[str, Any] | str | None = None
    global_batch_size: int | None = None
    warmup_ratio: float = 0.03
    keep: Literal["best", "last"] = "best"
    early_stopping_patience: int | None = None

    def __post_init__(self) -> None:
        if self.activation_checkpointing is None:
            self.activation_checkpointing = self.gradient_checkpointing
        if self.activation_checkpointing_kwargs is None:
            self.activation_checkpointing_kwargs = self.gradient_checkpointing_kwargs or {"use_reentrant": False}
        processes = launched_processes()
        if self.global_batch_size is not None:  # before DeepSpeed's configuration is made from the arguments
            accumulation = accumulation_steps(vars(self), processes)
            if self.gradient_accumulation_steps not in (type(self).gradient_accumulation_steps, accumulation):
                raise ArtQuantError(both_batches(self.global_batch_size, self.gradient_accumulation_steps))
            self.gradient_accumulation_steps = accumulation
        super().__post_init__()
        if self.global_batch_size is not None and self.world_size != processes:
            raise ArtQuantError(
                f"global_batch_size {self.global_batch_size} was divided among {processes} processes, as WORLD_SIZE "
                f"says, and {self.world_size} train; start them with torchrun or accelerate launch"
            )
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        for problem in (refused_value(values), batch_problem(values)):
            if problem is not None:
                raise ArtQuantError(problem)
        if self.fp16 and self.device.type == "cpu":  # accelerate 1.15 would silently compute in float32
            raise ArtQuantError("fp16 needs a GPU, and this training is on the CPU; take bf16, or leave fp16 out")
        for name in ("keep", "on_bad_sample"):
            allowed = get_args(_HINTS[name])
            if getattr(self, name) not in allowed:
                raise ArtQuantError(f"{name} is {getattr(self, name)!r}; it must be {' or '.join(map(repr, allowed))}")
        self._check_names("sample_kinds", self.sample_kinds or (), get_args(SampleKind))
        for name in ("full_parts", "part_learning_rates"):
            self._check_names(name, getattr(self, name) or (), get_args(PartName))
        self.levels = self._section("levels", LevelsSection)
        self.prompt = self._section("prompt", PromptSection)
        self.loss = self._section("loss", LossSection)
        self.attributes = self._section("attributes", AttributesSection)
        if problem := self.attributes_section().problem(self.levels_section(), self.loss_section()):
            raise ArtQuantError(problem)

    def _check_names(self, field_name: str, given: Sequence[str] | Mapping[str, Any], known: Sequence[str]) -> None:
        for name in given:
            if name not in known:
                remedy = did_you_mean(name, known) or f"known: {', '.join(known)}"
                raise ArtQuantError(f"{field_name} names {name!r}; {remedy}")

    def _section(self, name: str, kind: type[Section]) -> dict[str, Any]:
        """The checked and completed content of a field that holds a section of the YAML file."""
        try:
            return kind.model_validate(getattr(self, name) or {}).model_dump(mode="json")
        except ValidationError as error:
            raise ArtQuantError(f"{name}: {explain(kind, error)}") from error

    def loss_section(self) -> LossSection:
        """The loss as a checked section."""
        return LossSection.model_validate(self.loss)

    def levels_section(self) -> LevelsSection:
        """The levels and the labels' method as a checked section."""
        return LevelsSection.model_validate(self.levels)

    def attributes_section(self) -> AttributesSection:
        """The attributes as a checked section."""
        return AttributesSection.model_validate(self.attributes)

    def scoring_spec(self) -> ScoringSpec:
        """The scoring file that checkpoints of this configuration carry: its levels, its prompts, its attributes."""
        levels = self.levels_section()
        return ScoringSpec(
            scale=levels.scale(),
            prompt=PromptSection.model_validate(self.prompt).spec(),
            attributes=self.attributes_section().specs(levels),
        )

    def check_attention(self, attn: str, dtype: str) -> None:
        """Refuse an implementation of attention that cannot run where, and in the type in which, training computes.

        Args:
            attn: The implementation, as `artquant_plugin.checkpoint.load_checkpoint` takes it.
            dtype: The type of the weights that are not trained: float32, bfloat16 or float16.

        Raises:
            ArtQuantError: The implementation is unknown, or has no code for the device or the type, or no package.
        """
        computed = "bfloat16" if self.bf16 else "float16" if self.fp16 else dtype
        check_attention(attn, device=self.device.type, dtype=computed)

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """Steps over which the learning rate rises: `warmup_steps` where given, else a rounded share of all steps.

        Args:
            num_training_steps: Optimisation steps of the whole training.
        """
        if self.warmup_steps:
            return super().get_warmup_steps(num_training_steps)
        return round(self.warmup_ratio * num_training_steps)


_HINTS = get_type_hints(ArtQuantConfig)

# Arguments of `TrainingArguments` that this trainer would not follow: the values that are allowed, and the reason.
_NOT_FOLLOWED: dict[str, tuple[tuple[Any, ...], str]] = {
    "load_best_model_at_end": ((False,), "`keep` says which weights training ends with"),
    "metric_for_best_model": ((None, "srocc"), "the best weights are those of the highest SROCC"),
    "greater_is_better": ((None, True), "the best weights are those of the highest SROCC"),
    "train_sampling_strategy": (("random",), "the order follows from the seed; `group_by_length` groups descriptions"),
    "remove_unused_columns": ((False,), "the trainer reads the columns itself"),
    "label_names": ((None,), "labels are made from the scores"),
    "label_smoothing_factor": ((0, 0.0), "labels are soft already; `levels` says how they are made"),
    "auto_find_batch_size": ((False,), "a step that does not fit into memory ends training with what to lower"),
    "average_tokens_across_devices": ((True,), "each term of the loss is averaged over all processes"),
    "hub_strategy": (("every_save", "end"), "checkpoints are sent without optimizer states: every_save or end"),
    "prediction_loss_only": ((False,), "an evaluation scores paintings and computes SROCC and PLCC alone"),
    "include_for_metrics": (([],), "an evaluation scores paintings and computes SROCC and PLCC alone"),
    "batch_eval_metrics": ((False,), "an evaluation scores paintings and computes SROCC and PLCC alone"),
    "eval_accumulation_steps": ((None,), "an evaluation keeps one number per painting"),
    "eval_do_concat_batches": ((True,), "an evaluation keeps one number per painting"),
    "eval_use_gather_object": ((False,), "an evaluation gathers its scores itself"),
    "fp16_full_eval": ((False,), "an evaluation computes as training does"),
    "bf16_full_eval": ((False,), "an evaluation computes as training does"),
}


def refused_value(values: Mapping[str, Any]) -> str | None:
    """What is wrong with arguments that the trainer would not follow; None when it follows all of them.

    Args:
        values: Some or all arguments by name.
    """
    for name, (allowed, reason) in _NOT_FOLLOWED.items():
        if name in values and values[name] not in allowed:
            return f"{name} {values[name]!r} has no effect here: {reason}; leave it out"
    if values.get("warmup_steps") and values.get("warmup_ratio", _WARMUP_RATIO) not in (0, _WARMUP_RATIO):
        return "warmup_steps and warmup_ratio both say how long the learning rate rises; give one of them"
    return None


def batch_problem(values: Mapping[str, Any]) -> str | None:
    """What is wrong with how batches are put together; None when nothing is.

    Args:
        values: Every argument of `ArtQuantConfig` by its name.
    """
    size = values["per_device_train_batch_size"]
    if values["share_images"] and size % 2:
        return (
            f"per_device_train_batch_size {size} is odd; share_images puts both samples of a painting into one batch: "
            "make it even"
        )
    if values["share_images"] and values["group_by_length"]:
        return "share_images and group_by_length ask for different batches; choose one of them"
    return None


def launched_processes() -> int:
    """Number of processes that train, as torchrun and accelerate launch tell it; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def accumulation_steps(values: Mapping[str, Any], processes: int) -> int:
    """Micro-batches that each process accumulates the gradients of in one optimisation step.

    Args:
        values: The arguments ``per_device_train_batch_size``, ``gradient_accumulation_steps`` and
            ``global_batch_size`` by their names. Without the last one (None), the second one is the result, which is
            1 where it is not given either.
        processes: Number of processes that train, at least 1.

    Returns:
        At least 1; its product with the batch size per process and the number of processes is the global batch.

    Raises:
        ArtQuantError: The global batch is no multiple of what all processes take at once.

    Example:
        >>> batches = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "global_batch_size": 64}
        >>> [accumulation_steps(batches, processes) for processes in (1, 4, 8)]
        [16, 4, 2]
    """
    wanted = values["global_batch_size"]
    if wanted is None:
        return int(values["gradient_accumulation_steps"] or ArtQuantConfig.gradient_accumulation_steps)
    size = values["per_device_train_batch_size"]
    if size < 1:
        raise ArtQuantError(f"per_device_train_batch_size {size} is no number of samples; set it to 1 or more")
    at_once = size * processes
    if wanted <= 0 or wanted % at_once:
        below = wanted // at_once * at_once
        nearest = f"{below} or {below + at_once}" if below > 0 else str(at_once)
        of_one = "1 process" if processes == 1 else f"{processes} processes"
        raise ArtQuantError(
            f"global_batch_size {wanted} is no multiple of {at_once}, the samples that {of_one} of "
            f"per_device_train_batch_size {size} take at once; set it to {nearest}, or change one of the other two"
        )
    return int(wanted // at_once)


def both_batches(global_batch: int | None, accumulation: int) -> str:
    """What is wrong with arguments that say twice how many samples an optimisation step has."""
    return (
        f"global_batch_size {global_batch} and gradient_accumulation_steps {accumulation} both say how many samples "
        "an optimisation step has; give one of them, and null for the other one where an earlier file has it"
    )


_WARMUP_RATIO = ArtQuantConfig.warmup_ratio

# Arguments that a run sets itself, and where the file says the same; a file that names one is refused with the reason.
OWNED_BY_RUN = {
    "output_dir": "the key `output` at the top of the file names the folder",
    "num_train_epochs": "each stage has its own `epochs`",
    "seed": "the key `seed` stands at the top of the file",
    "per_device_eval_batch_size": "the key `score_batch_size` stands at the top of the file",
    "model_dtype": "the section `model` says how the model is loaded",
    "attn_implementation": "the section `model` says how the model is loaded",
    "trust_remote_code": "the section `model` says how the model is loaded",
    "full_parts": "the section `trained` says what is trained",
    "part_learning_rates": "the section `trained` holds the learning rates of parts",
    "sample_kinds": "each stage has its own `samples`",
    "levels": "it is a section of its own, beside `train`",
    "prompt": "it is a section of its own, beside `train`",
    "loss": "it is a section of its own, beside `train`",
    "attributes": "it is a section of its own, beside `train`",
    "resume_from_checkpoint": "`--resume` finds the checkpoint",
    "save_only_model": "a run goes on from its checkpoints, which need the optimizer",
    "do_train": "a run always trains",
    "do_eval": "a run evaluates where there is a validation split; `eval_strategy: no` leaves that out",
    "do_predict": "`artquant score` and lmms-eval predict",
    "local_rank": "the launcher numbers the processes",
    "hub_token": "a token would be written into the record; log in with `hf auth login`",
    "parallelism_config": "a YAML file cannot hold it; `accelerate launch` configures several processes",
}

# Defaults of the section `train` that are not those of `ArtQuantConfig`, with the types that a file may give.
_RUN_DEFAULTS: dict[str, tuple[Any, Any]] = {
    "report_to": (tuple[str, ...], ("tensorboard",)),
    "push_to_hub": (bool | str | None, None),
    "eval_steps": (float | None, None),
    "save_steps": (float | None, None),
    "gradient_accumulation_steps": (int | None, None),  # 1, or what follows from global_batch_size
}

_BOUNDS: dict[str, dict[str, Any]] = {
    "learning_rate": {"gt": 0},
    "per_device_train_batch_size": {"gt": 0},
    "gradient_accumulation_steps": {"gt": 0},
    "global_batch_size": {"gt": 0},
    "weight_decay": {"ge": 0},
    "adam_beta1": {"gt": 0, "lt": 1},
    "adam_beta2": {"gt": 0, "lt": 1},
    "adam_epsilon": {"gt": 0},
    "max_grad_norm": {"ge": 0},
    "warmup_ratio": {"ge": 0, "lt": 1},
    "warmup_steps": {"ge": 0},
    "dataloader_num_workers": {"ge": 0},
    "logging_steps": {"gt": 0},
    "save_steps": {"gt": 0},
    "save_total_limit": {"gt": 0},
    "eval_steps": {"gt": 0},
    "early_stopping_patience": {"gt": 0},
}


class _TrainChecks(Section):
    """What the section `train` refuses, beside values of the wrong type."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _owned(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name in given:
                if name in OWNED_BY_RUN:
                    raise ValueError(f"{name} is not a key of this section: {OWNED_BY_RUN[name]}")
        return given

    @field_validator("report_to", mode="before", check_fields=False)
    @classmethod
    def _several(cls, given: Any) -> Any:
        """One tracker by its name; ``none`` and null for no tracker."""
        if given is None or given == "none":
            return ()
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _followed(self) -> "_TrainChecks":
        values = dict(self)
        if None not in (both := (values["global_batch_size"], values["gradient_accumulation_steps"])):
            raise ValueError(both_batches(*both))
        for problem in (refused_value(values), batch_problem(values)):
            if problem is not None:
                raise ValueError(problem)
        return self


def _file_type(hint: Any) -> Any:
    """The type that a YAML file may give: where any text stands beside a choice, the choice alone."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    kinds = get_args(hint)
    if any(isinstance(kind, type) and issubclass(kind, Enum) for kind in kinds):
        kinds = tuple(kind for kind in kinds if kind is not str)
    return Union[kinds]  # noqa: UP007 (the members are known when this runs)


def _file_fields() -> dict[str, Any]:
    """Every argument that a file may give, as pydantic wants it; defaults that this machine decides are None."""
    found: dict[str, Any] = {}
    for each in fields(ArtQuantConfig):
        if not each.init or each.name in OWNED_BY_RUN:
            continue
        kind, default = _file_type(_HINTS[each.name]), each.default
        if each.name in ("eval_strategy", "save_strategy") or default is MISSING:
            factory = each.default_factory
            by_machine = factory is MISSING or each.name in ("dataloader_pin_memory", "use_cpu")
            kind, default = (kind | None, None) if by_machine else (kind, factory())  # type: ignore[operator]
        kind, default = _RUN_DEFAULTS.get(each.name, (kind, default))
        found[each.name] = (kind, Field(default, validate_default=True, **_BOUNDS.get(each.name, {})))
    return found


if TYPE_CHECKING:

    class TrainSection(_TrainChecks):
        """Every argument of the trainer that a run does not own; made below from `ArtQuantConfig`."""

        def __getattr__(self, name: str) -> Any: ...

else:
    TrainSection = create_model("TrainSection", __base__=_TrainChecks, __module__=__name__, **_file_fields())


class TrainConfig(RunSections):
    """A whole run: the sections of `RunSections`, and the arguments of the trainer.

    Args:
        train: Arguments of the trainer, the same in all stages.
    """

    train: TrainSection = TrainSection()

    @property
    def repository(self) -> str | None:
        """Name of the Hub repository that gets the checkpoints; None when none does."""
        push = self.train.push_to_hub
        return (self.train.hub_model_id if isinstance(push, bool) else push) if push else None


def load_config(paths: Path | Sequence[Path], overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a training configuration.

    Args:
        paths: One YAML file or several; a later one goes over an earlier one. Those that ship are found by their name.
        overrides: ``section.key=value`` each, the value in YAML; they come last.

    Returns:
        The checked configuration.

    Raises:
        ArtQuantError: There is no such file, it is no YAML, a key is unknown (the nearest known one is named), or a
            value is of the wrong kind.
    """
    return read_config(TrainConfig, paths, overrides)


def stage_arguments(
    config: TrainConfig, stage: StageSection, folder: Path, *, validated: bool, push: bool
) -> ArtQuantConfig:
    """The trainer's arguments for one stage of a run.

    Args:
        config: Configuration of the whole run, one of whose stages this is.
        stage: The stage, whose epochs, samples and learning rate are taken.
        folder: Folder that the stage's checkpoints are written to; it need not exist.
        validated: Whether there are paintings to evaluate on.
        push: Whether checkpoints go to the Hub, where the configuration names a repository.

    Raises:
        ArtQuantError: The arguments do not go together, or this machine cannot follow them (such as float16 on a CPU).
    """
    decided_later = (*_RUN_DEFAULTS, "eval_strategy", "save_strategy", "use_cpu", "dataloader_pin_memory")
    given = {
        name: value for name, value in dict(config.train).items() if value is not None or name not in decided_later
    }
    rates = {
        name: section.learning_rate
        for name in get_args(PartName)
        if (section := getattr(config.trained, name)).learning_rate is not None
    }
    given |= {
        "output_dir": str(folder),
        "num_train_epochs": stage.epochs,
        "seed": config.seed,
        "learning_rate": stage.learning_rate or config.train.learning_rate,
        "per_device_eval_batch_size": config.score_batch_size,
        "part_learning_rates": rates or None,
        "sample_kinds": list(stage.samples),
        "levels": config.levels.model_dump(mode="json"),
        "prompt": config.prompt.model_dump(mode="json"),
        "loss": config.loss.model_dump(mode="json"),
        "attributes": config.attributes.model_dump(mode="json"),
        # TensorBoard's log of all stages stands in one folder, so that the run hands it to the trainer.
        "report_to": [name for name in config.train.report_to if name != "tensorboard"],
        "push_to_hub": push and config.repository is not None,
        "hub_model_id": config.repository,
        "save_strategy": config.train.save_strategy or ("epoch" if config.train.save_steps is None else "steps"),
        "eval_strategy": config.train.eval_strategy or ("epoch" if config.train.eval_steps is None else "steps"),
    }
    if not validated:
        given["eval_strategy"] = "no"
    try:
        return ArtQuantConfig(**given)
    except (ValueError, ImportError, NotImplementedError) as error:
        if isinstance(error, ArtQuantError):
            raise
        raise ArtQuantError(f"train: {error}") from error
