"""How varied texts are: words, sequences of words, and the share of them that differ (numpy only).

Words are what stands between white space, in lower case. Sequences are 64-bit hashes, so that millions of them fit
into little memory: two of 10 million different ones are taken for the same with a probability of 3e-6.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

TEXTS_AT_ONCE = 512
_MERGED_AT = 1_000_000  # hashes that wait to be merged into the different ones


class Vocabulary:
    """Numbers for words, in the order in which they come; 0 stands for the border of a text."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbers(self, text: str) -> list[int]:
        """The text's words as numbers from 1."""
        known = self._numbers
        return [known.setdefault(word, len(known) + 1) for word in text.lower().split()]


def sequences(texts: Sequence[Sequence[int]], length: int, *, border: bool = False) -> tuple[Hashes, NDArray[np.intp]]:
    """Hashes of all sequences of n words in texts.

    Args:
        texts: m texts as numbers.
        length: n.
        border: let a text's first sequences begin before it, so that every text has as many as it has words.

    Returns:
        The hashes of all texts one after the other, shape (s,), and where each text's begin, shape (m,).

    Example:
        >>> hashes, starts = sequences([[1, 2, 1, 2], [1, 2]], 2)
        >>> len(hashes), starts.tolist(), bool(hashes[0] == hashes[2] == hashes[3])
        (4, [0, 3], True)
    """
    pad = length - 1
    padded = [[0] * pad + list(text) for text in texts] if border else texts
    sizes = np.array([len(text) for text in padded], dtype=np.intp)
    numbers = np.fromiter(chain.from_iterable(padded), dtype=np.uint64, count=int(sizes.sum()))
    owners = np.repeat(np.arange(len(texts)), sizes)
    count = max(len(numbers) - pad, 0)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(length):
        hashes = _mixed(hashes ^ numbers[offset : offset + count])
    whole = owners[:count] == owners[pad : pad + count]
    per_text = np.maximum(sizes - pad, 0)
    return hashes[whole], np.cumsum(per_text) - per_text


def _mixed(values: Hashes) -> Hashes:
    """A permutation of the 64-bit numbers (the finaliser of splitmix64, Steele et al. 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def different(values: Hashes) -> Hashes:
    """The different values, ascending; `numpy.unique` of numpy 2.4 takes ten times as long for millions."""
    ascending = np.sort(values)
    return ascending[np.append(True, ascending[1:] != ascending[:-1])] if len(values) else ascending


class Distinct:
    """Distinct-n of texts that come one after the other: different sequences of n words per such sequence.

    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models", section 5.
    """

    def __init__(self) -> None:
        self.total = 0
        self._different = np.zeros(0, dtype=np.uint64)
        self._waiting: list[Hashes] = []
        self._count = 0

    def add(self, hashes: Hashes) -> None:
        """Count sequences."""
        self.total += len(hashes)
        self._waiting.append(hashes)
        self._count += len(hashes)
        if self._count > _MERGED_AT:
            self._merge()

    def _merge(self) -> None:
        self._different = different(np.concatenate([self._different, *self._waiting]))
        self._waiting, self._count = [], 0

    @property
    def share(self) -> float:
        """In (0, 1]; NaN when there is no sequence."""
        self._merge()
        return len(self._different) / self.total if self.total else math.nan


def distinct(texts: Iterable[str], length: int) -> float:
    """Distinct-n of texts, see `Distinct`.

    Args:
        texts: any number.
        length: n.

    Example:
        >>> distinct(["the red sky", "the red sea"], 2)
        0.75
    """
    vocabulary, counted, stream = Vocabulary(), Distinct(), iter(texts)
    while some := list(islice(stream, TEXTS_AT_ONCE)):
        counted.add(sequences([vocabulary.numbers(text) for text in some], length)[0])
    return counted.share
