"""What a search tries: questions, beginnings of the answer and level words, and the passes over the images."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from artquant_plugin.checkpoint import ScoringSpec
from artquant_plugin.common.config import Section, read_config
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter
from artquant_plugin.prompting.questions import one_level

ONE_LEVEL = "{one_level}"  # in a question: the sentence that names the level words


class PromptList(Section):
    """The content of a list of prompts.

    Args:
        questions: the user's words, at least one; ``{one_level}`` becomes the sentence that names the level words.
        prefixes: the beginnings of the answer, at least one; one may be empty.
        levels: the sets of level words by their names, at least one; a set gives each word, best first, its score.
    """

    questions: list[str] = Field(min_length=1)
    prefixes: list[str] = Field(min_length=1)
    levels: dict[str, dict[str, float]] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt that is tried.

    Args:
        spec: the questions, level words and handling of images.
        question: the question as the list has it, with ``{one_level}`` in the place of the sentence, for tables.
        levels: the name of the set of level words, for tables.
    """

    spec: ScoringSpec
    question: str
    levels: str


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass over the images: the probabilities of some words, of which each candidate has its own.

    Args:
        spec: what the model is asked; its level words are those of all candidates together, and its values mean
            nothing where there are several.
        candidates: the prompts that are read from this pass, at least one. They differ in their level words alone.
    """

    spec: ScoringSpec
    candidates: tuple[Candidate, ...]


def read_prompts(path: Path, start: ScoringSpec) -> list[Candidate]:
    """Read a list of prompts.

    Args:
        path: a YAML file, or the name of the list that ships.
        start: what the search begins with. It is the first candidate, and what the list does not say (the order of
            image and question, how images are opened, the chat template) is taken from it.

    Returns:
        All combinations of the list, each once, behind `start`.

    Raises:
        ArtQuantError: there is no such file, or it is no list of prompts; the message names file and key.
    """
    prompts = read_config(PromptList, path)
    try:
        scales = {name: LevelScale(tuple(levels), tuple(levels.values())) for name, levels in prompts.levels.items()}
        specs = {
            dataclasses.replace(
                start,
                scale=scale,
                prompt=dataclasses.replace(
                    start.prompt,
                    question=question.replace(ONE_LEVEL, one_level(scale.names)),
                    answer_prefix=prefix,
                ),
            ): (question, name)
            for question in prompts.questions
            for prefix in prompts.prefixes
            for name, scale in scales.items()
        }
    except ArtQuantError as error:
        raise ArtQuantError(f"{path}: {error}") from error
    own = next((name for name, scale in scales.items() if scale == start.scale), start.name)
    labels = {start: (start.prompt.question, own)} | specs
    return [Candidate(spec, question, levels) for spec, (question, levels) in labels.items()]


def plan_passes(processor: Any, candidates: Sequence[Candidate]) -> tuple[list[Pass], list[tuple[Candidate, str]]]:
    """Put together what one pass over the images can read.

    Candidates with the same question and the same beginning of the answer share a pass when the tokenizer tells all of
    their words apart at one position. Each of them has there the distribution that it has in a pass of its own: a
    softmax over fewer words is that over more of them, divided by the sum of its part.

    Args:
        processor: the `transformers` processor of the checkpoint.
        candidates: the prompts to try, in the order that they are to be tried in.

    Returns:
        The passes, in the order of their first candidates; and the candidates that cannot be tried, each with the
        reason.
    """
    passes: list[Pass] = []
    refused: list[tuple[Candidate, str]] = []
    for candidate in candidates:
        reason = _unreadable(processor, candidate.spec)
        if reason is not None:
            refused.append((candidate, reason))
            continue
        for place, other in enumerate(passes):
            if other.spec.prompt == candidate.spec.prompt:
                both = _with_words_of(other.spec, candidate.spec)
                if both is not None and _unreadable(processor, both) is None:
                    passes[place] = Pass(both, (*other.candidates, candidate))
                    break
        else:
            passes.append(Pass(candidate.spec, (candidate,)))
    return passes, refused


def _unreadable(processor: Any, spec: ScoringSpec) -> str | None:
    """Why the tokenizer or the chat template does not go with a prompt; None where it does."""
    try:
        _ = Prompter(processor, spec.prompt, spec.scale).score_request
    except ArtQuantError as error:
        return str(error)
    return None


def _with_words_of(spec: ScoringSpec, other: ScoringSpec) -> ScoringSpec | None:
    """A spec with the level words of two; None where two of the words differ in case alone."""
    names = tuple(dict.fromkeys((*spec.scale.names, *other.scale.names)))
    if names == spec.scale.names:
        return spec
    try:
        scale = LevelScale(names, tuple(float(len(names) - place) for place in range(len(names))))
    except ArtQuantError:
        return None
    return dataclasses.replace(spec, scale=scale)
