"""Heat maps of paintings: what a checkpoint's vision encoder attends to, and what its score depends on.

Attention is known by token, and the maps are over the picture. Which values of the input a token is made of is
measured: the queries and keys of the tower's first layer, multiplied by random numbers, are differentiated with
respect to the input, once with each token weighted by its attention and once unweighted. Each value of the input
belongs to one token, so that the ratio of its two derivatives is the attention of that token, whatever order the tower
has put them in. Tokens without a place, such as a class token, drop out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from artquant_plugin.backbones.interface import core, last_hidden_states, not_finite_because, token_logits
from artquant_plugin.common.device import is_out_of_memory
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import listed
from artquant_plugin.data.images import ImageSource, open_image
from artquant_plugin.heatmaps.attention import AttentionCall, attended, layers_of, recorded_attention, vision_tower
from artquant_plugin.heatmaps.places import FloatArray, Places, input_places, picture_map
from artquant_plugin.scoring.generation import to_model
from artquant_plugin.scoring.scorer import ArtQuantScorer, score_inputs

Method = Literal["rollout", "attention", "gradient"]
METHODS: tuple[Method, ...] = get_args(Method)
PROBE = (64, 64)  # size of the grey picture that shows whether a vision tower has attention


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """A map over a painting.

    Args:
        density: how dense the map is in each cell of a grid over the painting, against its mean: 1 everywhere would be
            an even map, 3 is three times the mean. Shape (rows, columns), float64, none negative, row 0 at the top.
        padding: the share of the whole map that lies on padding around the painting and is left out, from 0 to 1.
    """

    density: FloatArray
    padding: float

    def share(self, left: float, top: float, right: float, bottom: float) -> float:
        """The share of the map that lies in a rectangle, from 0 to 1.

        Args:
            left: the left edge as a share of the painting's width, from 0 at its left to 1 at its right.
            top: the upper edge as a share of the painting's height, from 0 at its top to 1 at its bottom.
            right: the right edge, as `left` is given.
            bottom: the lower edge, as `top` is given.

        Example:
            >>> HeatMap(np.array([[4.0, 0.0], [0.0, 0.0]]), padding=0.0).share(0, 0, 0.5, 0.5)
            1.0
        """
        rows, columns = self.density.shape
        covered = np.outer(_overlap(rows, top, bottom), _overlap(columns, left, right))
        return float((covered * self.density).sum() / self.density.sum())


@dataclass(frozen=True, slots=True, eq=False)
class PaintingMaps:
    """The maps of one painting.

    Args:
        score: the painting's score, in the unit of the checkpoint's scale.
        maps: the maps by method: ``rollout`` and ``attention`` show what the vision encoder attends to, ``gradient``
            shows what the score depends on.
    """

    score: float
    maps: dict[Method, HeatMap]


def heat_maps(
    scorer: ArtQuantScorer, images: Iterable[ImageSource], *, methods: Sequence[Method] | None = None
) -> Iterator[PaintingMaps | ArtQuantError]:
    """Map a stream of paintings; one that fails gives its error and does not affect the others.

    - ``rollout``: attention rollout of the vision encoder, the attention of all layers one after the other.
    - ``attention``: the attention of the last layer of the vision encoder that the model reads.
    - ``gradient``: gradient × input of the expected score, its absolute values.

    Args:
        scorer: the loaded checkpoint that scores the paintings.
        images: paintings as `open_image` takes them: paths, PIL images, arrays, or a file's bytes.
        methods: the methods by which maps are made, at least one; None for ``rollout``, where the vision encoder has
            attention, and ``gradient``.

    Yields:
        The maps of each painting, or the error, in the order given.

    Raises:
        ArtQuantError: a method is unknown, or the vision encoder has no attention for it.
        MachineError: this machine does not let an image be read, or has too little memory.
    """
    chosen = _usable(scorer, methods)
    for source in images:
        try:
            yield _maps(scorer, open_image(source, handling=scorer.checkpoint.spec.images), chosen)
        except ArtQuantError as error:
            yield error


def _usable(scorer: ArtQuantScorer, methods: Sequence[Method] | None) -> tuple[Method, ...]:
    """The methods that are used, without those of attention where none were named and the tower has no attention."""
    unknown = [method for method in methods or () if method not in METHODS]
    if unknown or (methods is not None and not methods):
        raise ArtQuantError(f"method {unknown[0] if unknown else None!r} is unknown; use {', '.join(METHODS)}")
    model = scorer.checkpoint.model
    if methods is not None and set(methods) <= {"gradient"}:
        return ("gradient",)
    with differentiable(model), recorded_attention(model) as calls:
        probe = ScoringPass(scorer, Image.new("RGB", PROBE, (127, 127, 127)))
        _, gradients = probe.gradients(calls)
        has_attention = attended(layers_of(calls), gradients, rollout=True) is not None
    if has_attention:
        return ("rollout", "gradient") if methods is None else tuple(dict.fromkeys(methods))
    if methods is None:
        return ("gradient",)
    named = listed([method for method in methods if method != "gradient"], 2)
    raise ArtQuantError(
        f"the vision tower of {scorer.checkpoint.name!r} ({type(vision_tower(model)).__name__}) shows no attention, "
        f"so that there is no map for the method {named}; use --method gradient"
    )


def _maps(scorer: ArtQuantScorer, image: Image.Image, methods: Sequence[Method]) -> PaintingMaps:
    model = scorer.checkpoint.model
    try:
        with differentiable(model), recorded_attention(model) as calls:
            done = ScoringPass(scorer, image)
            by_input, by_call = done.gradients(calls)
            layers = layers_of(calls)
            masses: dict[Method, dict[str, FloatArray]] = {}
            for method in methods:
                if method == "gradient":
                    masses[method] = done.by_value(by_input)
                    continue
                weights = attended(layers, by_call, rollout=method == "rollout")
                if weights is None:
                    raise ArtQuantError("the score depends on no layer of the vision tower for this picture")
                masses[method] = done.by_token(layers[0], weights)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ArtQuantError(
            f"a picture of {image.width} x {image.height} does not fit into memory together with its gradient; scale "
            "it down, or load the checkpoint with --dtype bfloat16"
        ) from error
    return PaintingMaps(done.score, {method: heat_map(done.places, masses[method], method) for method in methods})


class ScoringPass:
    """One forward pass of a scoring request, with its graph.

    Args:
        scorer: the loaded checkpoint; the pass is made within `differentiable`.
        image: the painting, as it was opened.

    Raises:
        ArtQuantError: the model's logits are not finite.
    """

    def __init__(self, scorer: ArtQuantScorer, image: Image.Image) -> None:
        model, spec = scorer.checkpoint.model, scorer.checkpoint.spec
        make_inputs: Callable[[list[Image.Image]], dict[str, Any]] = partial(score_inputs, scorer.prompter)
        self.places = input_places(make_inputs, image.size)
        inputs = {name: to_model(value, model) for name, value in make_inputs([image]).items()}
        position = int(inputs.pop("positions")[0])
        self.values = {name: inputs[name].requires_grad_() for name in self.places}
        hidden = last_hidden_states(model, inputs)[:, position]
        level_ids = torch.tensor(scorer.prompter.level_ids, device=hidden.device)
        probabilities = token_logits(model, hidden, level_ids)[0].double().softmax(dim=-1)
        if not probabilities.isfinite().all():
            raise ArtQuantError(f"the model's logits are not finite: {not_finite_because(model)}")
        self.expected = probabilities @ torch.tensor(spec.scale.values, dtype=torch.float64, device=hidden.device)
        self.score = self.expected.item()

    def gradients(self, calls: Sequence[AttentionCall]) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """The gradient of the score with respect to each input, and to what each attention call returned.

        Args:
            calls: the calls that were recorded while the object was made.
        """
        wanted = [*self.values.values(), *(call.output for call in _ordered(calls))]
        found = torch.autograd.grad(self.expected, wanted, retain_graph=True, allow_unused=True)
        return list(found[: len(self.values)]), list(found[len(self.values) :])

    def by_value(self, gradients: Sequence[Tensor | None]) -> dict[str, FloatArray]:
        """|gradient × input| of each value of the inputs, flattened, by the input's name."""
        return {
            name: np.zeros(value.numel()) if gradient is None else _array((gradient * value).abs())
            for (name, value), gradient in zip(self.values.items(), gradients, strict=True)
        }

    def by_token(self, first: Sequence[AttentionCall], weights: Sequence[Tensor]) -> dict[str, FloatArray]:
        """Give each value of the inputs the weight of the token that it belongs to.

        Args:
            first: the calls of the tower's first layer.
            weights: for each of them the weights of its tokens, shape (n, L), none negative.

        Returns:
            The weights, flattened, by the input's name; 0 for values that belong to no token.
        """
        largest = max(float(part.max()) for part in weights)
        generator = torch.Generator().manual_seed(0)
        tensors = [tensor for call in first for tensor in (call.query, call.key)]
        factors = [part[:, None, :, None] for part in weights for _ in ("query", "key")]
        random = [torch.randn(tensor.shape, generator=generator).to(tensor) for tensor in tensors]
        weighted = [numbers * factor.to(numbers) for numbers, factor in zip(random, factors, strict=True)]
        above, below = (
            torch.autograd.grad(tensors, list(self.values.values()), vectors, retain_graph=True, allow_unused=True)
            for vectors in (weighted, random)
        )
        masses = {}
        for (name, value), numerator, denominator in zip(self.values.items(), above, below, strict=True):
            if numerator is None or denominator is None:
                masses[name] = np.zeros(value.numel())
                continue
            top, bottom = _array(numerator), _array(denominator)
            ratio = np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)
            masses[name] = ratio.clip(0, largest)  # what lies outside is rounding, where a derivative is almost 0
        return masses


