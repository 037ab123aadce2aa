"""Scoring and describing images: a score is the expectation over the levels' probabilities (ArtQuant, Eq. 3)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from artquant_plugin.backbones.interface import (
    last_hidden_states,
    log_token_mass,
    not_finite_because,
    token_logits,
)
from artquant_plugin.backbones.prefix import FurtherQuestions, SharedPrefix, find_shared_keys, shared_prefix
from artquant_plugin.checkpoint import OWN, Checkpoint, ScoringSpec, load_checkpoint
from artquant_plugin.common.device import check_compile, default_device, start_threads
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line
from artquant_plugin.data.images import ImageSource, source_name
from artquant_plugin.data.picture_arrays import picture_array
from artquant_plugin.data.picture_files import ImageError
from artquant_plugin.prompting.attributes import AttributeSpec, chosen_attributes
from artquant_plugin.prompting.descriptions import Description, read_description
from artquant_plugin.prompting.levels import entropy
from artquant_plugin.prompting.prompter import Prompter, level_positions, until_level
from artquant_plugin.scoring.batching import BatchSize
from artquant_plugin.scoring.generation import generate_ids, generation_inputs, read_answers, to_model
from artquant_plugin.scoring.prepare import default_workers
from artquant_plugin.scoring.stream import StreamRunner
from artquant_plugin.scoring.timings import Timings

PROBES = ((336, 336), (1344, 672))  # image sizes for which models of dynamic resolution have inputs of other shapes
# Mean relative difference of hidden states that is rounding, by type.
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}
DESCRIPTION_TOKENS = 512  # the default limit of a description

Picture = ImageSource | Tensor
PICTURE_FORMS = "a path, a PIL image, an array of numpy, a tensor of torch or a file's bytes"

ImageResult = TypeVar("ImageResult")


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one image.

    Args:
        score: the expectation of the level values, in the unit of the checkpoint's scale.
        levels: the probability of each level word, best level first; they sum to 1.
        entropy: the entropy of that distribution in nats, from 0 to the logarithm of the number of levels.
        level_mass: the probability that all level words have together among all tokens, from 0 to 1; None where the
            scorer was not asked for it.
        attributes: the score of each attribute that was asked for, by its name, in the unit of that attribute's
            values; None where none was asked for.
    """

    score: float
    levels: dict[str, float]
    entropy: float
    level_mass: float | None = None
    attributes: dict[str, float] | None = None


