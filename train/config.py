"""The training configuration: one YAML file, checked whole before anything runs."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from artquant_plugin.errors import ArtQuantError
from artquant_plugin.levels import ANSWER_PREFIX, LEVEL_NAMES, LEVEL_VALUES, LevelScale
from artquant_plugin.prompting import PromptSpec
from artquant_plugin.prompts import DESCRIBE_QUESTION, SCORE_QUESTION


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TinyModel(_Section):
    """Sizes of a LLaVA with random weights (train/tiny.py); what the demo trains from nothing."""

    image_size: int = Field(64, gt=0)
    patch_size: int = Field(8, gt=0)
    hidden: int = Field(96, gt=0)
    vision_layers: int = Field(3, gt=0)
    text_layers: int = Field(2, gt=0)
    heads: int = Field(4, gt=0)
    vocabulary: int = Field(1024, gt=0)


class ModelSection(_Section):
    """What is trained: a checkpoint (folder or Hub id), or a tiny model built from its sizes."""

    pretrained: str | None = None
    tiny: TinyModel | None = None
    attn: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"

    @model_validator(mode="after")
    def _one_of(self) -> "ModelSection":
        if (self.pretrained is None) == (self.tiny is None):
            raise ValueError("give either model.pretrained or model.tiny")
        return self


class LevelsSection(_Section):
    """Level words, their values on the dataset's scale, and the soft labels' sigma in the values' unit."""

    names: tuple[str, ...] = LEVEL_NAMES
    values: tuple[float, ...] = LEVEL_VALUES
    sigma: float | None = Field(None, gt=0)

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

    One is ours: `share_images` brings a painting's score and description sample into one batch, where its image is
    encoded once for both.
    """

    learning_rate: float = Field(2e-5, gt=0)
    per_device_train_batch_size: int = Field(16, gt=0)
    gradient_accumulation_steps: int = Field(1, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    adam_beta2: float = Field(0.999, gt=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)
    lr_scheduler_type: str = "cosine"
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    dataloader_num_workers: int = Field(0, ge=0)
    logging_steps: int = Field(10, gt=0)
    bf16: bool = False
    share_images: bool = False

    @model_validator(mode="after")
    def _even(self) -> "TrainSection":
        if self.share_images and self.per_device_train_batch_size % 2:
            raise ValueError(
                f"per_device_train_batch_size {self.per_device_train_batch_size} is odd; share_images puts both "
                "samples of a painting into one batch: make it even"
            )
        return self


class StageSection(_Section):
    """One stage: which samples, for how long.

    Multi-task aesthetic training (MAT) is `samples: [describe, score]`, score-only training (SOT) `samples: [score]`.
    """

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    samples: tuple[Literal["describe", "score"], ...] = Field(min_length=1)
    epochs: float = Field(gt=0)
    learning_rate: float | None = Field(None, gt=0)


class TrainConfig(_Section):
    """A whole run.

    Args:
        data: dataset names (under $ARTQUANT_DATA) or folders; their training splits are joined.
        output: folder of the checkpoint.
        seed: of weights, order and dropout.
        score_batch_size: images per forward pass in the evaluation after each epoch.
    """

    data: tuple[str, ...] = Field(min_length=1)
    output: Path
    model: ModelSection
    stages: tuple[StageSection, ...] = Field(min_length=1)
    levels: LevelsSection = LevelsSection()
    prompt: PromptSection = PromptSection()
    loss: LossSection = LossSection()
    train: TrainSection = TrainSection()
    seed: int = Field(0, ge=0)
    score_batch_size: int = Field(32, gt=0)


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a YAML file and apply overrides.

    Args:
        path: the file; a bare name such as ``demo.yaml`` is also looked for among the shipped configurations.
        overrides: ``section.key=value`` each, the value in YAML.

    Returns:
        The checked configuration.

    Raises:
        ArtQuantError: no such file, no YAML, an unknown key (the nearest is named) or a value of the wrong kind.
    """
    source = _find(path)
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArtQuantError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ArtQuantError(f"{source} holds no mapping; start from one of the shipped configurations")
    for override in overrides:
        _override(content, override)
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as error:
        raise ArtQuantError(f"{source}: {_explain(error)}") from error


def _find(path: Path) -> Path:
    shipped = Path(__file__).resolve().parent.parent / "configs"
    if not shipped.is_dir():  # installed from a wheel: configs/ is a sibling package
        from importlib.resources import files

        shipped = Path(str(files("artquant_plugin.configs")))
    for candidate in (path, shipped / path.name):
        if candidate.is_file() and (candidate == path or path.parent.name in ("", "configs")):
            return candidate
    names = ", ".join(sorted(file.name for file in shipped.glob("*.yaml")))
    raise ArtQuantError(f"no configuration {str(path)!r}; give a YAML file, or one that ships: {names}")


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ArtQuantError(f"--set {override!r} is not of the form section.key=value")
    *sections, last = key.split(".")
    target: Any = content
    for section in sections:
        target = target.setdefault(section, {}) if isinstance(target, dict) else None
        if target is None:
            raise ArtQuantError(f"--set {key}: {section!r} is not a section of the configuration")
    if not isinstance(target, dict):
        raise ArtQuantError(f"--set {key}: {sections[-1]!r} is not a section of the configuration")
    try:
        target[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ArtQuantError(f"--set {key}: {value!r} is not a YAML value") from error


def _explain(error: ValidationError) -> str:
    """One problem as one line; an unknown key before all else, as it may explain the rest."""
    problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _keys_at(problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {place!r}; {remedy}"
    if problem["type"] == "missing":
        return f"key {place!r} is missing; add it"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" + ("" if problem["type"] == "value_error" else f", not {problem['input']!r}")


def _keys_at(location: Sequence[int | str]) -> list[str]:
    section: Any = TrainConfig
    for part in location:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next(item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel))
    return list(section.model_fields)
