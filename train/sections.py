"""The sections of a training configuration that say what is trained on what.

This module imports neither torch nor transformers, so that a missing dataset is found at once. The section `train`,
which holds the arguments of the trainer, stands in `config.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from artquant_plugin.common.config import Section, read_config
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import did_you_mean
from artquant_plugin.prompting.attributes import AttributeSpec, attribute_spec
from artquant_plugin.prompting.levels import ANSWER_PREFIX, LEVEL_NAMES, LEVEL_VALUES, LevelScale
from artquant_plugin.prompting.prompter import PromptSpec
from artquant_plugin.prompting.questions import DESCRIBE_QUESTION, SCORE_QUESTION

SampleKind = Literal["describe", "score"]
PartName = Literal["language", "vision", "projector"]
DescriptionLevel = Literal["perception", "cognition", "emotion"]


class TinyModel(Section):
    """Sizes of a LLaVA with random weights (`artquant_plugin.train.tiny`), which the demo trains from nothing.

    Args:
        image_size: side of the square image that the vision tower sees, in pixels; a multiple of `patch_size`.
        patch_size: side of the square patch that becomes one token, in pixels.
        hidden: width of the language model and of the vision tower; a multiple of twice the number of heads.
        vision_layers: layers of the vision tower.
        text_layers: layers of the language model.
        heads: attention heads of every layer.
        vocabulary: largest number of tokens that the tokenizer learns.
    """

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


class ModelSection(Section):
    """Where training starts: a checkpoint (folder or Hub id), or a tiny model built from its sizes.

    Args:
        pretrained: Folder or Hub id of a full model or of a LoRA adapter, which is then trained further.
        base: Folder or Hub id of the adapter's base model. When None, the adapter itself names it.
        tiny: Sizes of a model with random weights; it stands in the place of `pretrained`.
        dtype: Floating type of the weights that are not trained. Trained weights are always float32.
        attn: Attention implementation, a name or a kernel of the Hub that `check_attention` knows.
        quantization: Width to which bitsandbytes quantises the weights that are not trained (QLoRA). None for none.
        trust_remote_code: Whether Python code of the checkpoint's repository may run.
    """

    pretrained: str | None = None
    base: str | None = None
    tiny: TinyModel | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    attn: str = "sdpa"
    quantization: Literal["4bit", "8bit"] | None = None
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _one_of(self) -> "ModelSection":
        if (self.pretrained is None) == (self.tiny is None):
            raise ValueError("give either model.pretrained or model.tiny")
        return self


class PartSection(Section):
    """How one part of the model is trained; ``vision: full`` is short for ``vision: {method: full}``.

    Args:
        method: ``full`` trains all weights of the part, ``lora`` trains low-rank matrices beside them, and ``frozen``
            trains nothing.
        learning_rate: Learning rate of this part in every stage, above 0. When None, the part follows the stage's.
    """

    method: Literal["full", "lora", "frozen"] = "full"
    learning_rate: float | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, content: Any) -> Any:
        return {"method": content} if isinstance(content, str) else content


class LoraSection(Section):
    """The LoRA matrices, in every part whose method is ``lora``.

    Args:
        targets: ``all-linear``; ``original``, the paper's choice (`q_proj` and the image tokens' `v_proj.multiway.1`
            in mPLUG-Owl2, `q_proj` and `v_proj` elsewhere); or ends of module names.
        rank: Rank of the matrices, at least 1.
        alpha: The product of the two matrices is scaled by alpha / rank.
        dropout: Probability, in [0, 1), with which an input of the matrices is dropped during training.
    """

    targets: Literal["all-linear", "original"] | tuple[str, ...] = "all-linear"
    rank: int = Field(128, gt=0)
    alpha: int = Field(256, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)


class TrainedSection(Section):
    """What of the model is trained: by default all of its weights.

    Args:
        language: How the language model is trained.
        vision: How the vision tower is trained.
        projector: How the modules between the two are trained.
        lora: The matrices of every part whose method is ``lora``.
    """

    language: PartSection = PartSection()
    vision: PartSection = PartSection()
    projector: PartSection = PartSection()
    lora: LoraSection = LoraSection()


class LevelsSection(Section):
    """Level words, their values on the dataset's scale, and how scores become soft labels.

    Args:
        names: The level words, best first.
        values: The score that each word stands for, in the unit of the dataset's scores; as many as `names`.
        method: How a score becomes probabilities of the levels; `LevelScale.soft_labels` describes each method.
        sigma: Width of ``sbde``, above 0, in the unit of the values. None for the method's own; an error with another
            method.
        deviation: For ``gaussian`` alone, which needs it: the raters' standard deviation in the unit of the values, or
            the name of the attribute that holds each painting's own, or ``rating_sd`` for that of its ratings, where
            the dataset was imported with them.
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