class ArtQuantScorer:
    """Scores and describes images with one checkpoint.

    Args:
        checkpoint: the model, its processor and its scoring file, as `load_checkpoint` returns them.
        batch_size: images per forward pass, at least 1; ``auto`` and ``auto:N`` find the largest that fits into the
            memory of the GPU, as `BatchSize` describes.
        max_batch_size: the largest size that ``auto`` tries; None for its default.
        workers: processes that open and process images ahead of the model; 0 for threads of this process, None for
            the number that `default_workers` finds suitable for the device.
        compile: whether to run the model through `torch.compile`. The first batches then take minutes, and the part
            of the prompt before the image is computed for each image.
        level_mass: whether scores say how probable the level words are among all tokens, which takes the logits of the
            whole vocabulary at one position.

    Raises:
        ArtQuantError: an argument has none of these values, or the tokenizer does not tell the level words apart.

    Example:
        scorer = ArtQuantScorer.from_pretrained("runs/demo")
        scorer.score(["a.jpg", "b.jpg"])[0].score
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        batch_size: int | str = 8,
        max_batch_size: int | None = None,
        workers: int | None = None,
        compile: bool = False,
        level_mass: bool = False,
    ) -> None:
        self._level_mass = level_mass
        model = checkpoint.model
        size = BatchSize(batch_size, device=str(model.device), ceiling=max_batch_size)
        if workers is not None and not (isinstance(workers, int) and workers >= 0):
            raise ArtQuantError(f"workers {workers!r} is no number of processes; use 0 for none, or leave it out")
        self.checkpoint = checkpoint
        self.prompter = _prompter(checkpoint)
        self._level_ids = torch.tensor(self.prompter.level_ids, device=model.device)
        self._hidden_states = torch.compile(last_hidden_states) if compile else last_hidden_states
        self._score_inputs = partial(score_inputs, self.prompter)
        self._describe_inputs = partial(describe_inputs, self.prompter)
        small, large = (self._score_inputs([Image.new("RGB", shape)]) for shape in PROBES)
        dynamic = any(value.shape != large[name].shape for name, value in small.items() if isinstance(value, Tensor))
        workers = default_workers(str(model.device)) if workers is None else workers
        self._runner = StreamRunner(
            model, size=size, workers=workers, by_size=dynamic, handling=checkpoint.spec.images
        )
        self._prefix = None if compile else self._shared_prefix(small)
        self._questions: dict[tuple[str, ...], FurtherQuestions] = {}

    @classmethod
    def from_pretrained(
        cls,
        pretrained: str,
        *,
        scoring: str | ScoringSpec | None = None,
        base: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        attn: str = "sdpa",
        batch_size: int | str = 8,
        max_batch_size: int | None = None,
        workers: int | None = None,
        compile: bool = False,
        quantization: str | None = None,
        trust_remote_code: bool = False,
    ) -> "ArtQuantScorer":
        """Load a checkpoint and make a scorer of it.

        Args:
            pretrained: folder, or Hub id with an optional ``@revision``, of a full model or of a peft adapter.
            scoring: what the model is asked and how its answer is read: the name of a preset such as ``deqa``, a
                scoring file, a folder with one, or a ready spec; None for the checkpoint's own scoring file, or the
                preset of a well-known Hub id.
            base: folder or Hub id of an adapter's base model; None for the one that the adapter names.
            dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``. ``auto`` is the checkpoint's own type; on a CPU,
                it is float32 where that is float16, or bfloat16 that the CPU has no instructions for.
            device: torch's name of a device, such as ``cuda:1`` or ``cpu``; None for a GPU where there is one.
            attn: attention implementation, as `artquant_plugin.checkpoint.load_checkpoint` takes it.
            batch_size: images per forward pass, ``auto`` or ``auto:N``, as for the class.
            max_batch_size: the largest size that ``auto`` tries; None for its default.
            workers: processes that prepare images, as for the class; None for the number that suits the device.
            compile: whether to run the model through `torch.compile`, as for the class.
            quantization: ``4bit`` or ``8bit`` for the linear layers; None to load them as they are stored.
            trust_remote_code: whether Python code of the checkpoint's repository may run.

        Raises:
            ArtQuantError: an option is unknown or impossible on this machine, the checkpoint cannot be found or
                loaded, or nothing says what it is asked.
        """
        device = device or default_device()
        BatchSize(batch_size, device=device)  # a wrong size is an error before minutes of loading
        if compile:
            check_compile(device)
        start_threads(device)
        checkpoint = load_checkpoint(
            pretrained,
            scoring=scoring,
            base=base,
            dtype=dtype,
            device=device,
            attn=attn,
            quantization=quantization,
            trust_remote_code=trust_remote_code,
        )
        return cls(
            checkpoint,
            batch_size=batch_size,
            max_batch_size=max_batch_size,
            workers=workers,
            compile=compile,
        )

    @property
    def size(self) -> BatchSize:
        """The batch size, for callers that put batches of their own through the checkpoint."""
        return self._runner.size

    @property
    def batch_size(self) -> int:
        """The number of images in the next forward pass."""
        return self._runner.size.current

    @property
    def shared_tokens(self) -> int:
        """How many tokens of the prompt are computed once instead of once per image; 0 where none are."""
        return 0 if self._prefix is None else len(self._prefix.ids)

    @overload
    def score(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too, and here it is one path
        self,
        images: Path | str | bytes | Image.Image,
        *,
        errors: Literal["raise"] = "raise",
        attributes: bool | Sequence[str] = False,
    ) -> Score: ...
    @overload
    def score(
        self,
        images: Sequence[Picture],
        *,
        errors: Literal["raise"] = "raise",
        attributes: bool | Sequence[str] = False,
    ) -> list[Score]: ...
    @overload
    def score(
        self,
        images: np.ndarray | Tensor,
        *,
        errors: Literal["raise"] = "raise",
        attributes: bool | Sequence[str] = False,
    ) -> Any: ...
    @overload
    def score(
        self, images: Picture | Iterable[Picture], *, errors: str, attributes: bool | Sequence[str] = False
    ) -> Any: ...

    def score(
        self,
        images: Picture | Iterable[Picture],
        *,
        errors: str = "raise",
        attributes: bool | Sequence[str] = False,
    ) -> Any:
        """Score one picture, or many in the order given.

        Args:
            images: one picture, or several in a list or any other iterable. A picture is the path of an image file, a
                `PIL.Image`, a file's content as bytes, an array of numpy or a tensor of torch. Arrays and tensors hold
                uint8 values from 0 to 255 or floating-point values from 0 to 1, and have the shape (height, width),
                (height, width, channels) or (channels, height, width) with 1, 3 or 4 channels for grey, RGB and RGBA;
                of 4 axes they are a batch of pictures.
            errors: what happens where a picture has no score. ``raise`` raises the error of the first one.
                ``return`` puts the error, an `ArtQuantError` whose text is the reason, in the place of the score.
            attributes: True for the scores of all attributes that the checkpoint was trained on, or the names of some;
                they share the encoded image with the score, so that they cost little more.

        Returns:
            The `Score` of one picture; a list of them for several, empty without pictures.

        Raises:
            ArtQuantError: a picture cannot be opened, or the model gives logits that are not finite; the message names
                the picture and, of several, its position from 0. Or `images` is nothing that has pictures, `errors` is
                another word, or the checkpoint lacks an attribute that is asked for.
        """
        if errors not in ("raise", "return"):
            raise ArtQuantError(f"errors={errors!r} is neither 'raise' nor 'return'; use one of these")
        if _is_one_picture(images):
            (result,) = self.score_each([images], attributes=attributes)  # type: ignore[list-item]
            if isinstance(result, ArtQuantError) and errors == "raise":
                raise result
            return result
        results = self.score_each(images, attributes=attributes)  # type: ignore[arg-type]
        return list(results) if errors == "return" else _or_raise(results)

    def score_each(
        self,
        images: Iterable[Picture],
        *,
        timings: Timings | None = None,
        attributes: bool | Sequence[str] = False,
    ) -> Iterator[Score | ArtQuantError]:
        """Score a stream of images; one that fails gives its error and does not affect the others.

        Args:
            images: pictures in the forms that `score` takes. The stream may be endless: it is read a few batches
                ahead.
            timings: where to record how long each part takes; None to measure nothing.
            attributes: True for the scores of all attributes of the checkpoint, or the names of some, as for `score`.

        Yields:
            One score or error per image, in the order given.

        Raises:
            ArtQuantError: `images` is one picture, a worker process died, or the checkpoint lacks an attribute.
            MachineError: this machine does not let an image be read, or has too little memory.
        """
        chosen = chosen_attributes(attributes, self.checkpoint.spec.attributes, self.checkpoint.name)
        forward = partial(self._level_logits, questions=self._further(chosen))
        read = partial(self._scores, attributes=chosen)
        return self._runner.run(_sources(images), self._score_inputs, forward, read, timings)

    def shared_keys(self, attributes: bool | Sequence[str] = True) -> str:
        """Whether attributes are scored behind the keys and values of the total score's pass.

        Args:
            attributes: the attributes that are asked for, as for `score`.

        Returns:
            ``always``; ``even`` where it holds for batches of images of one size alone; ``never`` where each attribute
            takes a pass of its own through the language model.

        Raises:
            ArtQuantError: the checkpoint lacks an attribute that is asked for, or none is.
        """
        chosen = chosen_attributes(attributes, self.checkpoint.spec.attributes, self.checkpoint.name)
        questions = self._further(chosen)
        if questions is None:
            raise ArtQuantError("attributes=False asks for no attribute; pass True, or the names of some")
        return questions.shared_keys

    def describe(self, images: Iterable[Picture], *, max_new_tokens: int = DESCRIPTION_TOKENS) -> list[Description]:
        """Describe images on the three levels, in the order given.

        Args:
            images: pictures in the forms that `score` takes.
            max_new_tokens: the largest number of tokens of a description, which is cut off there; at least 1.

        Returns:
            One description per image; empty without images.

        Raises:
            ArtQuantError: an image cannot be opened; the message names its position from 0.
        """
        return _or_raise(self.describe_each(images, max_new_tokens=max_new_tokens))

    def describe_each(
        self,
        images: Iterable[Picture],
        *,
        max_new_tokens: int = DESCRIPTION_TOKENS,
        timings: Timings | None = None,
    ) -> Iterator[Description | ArtQuantError]:
        """Describe a stream of images; one that fails gives its error and does not affect the others.

        Args:
            images: pictures in the forms that `score` takes. The stream may be endless: it is read a few batches
                ahead.
            max_new_tokens: the largest number of tokens of a description, which is cut off there; at least 1.
            timings: where to record how long each part takes; None to measure nothing.

        Yields:
            One description or error per image, in the order given.

        Raises:
            ArtQuantError: `images` is one picture, or a worker process died.
            MachineError: this machine does not let an image be read, or has too little memory.
        """
        options = {"max_new_tokens": max_new_tokens, "do_sample": False}
        forward = partial(generate_ids, self.checkpoint, options=options)
        return self._runner.run(_sources(images), self._describe_inputs, forward, self._descriptions, timings)

    def _further(self, attributes: Sequence[AttributeSpec]) -> FurtherQuestions | None:
        """The questions about attributes, tried once for what they share with the score's; None without attributes."""
        names = tuple(each.name for each in attributes)
        if not names:
            return None
        if names not in self._questions:
            model, probes = self.checkpoint.model, [Image.new("RGB", shape) for shape in PROBES]
            first = self._score_inputs(probes[:1])
            questions = FurtherQuestions(first, [score_inputs(self.prompter, probes[:1], name) for name in names])
            batches = []
            for images in (probes, [probes[0]] * 2):
                inputs = self._score_inputs(images)
                positions = inputs.pop("positions")
                batches.append(({name: to_model(value, model) for name, value in inputs.items()}, positions))
            questions.shared_keys = find_shared_keys(
                model, questions, batches, tolerance=ROUNDING.get(model.dtype, 0.0), prefix=self._prefix
            )
            self._questions[names] = questions
        return self._questions[names]

    @torch.inference_mode()
    def _level_logits(self, inputs: dict[str, Any], questions: FurtherQuestions | None = None) -> Tensor:
        """Logits of the level tokens, shape (n, questions, K), float32, on the device.

        The first question is that of the score. With `level_mass`, the log of the K tokens' mass stands behind them.
        """
        model = self.checkpoint.model
        positions = inputs["positions"]
        inputs = {name: value for name, value in inputs.items() if name != "positions"}
        shared = self._prefix is not None and self._prefix.begins(inputs["input_ids"])
        inputs = {name: to_model(value, model) for name, value in inputs.items()}
        try:
            if questions is not None:
                read = questions.read(model, inputs, positions, self._prefix if shared else None)
            elif self._prefix is not None and shared:
                hidden = self._prefix.last_hidden_states(model, inputs)
                read = _at(hidden, positions - len(self._prefix.ids))
            else:
                read = _at(self._hidden_states(model, inputs), positions)
        except (ValueError, IndexError, TypeError, KeyError) as error:
            raise ArtQuantError(
                f"{type(model).__name__} cannot compute the inputs of {type(self.checkpoint.processor).__name__} "
                f"({one_line(error)}); its config.json and its processor's files do not fit together; fetch them again"
            ) from error
        logits = token_logits(model, read, self._level_ids)
        if not self._level_mass:
            return logits
        return torch.cat([logits, log_token_mass(model, read, self._level_ids)[..., None]], dim=-1)

    def _scores(
        self, sources: Sequence[ImageSource], logits: Tensor, attributes: Sequence[AttributeSpec] = ()
    ) -> list[Score | ArtQuantError]:
        """A score for each image from its level logits; an error where these are not finite."""
        scale = self.checkpoint.spec.scale
        logits = logits.cpu().double()
        rows = logits[..., : len(scale.names)].softmax(dim=-1).numpy()
        masses = logits[:, 0, -1].exp().clamp_max(1).tolist() if self._level_mass else [None] * len(rows)
        scales = {each.name: each.scale(scale.names) for each in attributes}
        return [
            Score(
                float(scale.expectation(row[0])),
                dict(zip(scale.names, row[0].tolist(), strict=True)),
                float(entropy(row[0])),
                mass,
                {name: float(own.expectation(row[place])) for place, (name, own) in enumerate(scales.items(), 1)}
                or None,
            )
            if np.isfinite(row).all()
            else ArtQuantError(
                f"the model's logits for {source_name(source)} are not finite: {self._not_finite_because}"
            )
            for source, row, mass in zip(sources, rows, masses, strict=True)
        ]

    @cached_property
    def _not_finite_because(self) -> str:
        """Why logits are not finite; looking through the weights takes seconds, and the cause is all images'."""
        return not_finite_because(self.checkpoint.model)

    def _descriptions(self, sources: Sequence[ImageSource], ids: Tensor) -> list[Description]:
        return [read_description(text) for text in read_answers(self.checkpoint, ids, {})]

    def _shared_prefix(self, probe: dict[str, Any]) -> SharedPrefix | None:
        """The prefix of the prompt before the image; None where the model cannot use its keys and values."""
        image_id = getattr(self.checkpoint.processor, "image_token_id", None)
        ids = probe["input_ids"][0]
        images = (ids == image_id).nonzero() if image_id is not None else []
        if not len(images):
            return None  # the processor does not name its image token
        model = self.checkpoint.model
        inputs = {name: to_model(value, model) for name, value in probe.items() if name != "positions"}
        return shared_prefix(model, inputs, ids[: int(images[0])], tolerance=ROUNDING.get(model.dtype, 0.0))


