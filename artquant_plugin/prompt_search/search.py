"""Trying prompts: each gets its SROCC on one half of a split; the other half says what the best one is worth."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.files import atomic_write
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.find import find_dataset
from artquant_plugin.metrics.agreement import FEWEST, Agreement, evaluate, srocc
from artquant_plugin.prompt_search.candidates import Candidate, Pass
from artquant_plugin.scoring.scorer import ArtQuantScorer, Score

MakeScorer = Callable[[ScoringSpec], ArtQuantScorer]
DEFAULT_SPLIT = "validation"


@dataclass(frozen=True, slots=True)
class RatedImage:
    """A painting with its human score.

    Args:
        id: the painting's id, unique in its split.
        image: the path of the image file, which was there when the split was read.
        truth: the human score, in the dataset's unit.
        picture: what two paintings share that show the same picture.
    """

    id: str
    image: Path
    truth: float
    picture: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What a prompt got on the half that is searched on.

    Args:
        candidate: the prompt that was tried.
        scored: how many paintings have a score.
        srocc: Spearman's correlation of scores with human scores; NaN where there is none.
        level_mass: mean probability of the level words together among all tokens, from 0 to 1; NaN without a score.
        reason: why there is no correlation; empty where there is one.
    """

    candidate: Candidate
    scored: int
    srocc: float
    level_mass: float
    reason: str = ""


def read_halves(
    data: str, *, limit: int | None = None, seed: int = 0
) -> tuple[list[RatedImage], list[RatedImage], int]:
    """Read a split and deal its paintings into two halves at random.

    Paintings that show the same picture, by the hash of their files, are in the same half, so that nothing of
    the held-out half was searched on.

    Args:
        data: a dataset's name, folder or place on the Hub, with an optional ``:split``; ``validation`` without one.
        limit: how many paintings are drawn from the split; None for all.
        seed: the seed of the drawing and of the dealing.

    Returns:
        The half to search on and the held-out half, both in the order of the split; and how many paintings were left
        out because their image file is not there.

    Raises:
        ArtQuantError: no such dataset or split, or a half has fewer than 10 paintings.
    """
    name, colon, split = data.rpartition(":")
    if not colon:
        name, split = data, DEFAULT_SPLIT
    dataset = Dataset.load(find_dataset(name))
    paintings = dataset.split(split)
    found = [
        RatedImage(painting.id, path, painting.score, painting.sha256 or painting.id)
        for painting in paintings
        if (path := dataset.image_path(painting)).is_file()
    ]
    if not found:
        raise ArtQuantError(
            f"none of the {len(paintings):,} images of {name}:{split} is in '{dataset.image_root}'; "
            "put them there, or import the dataset again"
        )
    order = np.random.default_rng(seed).permutation(len(found))[:limit]
    pictures = list(dict.fromkeys(found[place].picture for place in order))
    sizes = {picture: 0 for picture in pictures}
    for place in order:
        sizes[found[place].picture] += 1
    searched: set[str] = set()
    count = 0
    for picture in pictures:
        if count + sizes[picture] <= len(order) // 2:
            searched.add(picture)
            count += sizes[picture]
    drawn = [found[place] for place in sorted(order)]
    search = [image for image in drawn if image.picture in searched]
    held_out = [image for image in drawn if image.picture not in searched]
    if min(len(search), len(held_out)) < FEWEST:
        few = limit is not None and limit < len(found)
        remedy = "raise --limit" if few and len(found) >= 2 * FEWEST else "name a larger split"
        raise ArtQuantError(
            f"{len(drawn):,} paintings of {name}:{split} make halves of {len(search):,} and {len(held_out):,}, and a "
            f"half needs {FEWEST}; {remedy}"
        )
    return search, held_out, len(paintings) - len(found)


def scorers_of(checkpoint: Checkpoint, *, batch_size: int | str, workers: int | None, compile: bool) -> MakeScorer:
    """A function that makes the scorer of a prompt, all of them with one loaded model.

    Args:
        checkpoint: the loaded checkpoint; what it says about its own prompt is not used.
        batch_size: images per forward pass, or ``auto``, as for `ArtQuantScorer`.
        workers: processes that prepare images; None for the number that suits the device.
        compile: whether to run the model through `torch.compile`.
    """

    def make(spec: ScoringSpec) -> ArtQuantScorer:
        return ArtQuantScorer(
            dataclasses.replace(checkpoint, spec=spec),
            batch_size=batch_size,
            workers=workers,
            compile=compile,
            level_mass=True,
        )

    return make