class AttributesSection(Section):
    """Attributes that are trained beside the score; ``attributes: [Color]`` is short for the names alone.

    A painting has a sample for each of them that its dataset gives it a score of. Their answers have the level words
    and the labels' method of the score.

    Args:
        names: Names as the dataset has them, such as ``Light and shadow``, in the order of the results' columns; none
            to train on total scores alone.
        values: The score that each level word stands for in an answer about an attribute, in the unit of the
            attributes' scores. When None, they are those of `levels`.
        questions: Questions by the attribute's name, where they are not "How would you rate the … of this painting?".
        weight: How often an attribute's sample is seen in an epoch, above 0, times the weight of its dataset; at 0.1
            each epoch draws another tenth of them.
    """

    names: tuple[str, ...] = ()
    values: tuple[float, ...] | None = None
    questions: dict[str, str] = {}
    weight: float = Field(1.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, content: Any) -> Any:
        return {"names": content} if isinstance(content, list | tuple) else content

    @model_validator(mode="after")
    def _known(self) -> "AttributesSection":
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"attributes {', '.join(self.names)} repeat a name; name each attribute once")
        for name in self.questions:
            if name not in self.names:
                hint = did_you_mean(name, self.names) or "name it under attributes.names, too"
                raise ValueError(f"attributes.questions has a question for {name!r}, which is not trained; {hint}")
        return self

    def specs(self, levels: LevelsSection) -> tuple[AttributeSpec, ...]:
        """The attributes as the checkpoint's scoring file keeps them.

        Args:
            levels: The levels of the score, whose values count where `values` is None.
        """
        values = levels.values if self.values is None else self.values
        return tuple(attribute_spec(name, values, self.questions.get(name)) for name in self.names)

    def problem(self, levels: LevelsSection, loss: "LossSection") -> str | None:
        """What of a configuration does not go with these attributes; None when all of it does.

        Args:
            levels: The levels of the score, and the method of its labels.
            loss: The forms and weights of the loss.
        """
        if not self.names:
            return None
        if loss.k_ranking:
            return (
                f"loss.k_ranking is {loss.k_ranking:g} with attributes, whose answers cannot be ranked with total "
                "scores; leave one of the two out"
            )
        if isinstance(levels.deviation, str):
            return (
                f"levels.deviation names {levels.deviation!r}, which tells nothing of attributes; give a number, or "
                "leave attributes out"
            )
        try:
            for spec in self.specs(levels):
                spec.scale(levels.names)
        except ArtQuantError as error:
            return f"attributes: {error}"
        return None


class PromptSection(Section):
    """The questions and the beginning of the answer; the defaults are the paper's.

    Args:
        question: Asks for the level of a painting.
        describe_question: Asks for the description of a painting.
        answer_prefix: The words before the level word in the answer.
        image_first: Whether the image stands before the question or behind it.
    """

    question: str = SCORE_QUESTION
    describe_question: str = DESCRIBE_QUESTION
    answer_prefix: str = ANSWER_PREFIX
    image_first: bool = True

    def spec(self) -> PromptSpec:
        """The prompts as the checkpoint's scoring file keeps them."""
        return PromptSpec(**self.model_dump())


