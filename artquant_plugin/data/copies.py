"""Pictures that stand in a dataset, or in several datasets, under more than one name.

A painting that is both trained on and tested with makes the test's figure worthless, and so does a copy of its file
under another name. Pictures are told apart by the SHA-256 of their files, so that links, copies and other spellings of
a name are found; a picture that was scaled or saved again is another one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from artquant_plugin.common.text import listed
from artquant_plugin.data.dataset import SPLITS, Dataset, DatasetInfo
from artquant_plugin.data.paintings import Painting

SHOWN = 3  # names of pictures in a sentence


@dataclass(frozen=True, slots=True)
class SamePicture:
    """A picture that stands at several places.

    Args:
        places: the split and the painting of each place, in the order of the annotations; at least two.
    """

    places: tuple[tuple[str, Painting], ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have the picture, each once, the strictest one last."""
        return tuple(split for split in SPLITS if any(split == place for place, _ in self.places))

    @property
    def contradictory(self) -> bool:
        """Whether the paintings have different scores."""
        return len({painting.score for _, painting in self.places}) > 1

    def __str__(self) -> str:
        return listed(
            [f"'{painting.image}' ({split}, score {painting.score:g})" for split, painting in self.places],
            SHOWN,
            separator=" = ",
        )


def same_pictures(splits: Mapping[str, Iterable[Painting]]) -> list[SamePicture]:
    """The pictures that stand at more than one place of a dataset.

    Args:
        splits: the paintings of each split. Paintings without a hash are passed over.

    Returns:
        One element for each such picture, in the order of its first place.

    Example:
        >>> rows = {"train": [Painting("a", "a.jpg", "f0", 3.5)], "test": [Painting("b", "b.jpg", "f0", 9)]}
        >>> print(*same_pictures(rows))
        'a.jpg' (train, score 3.5) = 'b.jpg' (test, score 9)
    """
    places: dict[str, list[tuple[str, Painting]]] = {}
    for split, paintings in splits.items():
        for painting in paintings:
            if painting.sha256:
                places.setdefault(painting.sha256, []).append((split, painting))
    return [SamePicture(tuple(found)) for found in places.values() if len(found) > 1]


def counted(found: Sequence[SamePicture], split: str) -> tuple[dict[str, int], int]:
    """The fields `copies` and `contradictory` of a split's `SplitInfo`.

    Args:
        found: the pictures that stand at several places.
        split: the name of the split.
    """
    copies: dict[str, int] = {}
    contradictory = 0
    for picture in found:
        own = sum(place == split for place, _ in picture.places)
        if not own:
            continue
        contradictory += own if picture.contradictory else 0
        for other in picture.splits:
            if other != split or own > 1:
                copies[other] = copies.get(other, 0) + own
    return copies, contradictory


def copy_notes(info: DatasetInfo, splits: Sequence[str] = SPLITS) -> Iterator[str]:
    """Sentences about the copies that the import of a dataset found.

    Args:
        info: what dataset.json says of the dataset.
        splits: the splits of which the sentences are to be.
    """
    for name in splits:
        split = info.splits.get(name)
        if split is None:
            continue
        for other, count in split.copies.items():
            if other == name:
                yield f"{count:,} paintings of {name} share their picture with another one of {name}"
            elif SPLITS.index(other) < SPLITS.index(name):
                yield (
                    f"{count:,} paintings of {name} show pictures that the annotations also have in {other}: a "
                    f"checkpoint that was trained on all of {other} has seen them"
                )
        if split.contradictory:
            yield f"{split.contradictory:,} paintings of {name} share their picture with a painting of another score"


def trained_and_tested(datasets: Sequence[Dataset]) -> Iterator[str]:
    """Find pictures that are in the training split of one dataset and in the validation or test split of any.

    Args:
        datasets: those that are trained on together. Their rows are read.

    Yields:
        A sentence for each pair of splits that share pictures: how many, and the names of the first ones.
    """
    hashes = [
        {split: {p.sha256: p.image for p in dataset.each(split) if p.sha256} for split in dataset.info.splits}
        for dataset in datasets
    ]
    for trained, ours in zip(datasets, hashes, strict=True):
        for tested, theirs in zip(datasets, hashes, strict=True):
            for split in SPLITS[1:]:
                names = [name for key, name in ours.get("train", {}).items() if key in theirs.get(split, {})]
                if names:
                    yield (
                        f"{len(names):,} pictures of the train split of '{trained.folder}' are in the {split} split "
                        f"of '{tested.folder}' ({listed(names, SHOWN)}): figures measured on them are too good"
                    )
