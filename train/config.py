"""The training configuration: its sections, their defaults and what they allow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from artquant_plugin.common.config import read_config
from artquant_plugin.prompting.levels import ANSWER_PREFIX, LEVEL_NAMES, LEVEL_VALUES, LevelScale
from artquant_plugin.prompting.prompter import PromptSpec
from artquant_plugin.prompting.questions import DESCRIBE_QUESTION, SCORE_QUESTION


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TinyModel(_Section):
    """Sizes of a LLaVA with random weights (train/tiny.py); what the demo trains from nothing."""

    image_size: int = Field(64, gt=0)
    patch_size: int = Field(8, gt=0)
    hidden: int = Field(96, gt=0)
    vision_layers: int = Field(3, gt=0)
    text_layers: int = Field(2, gt=0)
    heads: int = Field(4, gt=0)
    vocabulary: int = Field(1024, gt=0)

    @model_validator(mode="after")
    def _divisible(self) -> "TinyModel":
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden {self.hidden} is no multiple of 2 × {self.heads} heads, whose positions turn pairs of "
                "numbers; change one of them"
            )
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}; change one of them"
            )
        return self


class ModelSection(_Section):
    """Where training starts: a checkpoint (folder or Hub id), or a tiny model built from its sizes.

    Args:
        pretrained: see `artquant_plugin.checkpoint.load_checkpoint`; an adapter is trained on.
        base: of an adapter, where it is not the one that the adapter names.
        tiny: instead of `pretrained`.
        dtype: of the weights that are not trained; those that are trained are float32, as the optimizer needs.
        attn: attention implementation.
        quantization: of the weights that are not trained (QLoRA), through bitsandbytes.
        trust_remote_code: whether Python code of the checkpoint's repository may run.
    """

    pretrained: str | None = None
    base: str | None = None
    tiny: TinyModel | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    attn: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] = "sdpa"
    quantization: Literal["4bit", "8bit"] | None = None
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _one_of(self) -> "ModelSection":
        if (self.pretrained is None) == (self.tiny is None):
            raise ValueError("give either model.pretrained or model.tiny")
        return self


class PartSection(_Section):
    """How one part of the model is trained; ``vision: full`` is short for ``vision: {method: full}``.

    Args:
        method: ``full`` trains all of its weights, ``lora`` matrices beside them, ``frozen`` nothing.
        learning_rate: of this part alone, in every stage; the stage's when left out.
    """

    method: Literal["full", "lora", "frozen"] = "full"
    learning_rate: float | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, content: Any) -> Any:
        return {"method": content} if isinstance(content, str) else content


class LoraSection(_Section):
    """The LoRA matrices, in every part whose method is ``lora``.

    Args:
        targets: ``all-linear``; ``original``, the paper's choice (`q_proj` and the image tokens' `v_proj.multiway.1`
            in mPLUG-Owl2, `q_proj` and `v_proj` elsewhere); or ends of module names.
        rank: of the matrices.
        alpha: their product is scaled by alpha / rank.
        dropout: of what goes into them, in training.
    """

    targets: Literal["all-linear", "original"] | tuple[str, ...] = "all-linear"
    rank: int = Field(128, gt=0)
    alpha: int = Field(256, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)


class TrainedSection(_Section):
    """What of the model is trained; all of it, unless told otherwise."""

    language: PartSection = PartSection()
    vision: PartSection = PartSection()
    projector: PartSection = PartSection()
    lora: LoraSection = LoraSection()


class LevelsSection(_Section):
    """Level words, their values on the dataset's scale, and how scores become soft labels.

    Args:
        names: best first.
        values: one per name, on the dataset's scale.
        method: see `LevelScale.soft_labels`.
        sigma: of ``sbde``, in the values' unit.
        deviation: of ``gaussian``: the raters' standard deviation in the values' unit, or the name of the attribute
            that holds each painting's own.
    """

    names: tuple[str, ...] = LEVEL_NAMES
    values: tuple[float, ...] = LEVEL_VALUES
    method: Literal["sbde", "sbde_constrained", "gaussian", "onehot"] = "sbde"
    sigma: float | None = Field(None, gt=0)
    deviation: float | str | None = None

    @model_validator(mode="after")
    def _fitting(self) -> "LevelsSection":
        if self.sigma is not None and self.method != "sbde":
            raise ValueError(f"levels.sigma belongs to method sbde, not {self.method}; leave it out")
        if (self.deviation is not None) != (self.method == "gaussian"):
            raise ValueError("levels.deviation belongs to method gaussian, which needs it; give both or none")
        return self

    def scale(self) -> LevelScale:
        """The scale of these names and values."""
        return LevelScale(names=self.names, values=self.values)


class PromptSection(_Section):
    """Questions and answer prefix; the defaults are the paper's (artquant_plugin/prompts.py)."""

    question: str = SCORE_QUESTION
    describe_question: str = DESCRIBE_QUESTION
    answer_prefix: str = ANSWER_PREFIX
    image_first: bool = True

    def spec(self) -> PromptSpec:
        """The prompts as the checkpoint's scoring file keeps them."""
        return PromptSpec(**self.model_dump())