def _prompter(checkpoint: Checkpoint) -> Prompter:
    """The prompter of a checkpoint; where its tokens do not go with a preset, the message names the preset."""
    spec = checkpoint.spec
    try:
        return Prompter(checkpoint.processor, spec.prompt, spec.scale, spec.attributes)
    except ArtQuantError as error:
        if spec.name == OWN:
            raise
        raise ArtQuantError(f"scoring {spec.name!r} does not go with {checkpoint.name!r}: {error}") from error


# The worker processes run these functions, which need the prompter alone, so that they do not hold the model.


def score_inputs(prompter: Prompter, images: list[Image.Image], attribute: str | None = None) -> dict[str, Any]:
    """Model inputs of score requests, up to the position that is read.

    Args:
        prompter: the prompter of the checkpoint's processor.
        images: n RGB images (PIL), n at least 1.
        attribute: the name of the attribute that is asked for; None for the score of the whole painting.

    Returns:
        The model inputs that `Prompter.inputs` returns, cut off behind the last position that is read, and
        ``positions``, the position that is read in each row, shape (n,).
    """
    request = prompter.score_request if attribute is None else prompter.attribute_request(attribute)
    inputs = prompter.inputs([request.text] * len(images), images)
    positions = level_positions(inputs["attention_mask"], [request] * len(images))
    return {**until_level(inputs, positions), "positions": positions}


