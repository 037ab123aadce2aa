"""How varied texts are: distinct-n, the share of word sequences (n-grams) that differ (numpy only).

Words are separated by white space and compared in lower case. A sequence is stored as a 64-bit hash, so that millions
of them need little memory. Among 10 million different sequences, the probability that any two share a hash is 3e-6.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

TEXTS_AT_ONCE = 512
_MERGED_AT = 1_000_000  # hashes that are collected before they are merged into the sorted ones


class Vocabulary:
    """Gives each word a number, in the order in which the words first occur.

    Numbers begin at 1; 0 stands for the place before a text's first word.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbers(self, text: str) -> list[int]:
        """The numbers of a text's words, from 1; an empty list for a text without words."""
        known = self._numbers
        return [known.setdefault(word, len(known) + 1) for word in text.lower().split()]


def sequences(texts: Sequence[Sequence[int]], length: int, *, border: bool = False) -> tuple[Hashes, NDArray[np.intp]]:
    """Hash all sequences of n consecutive words of each text.

    Args:
        texts: m texts, each a list of the numbers that `Vocabulary` gave its words.
        length: the number n of words in a sequence, at least 1.
        border: whether the first sequences of a text begin before its first word, so that a text has as many sequences
            as words. Without it, a text of fewer than n words has none.

    Returns:
        The hashes of all texts one after the other, shape (s,), and the position at which the hashes of each text
        begin, shape (m,).

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
    """Mix the bits of 64-bit numbers by a permutation (the finaliser of splitmix64, Steele et al. 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def different(values: Hashes) -> Hashes:
    """The different values in ascending order.

    `numpy.unique` of numpy 2.4 takes ten times as long for millions of values.

    Args:
        values: hashes in any order; shape (s,), may be empty.
    """
    ascending = np.sort(values)
    return ascending[np.append(True, ascending[1:] != ascending[:-1])] if len(values) else ascending


class Distinct:
    """Distinct-n of a stream of texts: the number of different sequences of n words, divided by that of all sequences.

    Attributes:
        total: number of sequences that were added.

    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models", section 5.
    """

    def __init__(self) -> None:
        self.total = 0
        self._different = np.zeros(0, dtype=np.uint64)
        self._waiting: list[Hashes] = []
        self._count = 0

    def add(self, hashes: Hashes) -> None:
        """Count the sequences of some texts.

        Args:
            hashes: the hashes of the sequences, from `sequences`; shape (s,), may be empty.
        """
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
        """Distinct-n of what was added, in (0, 1]; NaN when there is no sequence."""
        self._merge()
        return len(self._different) / self.total if self.total else math.nan


def distinct(texts: Iterable[str], length: int) -> float:
    """Distinct-n of texts: the number of different sequences of n words, divided by that of all sequences.

    Args:
        texts: the texts, any number; they are read once, a few hundred at a time.
        length: the number n of words in a sequence, at least 1.

    Returns:
        In (0, 1]; NaN when no text has n words.

    Example:
        >>> distinct(["the red sky", "the red sea"], 2)
        0.75
    """
    vocabulary, counted, stream = Vocabulary(), Distinct(), iter(texts)
    while some := list(islice(stream, TEXTS_AT_ONCE)):
        counted.add(sequences([vocabulary.numbers(text) for text in some], length)[0])
    return counted.share