# Those of `transformers` that need no further arguments.
Schedule = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
]
LOSS_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"k": 1.0, "k_asl": 1.0, "softmax": "levels"},
    "released": {"k": 1.0, "k_asl": 0.05, "softmax": "vocabulary"},
}


class LossSection(_Section):
    """The loss: L_CE + k_asl · (L_ce + k · L_kl) (ArtQuant, Eqs. 7 and 8) + k_ranking · L_ranking.

    Args:
        preset: what the other keys are where they are not given: the paper's equations, or the released code's weights
            and softmax (GitHub Henglin-Liu/ArtQuant at f6b1fca).
        k: weight of the KL divergence at the level token.
        k_asl: weight of the score samples' loss.
        softmax: of the KL's prediction, over the levels' tokens (as in scoring) or the whole vocabulary.
        k_ranking: weight of DeQA's fidelity loss over the pairs of score samples in a micro-batch; 0 leaves it out.
        ranking: what of a pair is to be predicted. ``fixed`` and ``predicted``: how likely the one is better than the
            other, from the soft labels' means and variances; a prediction's variance is 1, or that of its own
            distribution. ``binary``: which one is better; a prediction's variance is 1.
    """

    preset: Literal["paper", "released"] = "paper"
    k: float = Field(1.0, ge=0)
    k_asl: float = Field(1.0, ge=0)
    softmax: Literal["levels", "vocabulary"] = "levels"
    k_ranking: float = Field(0.0, ge=0)
    ranking: Literal["fixed", "predicted", "binary"] = "fixed"

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return LOSS_PRESETS.get(str(given.get("preset", "paper")), {}) | given
        return given