def describe_inputs(prompter: Prompter, images: list[Image.Image]) -> dict[str, Any]:
    """Model inputs of description requests, padded on the left.

    Args:
        prompter: the prompter of the checkpoint's processor.
        images: n RGB images (PIL), n at least 1.
    """
    return generation_inputs(prompter.processor, [prompter.describe_text] * len(images), [[image] for image in images])


def _at(hidden: Tensor, positions: Tensor) -> Tensor:
    """The hidden states at one position of each row, shape (n, 1, hidden), of shape (n, L, hidden)."""
    rows = torch.arange(len(positions), device=hidden.device)
    return hidden[rows, positions.to(hidden.device, non_blocking=True)][:, None]


def _is_one_picture(images: Any) -> bool:
    """Whether the value is a picture, and no list, batch or stream of pictures."""
    if isinstance(images, np.ndarray | Tensor):
        return images.ndim < 4
    return isinstance(images, Path | str | bytes | Image.Image)


def _sources(images: Iterable[Picture]) -> Iterator[ImageSource]:
    """The pictures of a list, a batch or a stream, each as `open_image` takes it.

    Raises:
        ArtQuantError: `images` is one picture, or nothing that has pictures.
    """
    if _is_one_picture(images):
        raise ArtQuantError(f"{type(images).__name__} is one picture here, not several; put it into a list")
    if not isinstance(images, Iterable):
        raise ArtQuantError(
            f"{type(images).__name__} is neither a picture nor several; pass {PICTURE_FORMS}, or a list"
        )
    return map(_source, images)


def _source(picture: Any) -> ImageSource:
    """A picture as `open_image` takes it; for what is none, the error."""
    if isinstance(picture, Tensor):
        try:
            return picture_array(picture)
        except ImageError as error:
            return error
    if isinstance(picture, Path | str | bytes | Image.Image | np.ndarray | ImageError):
        return picture
    return ImageError(f"{type(picture).__name__} is no picture; pass {PICTURE_FORMS}", "not_an_image")


def _or_raise(results: Iterable[ImageResult | ArtQuantError]) -> list[ImageResult]:
    """Collect results; raise the first error among them, with the position of its image."""
    collected: list[ImageResult] = []
    for result in results:
        if isinstance(result, ArtQuantError):
            raise ArtQuantError(f"picture {len(collected)} of those given, counted from 0: {result}") from result
        collected.append(result)
    return collected