def _ordered(calls: Sequence[AttentionCall]) -> list[AttentionCall]:
    """The calls layer by layer."""
    return [call for layer in layers_of(calls) for call in layer]


def heat_map(places: Mapping[str, Places], masses: Mapping[str, FloatArray], method: Method) -> HeatMap:
    """The map over the painting of weights of the input's values.

    Args:
        places: where each value comes from, by the input's name.
        masses: the weight of each value, none negative, by the input's name.
        method: how the weights were found, for the error.

    Raises:
        ArtQuantError: no value that shows the picture weighs anything.
    """
    cells, padding = picture_map(places, masses)
    if not cells.sum() > 0:
        raise ArtQuantError(f"the map {method!r} is empty: the score does not depend on what the picture shows")
    return HeatMap(cells / cells.mean(), padding)


@contextmanager
def differentiable(model: Any) -> Iterator[None]:
    """Differentiate with respect to the inputs alone: the weights' gradients would take the memory of the weights.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one.
    """
    trained = [parameter for parameter in core(model).parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _array(value: Tensor) -> FloatArray:
    return value.detach().double().flatten().cpu().numpy()


def _overlap(cells: int, start: float, end: float) -> FloatArray:
    """How much of each of some cells next to each other lies between two places from 0 to 1, as shares of a cell."""
    edges = np.arange(cells + 1) / cells
    return np.maximum(0.0, np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)) * cells