LOSS_PRESETS: dict[str, dict[str, Any]] = {
    "default": {"k": 1.0, "k_asl": 1.0, "softmax": "levels", "level_mass": 0.95},
    "paper": {"k": 1.0, "k_asl": 1.0, "softmax": "levels", "level_mass": 0.0},
    "released": {"k": 1.0, "k_asl": 0.05, "softmax": "vocabulary", "level_mass": 0.0},
}


class LossSection(Section):
    """The loss: L_CE + k_asl · (L_ce + k · L_kl + k_mass · L_mass) + k_ranking · L_ranking.

    With k_mass and k_ranking 0 it is the paper's (ArtQuant, Eqs. 7 and 8). L_mass is -log of the probability that the
    level words have together among all tokens.

    Args:
        preset: Chooses `k`, `k_asl`, `softmax` and `level_mass` where they are not given: ``paper`` takes the
            equations and leaves the weights as they are trained, ``default`` adds `level_mass` to it, and ``released``
            takes what the authors' code computes (GitHub Henglin-Liu/ArtQuant at f6b1fca).
        k: Weight of the KL divergence at the level token, at least 0.
        k_asl: Weight of the score samples' loss, at least 0.
        softmax: What the predicted probabilities of the KL divergence sum to 1 over: the tokens of the ``levels``, as
            in scoring, or the whole ``vocabulary``, which adds L_mass to the divergence.
        k_mass: Weight of L_mass, at least 0; at 0 it is logged and not trained on. With softmax ``vocabulary``, which
            contains it, it must be 0.
        level_mass: Probability in [0, 1) that the level words have together at the end of a run, which a common vector
            on their rows of the output head brings about, without a change of scores
            (`artquant_plugin.train.level_mass`); 0 to leave the weights as they are trained.
        k_ranking: Weight of DeQA's fidelity loss over the pairs of score samples in a micro-batch, at least 0; at 0
            the loss is not computed.
        ranking: What the fidelity loss compares a prediction with. ``fixed`` and ``predicted`` take the probability
            that one painting is better than the other, from the means and variances of their soft labels; the variance
            of a prediction is 1, or that of its own distribution. ``binary`` takes which painting is better, and a
            prediction's variance is 1.
    """

    preset: Literal["default", "paper", "released"] = "default"
    k: float = Field(1.0, ge=0)
    k_asl: float = Field(1.0, ge=0)
    softmax: Literal["levels", "vocabulary"] = "levels"
    k_mass: float = Field(0.0, ge=0)
    level_mass: float = Field(0.95, ge=0, lt=1)
    k_ranking: float = Field(0.0, ge=0)
    ranking: Literal["fixed", "predicted", "binary"] = "fixed"

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return LOSS_PRESETS.get(str(given.get("preset", "default")), {}) | given
        return given

    @model_validator(mode="after")
    def _mass_once(self) -> "LossSection":
        if self.softmax == "vocabulary" and self.k_mass:
            raise ValueError(
                f"loss.k_mass is {self.k_mass:g} with softmax vocabulary, which counts the level words' probability "
                "already; leave k_mass out, or take softmax levels"
            )
        return self


class StageSection(Section):
    """One stage: which samples are trained on, and for how long.

    Multi-task aesthetic training (MAT) is `samples: [describe, score]`, score-only training (SOT) `samples: [score]`.

    Args:
        name: Name of the stage in logs and of its folder: lower-case letters, digits, ``_`` and ``-``.
        samples: Kinds of samples, at least one.
        epochs: How often the stage goes through its samples, above 0; 0.5 stops in the middle.
        learning_rate: Learning rate of the stage, above 0. When None, it is `train.learning_rate`.
    """

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    samples: tuple[SampleKind, ...] = Field(min_length=1)
    epochs: float = Field(gt=0)
    learning_rate: float | None = Field(None, gt=0)