class TrainSection(_Section):
    """Optimisation, shared by all stages unless a stage overrides it; names are `TrainingArguments`'s.

    Beyond those:

    Args:
        warmup_ratio: share of a stage's steps.
        share_images: bring a painting's score and description sample into one batch, where its image is encoded once
            for both.
        group_by_length: batches whose descriptions are of like length, which need less padding; as many scores and
            descriptions meet in each as without it.
        gradient_checkpointing: compute activations again in the backward pass instead of keeping them.
        save_steps: optimisation steps between checkpoints that `--resume` goes on from; each epoch's end when left
            out.
        save_total_limit: how many of them are kept.
        eval_steps: steps between evaluations on the validation split; each epoch's end when left out.
        keep: which weights a stage ends with: of the evaluation with the best SROCC, or the last.
        early_stopping_patience: evaluations without a better SROCC after which a stage ends; never when left out.
        on_bad_sample: whether an image that cannot be read stops the run or is left out and counted.
        report_to: trackers of `transformers` that get the log, ``tensorboard``, ``wandb`` and the like.
        push_to_hub: repository that gets each checkpoint as it is written, and the last one; private when it is made.
    """

    learning_rate: float = Field(2e-5, gt=0)
    per_device_train_batch_size: int = Field(16, gt=0)
    gradient_accumulation_steps: int = Field(1, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    adam_beta2: float = Field(0.999, gt=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)
    lr_scheduler_type: Schedule = "cosine"
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    dataloader_num_workers: int = Field(0, ge=0)
    logging_steps: int = Field(10, gt=0)
    bf16: bool = False
    group_by_length: bool = False
    gradient_checkpointing: bool = False
    save_steps: int | None = Field(None, gt=0)
    save_total_limit: int = Field(2, gt=0)
    eval_steps: int | None = Field(None, gt=0)
    keep: Literal["best", "last"] = "best"
    early_stopping_patience: int | None = Field(None, gt=0)
    on_bad_sample: Literal["stop", "skip"] = "stop"
    report_to: tuple[str, ...] = ("tensorboard",)
    share_images: bool = False
    push_to_hub: str | None = None

    @model_validator(mode="after")
    def _even(self) -> "TrainSection":
        if self.share_images and self.per_device_train_batch_size % 2:
            raise ValueError(
                f"per_device_train_batch_size {self.per_device_train_batch_size} is odd; share_images puts both "
                "samples of a painting into one batch: make it even"
            )
        if self.share_images and self.group_by_length:
            raise ValueError("share_images and group_by_length ask for different batches; choose one of them")
        return self


class StageSection(_Section):
    """One stage: which samples, for how long.

    Multi-task aesthetic training (MAT) is `samples: [describe, score]`, score-only training (SOT) `samples: [score]`.
    """

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    samples: tuple[Literal["describe", "score"], ...] = Field(min_length=1)
    epochs: float = Field(gt=0)
    learning_rate: float | None = Field(None, gt=0)


class DataSection(_Section):
    """A dataset; ``data: [apdd]`` is short for ``data: [{name: apdd}]``.

    Args:
        name: under $ARTQUANT_DATA, or a folder.
        weight: how often a painting of its training split is seen in an epoch; 0.5 draws another half each time.
    """

    name: str
    weight: float = Field(1.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, content: Any) -> Any:
        return {"name": content} if isinstance(content, str) else content


class TrainConfig(_Section):
    """A whole run.

    Args:
        data: datasets, whose training splits are joined.
        output: folder of the checkpoint.
        seed: of weights, order and dropout.
        score_batch_size: images per forward pass in the evaluation after each epoch.
    """

    data: tuple[DataSection, ...] = Field(min_length=1)
    output: Path
    model: ModelSection
    trained: TrainedSection = TrainedSection()
    stages: tuple[StageSection, ...] = Field(min_length=1)
    levels: LevelsSection = LevelsSection()
    prompt: PromptSection = PromptSection()
    loss: LossSection = LossSection()
    train: TrainSection = TrainSection()
    seed: int = Field(0, ge=0, lt=2**32)
    score_batch_size: int = Field(32, gt=0)

    @model_validator(mode="after")
    def _names_differ(self) -> "TrainConfig":
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages {', '.join(names)} repeat a name; each stage has a folder of its name")
        if self.model.quantization is not None:
            for part in ("language", "vision", "projector"):
                if getattr(self.trained, part).method == "full":
                    raise ValueError(
                        f"trained.{part} is full, but quantised weights cannot be trained; set it to lora or frozen, "
                        "or leave model.quantization out"
                    )
        return self


def load_config(paths: Path | Sequence[Path], overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a training configuration.

    Args:
        paths: one YAML file or several, later ones over earlier ones; those that ship are found by their name.
        overrides: ``section.key=value`` each, the value in YAML; they come last.

    Returns:
        The checked configuration.

    Raises:
        ArtQuantError: no such file, no YAML, an unknown key (the nearest is named) or a value of the wrong kind.
    """
    return read_config(TrainConfig, paths, overrides)