def search_prompts(
    passes: Iterable[Pass],
    images: Sequence[RatedImage],
    make_scorer: MakeScorer,
    *,
    on_image: Callable[[], None] = lambda: None,
) -> Iterator[Trial]:
    """Try prompts one pass after the other.

    Args:
        passes: what each pass asks and which prompts are read from it, as `plan_passes` makes them.
        images: the half that is searched on.
        make_scorer: makes the scorer of a pass, which must give the level mass.
        on_image: called for each image that went through the model.

    Yields:
        The result of each prompt, as soon as its pass is through.

    Raises:
        ArtQuantError: a worker process died, or the scorer cannot be made.
        MachineError: this machine does not let an image be read, or has too little memory.
    """
    truths = np.array([image.truth for image in images])
    for each in passes:
        results: list[Score | ArtQuantError] = []
        for result in make_scorer(each.spec).score_each([image.image for image in images]):
            results.append(result)
            on_image()
        for candidate in each.candidates:
            yield _trial(candidate, results, truths)


def _trial(candidate: Candidate, results: Sequence[Score | ArtQuantError], truths: np.ndarray) -> Trial:
    scale = candidate.spec.scale
    known = [place for place, result in enumerate(results) if isinstance(result, Score)]
    scored = [result for result in results if isinstance(result, Score)]
    if len(scored) < FEWEST:
        first = next(str(result) for result in results if isinstance(result, ArtQuantError))
        reason = f"{len(scored):,} of {len(results):,} paintings have a score, and {FEWEST} are needed; {first}"
        return Trial(candidate, len(scored), math.nan, math.nan, reason)
    probabilities = np.array([[result.levels[name] for name in scale.names] for result in scored])
    share = probabilities.sum(axis=1)
    with np.errstate(invalid="ignore"):  # words so improbable that nothing is left of them have no score
        scores = scale.expectation(probabilities / share[:, None])
    mass = float(np.mean([result.level_mass for result in scored] * share))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ArtQuantWarning)
        value = srocc(scores, truths[known])
    return Trial(candidate, len(scored), value, mass, "; ".join(str(warning.message) for warning in caught))


def best_trial(trials: Iterable[Trial]) -> Trial | None:
    """The prompt with the highest SROCC, of equal ones the first; None where no prompt has an SROCC."""
    return max((trial for trial in trials if not math.isnan(trial.srocc)), key=lambda trial: trial.srocc, default=None)


def measure(spec: ScoringSpec, images: Sequence[RatedImage], make_scorer: MakeScorer, *, seed: int) -> Agreement:
    """Measure one prompt on paintings that it was not chosen by.

    Args:
        spec: the prompt, whose scores are those that a user of its scoring file gets.
        images: the half of the split that was held out of the search.
        make_scorer: makes the scorer of the prompt.
        seed: the seed of the bootstrap.

    Raises:
        ArtQuantError: no painting has a score, a worker process died, or the scorer cannot be made.
    """
    results = list(make_scorer(spec).score_each([image.image for image in images]))
    pairs = [
        (image.id, result.score, image.truth)
        for image, result in zip(images, results, strict=True)
        if isinstance(result, Score)
    ]
    if not pairs:
        raise ArtQuantError(f"no painting of the held-out half has a score; the first reason is: {results[0]}")
    ids, scores, truths = zip(*pairs, strict=True)
    return evaluate(ids, scores, truths, seed=seed)


def write_winner(path: Path, spec: ScoringSpec, source: str) -> None:
    """Write a prompt as a scoring file in YAML, in the place of an earlier one.

    Args:
        path: the file; its folder is made when absent.
        spec: the prompt, which ``--scoring`` reads from the file again.
        source: where the prompt is from, one line.
    """
    content = {"form_version": spec.content["form_version"], "source": source, **spec.content}
    with atomic_write(path) as file:
        file.write(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=119))
