"""Scores: prompt ids -> level logits -> distribution over the levels -> expectation (ArtQuant, Eq. 3)."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from artquant_plugin.backbones.interface import last_hidden_states, token_logits
from artquant_plugin.checkpoint import Checkpoint, load_checkpoint
from artquant_plugin.errors import ArtQuantError
from artquant_plugin.images import Handling, open_image
from artquant_plugin.levels import entropy
from artquant_plugin.prompting import Prompter, level_positions, until_level

Source = Path | str | Image.Image
DECODERS = 4  # threads; decoding releases the interpreter's lock


@dataclass(frozen=True, slots=True)
class Score:
    """One scored image.

    Args:
        score: expectation of the level values, in the unit of the checkpoint's scale.
        levels: probability of each level word; they sum to 1.
        entropy: of that distribution, in nats.
    """

    score: float
    levels: dict[str, float]
    entropy: float


class ArtQuantScorer:
    """Scores images with one checkpoint.

    Args:
        checkpoint: model, processor and scoring file.
        batch_size: images per forward pass.

    Example:
        scorer = ArtQuantScorer.from_pretrained("runs/demo")
        scorer.score(["a.jpg", "b.jpg"])[0].score
    """

    def __init__(self, checkpoint: Checkpoint, *, batch_size: int = 8) -> None:
        if batch_size < 1:
            raise ArtQuantError(f"batch size {batch_size} is not positive; use 1 or more")
        self.checkpoint = checkpoint
        self.batch_size = batch_size
        self.prompter = Prompter(checkpoint.processor, checkpoint.spec.prompt, checkpoint.spec.scale)
        self._request = self.prompter.score_request
        self._level_ids = torch.tensor(self.prompter.level_ids, device=checkpoint.model.device)

    @classmethod
    def from_pretrained(
        cls,
        pretrained: str,
        *,
        dtype: str = "auto",
        device: str | None = None,
        attn: str = "sdpa",
        batch_size: int = 8,
    ) -> "ArtQuantScorer":
        """A scorer of a folder or Hub id; see `artquant_plugin.checkpoint.load_checkpoint`."""
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(load_checkpoint(pretrained, dtype=dtype, device=device, attn=attn), batch_size=batch_size)

    def score(self, images: Sequence[Source]) -> list[Score]:
        """Score images, in the order given.

        Args:
            images: RGB pictures or paths.

        Returns:
            One result per image.

        Raises:
            ArtQuantError: an image cannot be opened, or the model gives logits that are not finite.
        """
        results = []
        for result in self.score_each(images):
            if isinstance(result, ArtQuantError):
                raise result
            results.append(result)
        return results

    def score_each(self, images: Iterable[Source]) -> Iterator[Score | ArtQuantError]:
        """Score a stream of images; one that fails gives its error and spoils no other.

        Args:
            images: RGB pictures or paths; read ahead by a batch, never collected.

        Yields:
            One result or error per image, in the order given.
        """
        with ThreadPoolExecutor(DECODERS) as pool:
            ahead: deque[list[tuple[str, Future[Image.Image]]]] = deque()
            stream = iter(images)
            handling = self.checkpoint.spec.images
            while batch := list(islice(stream, self.batch_size)):
                ahead.append([(_name(image), pool.submit(_opened, image, handling)) for image in batch])
                if len(ahead) > 1:
                    yield from self._score_batch(ahead.popleft())
            while ahead:
                yield from self._score_batch(ahead.popleft())

    def _score_batch(self, batch: list[tuple[str, Future[Image.Image]]]) -> Iterator[Score | ArtQuantError]:
        opened: list[Image.Image | ArtQuantError] = []
        for _, future in batch:
            try:
                opened.append(future.result())
            except ArtQuantError as error:
                opened.append(error)
        images = [image for image in opened if isinstance(image, Image.Image)]
        probabilities = iter(self._probabilities(images)) if images else iter(())
        for (name, _), image in zip(batch, opened, strict=True):
            if isinstance(image, ArtQuantError):
                yield image
                continue
            row = next(probabilities)
            if not np.isfinite(row).all():
                yield ArtQuantError(
                    f"the model's logits for {name} are not finite; load it with dtype=float32, or check its weights"
                )
                continue
            scale = self.checkpoint.spec.scale
            yield Score(
                score=float(scale.expectation(row)),
                levels=dict(zip(scale.names, row.tolist(), strict=True)),
                entropy=float(entropy(row)),
            )

    @torch.inference_mode()
    def _probabilities(self, images: list[Image.Image]) -> np.ndarray:
        """Distributions over the levels, shape (n, K), float64."""
        model = self.checkpoint.model
        inputs = self.prompter.inputs([self._request.text] * len(images), images)
        positions = level_positions(inputs["attention_mask"], [self._request] * len(images))
        inputs = {name: _to_model(value, model) for name, value in until_level(inputs, positions).items()}
        hidden = last_hidden_states(model, inputs)
        rows = torch.arange(len(images), device=hidden.device)
        logits = token_logits(model, hidden[rows, positions.to(hidden.device)], self._level_ids)
        return logits.double().softmax(dim=-1).cpu().numpy()


def _to_model(value: Any, model: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(model.device, dtype=model.dtype if value.is_floating_point() else None)


def _opened(image: Source, handling: Handling) -> Image.Image:
    return image if isinstance(image, Image.Image) else open_image(Path(image), handling=handling)


def _name(image: Source) -> str:
    return "a picture" if isinstance(image, Image.Image) else f"'{image}'"