class DataSection(Section):
    """A dataset; ``data: [apdd]`` is short for ``data: [{name: apdd}]``.

    Args:
        name: Name of a dataset under $ARTQUANT_DATA, its folder, or its place on the Hub (``NAMESPACE/NAME:CONFIG``).
        weight: How often a painting of the training split is seen in an epoch, above 0; at 0.5 each epoch draws
            another half of the split.
    """

    name: str
    weight: float = Field(1.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, content: Any) -> Any:
        return {"name": content} if isinstance(content, str) else content


class RunSections(Section):
    """A run without the arguments of the trainer.

    Args:
        data: Datasets, whose training splits are joined; at least one.
        descriptions: The text of a painting that description samples are answered with: some of the levels of its
            description, at least one; ``comment`` for a rater's words; None for the whole description.
        output: Folder that the checkpoint is written to.
        model: The model that training starts from.
        trained: Which of its weights are trained.
        stages: Stages, trained one after the other; at least one, each with a name of its own.
        levels: Level words and the labels' method.
        prompt: The questions, and the words that an answer begins with.
        loss: Weights and forms of the loss's terms.
        attributes: Attributes that are trained beside the score, in every stage that has score samples.
        seed: Seed of weights, order and dropout, from 0 to 2**32 - 1.
        score_batch_size: Images per forward pass of an evaluation, at least 1.
    """

    data: tuple[DataSection, ...] = Field(min_length=1)
    descriptions: Annotated[tuple[DescriptionLevel, ...], Field(min_length=1)] | Literal["comment"] | None = None
    output: Path
    model: ModelSection
    trained: TrainedSection = TrainedSection()
    stages: tuple[StageSection, ...] = Field(min_length=1)
    levels: LevelsSection = LevelsSection()
    prompt: PromptSection = PromptSection()
    loss: LossSection = LossSection()
    attributes: AttributesSection = AttributesSection()
    seed: int = Field(0, ge=0, lt=2**32)
    score_batch_size: int = Field(32, gt=0)

    @model_validator(mode="after")
    def _names_differ(self) -> "RunSections":
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages {', '.join(names)} repeat a name; each stage has a folder of its name")
        if problem := self.attributes.problem(self.levels, self.loss):
            raise ValueError(problem)
        if self.model.quantization is not None:
            for part in get_args(PartName):
                if getattr(self.trained, part).method == "full":
                    raise ValueError(
                        f"trained.{part} is full, but quantised weights cannot be trained; set it to lora or frozen, "
                        "or leave model.quantization out"
                    )
        return self


# Keys of the section `train` that are known without the trainer's imports: those that shipped configurations use, and
# the trainer's own. Other keys are known when `config.py` is imported, which takes seconds.
ORDINARY_TRAIN_KEYS = frozenset(
    {
        "bf16",
        "dataloader_num_workers",
        "early_stopping_patience",
        "eval_steps",
        "global_batch_size",
        "gradient_accumulation_steps",
        "gradient_checkpointing",
        "group_by_length",
        "keep",
        "learning_rate",
        "logging_steps",
        "lr_scheduler_type",
        "on_bad_sample",
        "per_device_train_batch_size",
        "push_to_hub",
        "report_to",
        "save_steps",
        "share_images",
        "warmup_ratio",
        "weight_decay",
    }
)


class _UncheckedTrain(RunSections):
    """A configuration whose section `train` is not looked into."""

    train: dict[str, Any] = {}


def read_sections(paths: Path | Sequence[Path], overrides: Sequence[str] = ()) -> tuple[RunSections, frozenset[str]]:
    """A training configuration, read without importing transformers and without a look into the section `train`.

    Args:
        paths: One YAML file or several; a later one goes over an earlier one.
        overrides: ``section.key=value`` each, the value in YAML; they come last.

    Returns:
        The checked sections, and the keys of the section `train`, which are not checked.

    Raises:
        ArtQuantError: There is no such file, it is no YAML, a key is unknown, or a value is of the wrong kind.
    """
    content = read_config(_UncheckedTrain, paths, overrides)
    return content, frozenset(content.train)
