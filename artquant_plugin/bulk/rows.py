"""The rows of a result: their columns, the engine that gives their numbers, and how images become rows."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from artquant_plugin.bulk.images import NamedImage, image_of, reason_of
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS

ScoreRow = dict[str, Any]  # the value of each column, by its name
Answer = TypeVar("Answer")
FIXED = ("path", "score", "entropy", "reason")  # columns that every result has


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """The columns of a result: path, score, one per level, entropy, further numbers, reason.

    Args:
        levels: the level words, best first; their columns hold probabilities in [0, 1] that sum to 1.
        extras: names of further numbers that an engine gives, such as ``level_mass`` of a server, or attributes.

    Raises:
        ArtQuantError: a level word or an attribute is the name of another column.

    Example:
        >>> ScoreColumns(("good", "bad")).failed("a.jpg", "it is broken")
        {'path': 'a.jpg', 'score': None, 'good': None, 'bad': None, 'entropy': None, 'reason': 'it is broken'}
    """

    levels: tuple[str, ...]
    extras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        taken = set(self.levels) & {*FIXED, *self.extras}
        if taken:
            raise ArtQuantError(f"level word {sorted(taken)[0]!r} is a column's name; choose other level words")
        if taken := set(self.extras) & set(FIXED):
            raise ArtQuantError(
                f"attribute {sorted(taken)[0]!r} is a column's name; ask for the others by their names"
            )

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns of numbers, in their order."""
        return ("score", *self.levels, "entropy", *self.extras)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in their order."""
        return ("path", *self.numbers, "reason")

    def scored(
        self, name: str, score: float, levels: Mapping[str, float], entropy: float, extras: Mapping[str, float]
    ) -> ScoreRow:
        """The row of an image that has a score.

        Args:
            name: the name under which the row lists the image.
            score: in the unit of the level values.
            levels: the probability of each level word.
            entropy: of the levels' distribution, in nats.
            extras: the further numbers, by their names.
        """
        return {"path": utf8(name), "score": score, **levels, "entropy": entropy, **extras, "reason": None}

    def failed(self, name: str, reason: str) -> ScoreRow:
        """The row of an image that has no score: every number is None."""
        return {"path": utf8(name), **dict.fromkeys(self.numbers), "reason": utf8(reason)}

    def nested(self, row: ScoreRow) -> dict[str, Any]:
        """A row as JSON lines hold it: the levels stand in one object, which is None where there is no score."""
        levels = None if row["score"] is None else {name: row[name] for name in self.levels}
        extras = {name: row[name] for name in self.extras}
        return {
            "path": row["path"],
            "score": row["score"],
            "levels": levels,
            "entropy": row["entropy"],
            **extras,
            "reason": row["reason"],
        }


class ScoringEngine(Protocol):
    """What gives scores, a checkpoint of this machine or a server, and knows what its scores depend on."""

    @property
    def columns(self) -> ScoreColumns:
        """The columns of its rows."""
        ...

    @property
    def options(self) -> dict[str, Any]:
        """What its scores depend on besides the model; a run's record compares them."""
        ...

    def identity(self) -> dict[str, Any]:
        """The model's name and, where its files are at hand, a key of each; a run's record compares them."""
        ...

    def results(self, images: Iterable[Path | bytes]) -> Iterator[dict[str, Any] | ArtQuantError]:
        """Score a stream of images.

        Args:
            images: files, or the contents of files.

        Yields:
            For each image, in order, ``score``, ``levels``, ``entropy`` and ``extras`` as `ScoreColumns.scored` takes
            them, or the reason why the image has no score.
        """
        ...


def score_rows(engine: ScoringEngine, images: Iterable[NamedImage]) -> Iterator[ScoreRow]:
    """Score a stream of images.

    Args:
        engine: the checkpoint or server that gives the scores.
        images: to score; the engine may take some of them ahead.

    Yields:
        One row per image, in order; an image that has no score is a row with the reason.
    """
    columns = engine.columns
    for image, result in answered(images, engine.results):
        if isinstance(result, ArtQuantError):
            yield columns.failed(image.name, reason_of(image, result))
        else:
            yield columns.scored(image.name, result["score"], result["levels"], result["entropy"], result["extras"])


def describe_rows(scorer: Any, images: Iterable[NamedImage], *, max_new_tokens: int) -> Iterator[dict[str, Any]]:
    """Describe a stream of images.

    Args:
        scorer: the loaded checkpoint, an `ArtQuantScorer`, that writes the descriptions.
        images: to describe; the scorer may take some of them ahead.
        max_new_tokens: the number of tokens at which a description is cut off.

    Yields:
        One row per image, in order: path, text, perception, cognition, emotion, and the reason why there is no text.
    """
    for image, found in answered(images, partial(scorer.describe_each, max_new_tokens=max_new_tokens)):
        row: dict[str, Any] = {"path": utf8(image.name), "text": None}
        row |= {**dict.fromkeys(DESCRIPTION_LEVELS), "reason": None}
        if isinstance(found, ArtQuantError):
            yield row | {"reason": utf8(reason_of(image, found))}
        else:
            yield row | {"text": found.text, **found.levels}


def answered(
    images: Iterable[NamedImage], answer: Callable[[Iterable[Path | bytes]], Iterator[Answer | ArtQuantError]]
) -> Iterator[tuple[NamedImage, Answer | ArtQuantError]]:
    """Bring each image together with its answer.

    Args:
        images: a stream. One that could not be found or read never reaches `answer`; its answer is the reason.
        answer: gives one answer or error per image, in order; it may take images ahead.

    Yields:
        Every image with its answer, in order.
    """
    waiting: deque[NamedImage] = deque()

    def readable() -> Iterator[Path | bytes]:
        for image in images:
            waiting.append(image)
            if not isinstance(image.content, ArtQuantError):
                yield image_of(image)

    def unreadable() -> Iterator[tuple[NamedImage, ArtQuantError]]:
        while waiting and isinstance(error := waiting[0].content, ArtQuantError):
            yield waiting.popleft(), error

    for result in answer(readable()):
        yield from unreadable()
        yield waiting.popleft(), result
        yield from unreadable()
    yield from unreadable()


def utf8(text: str) -> str:
    r"""A text with escapes for what UTF-8 cannot hold, since the names of files may be any bytes.

    Two names never become one: a sign such as ``?`` in the place of a byte would give ``caf\xe9.png`` and
    ``caf\xe8.png``, as a disk with names in Latin-1 has them, the same row.

    Example:
        >>> utf8("caf\udce9.png")  # as Python reads the name whose fourth byte is E9
        'caf\\udce9.png'
    """
    return text.encode("utf-8", "backslashreplace").decode()
