"""Finds descriptions that nearly repeat each other, in time that grows about in proportion to their number.

Two descriptions are near-duplicates when at least 70 % of their sequences of five words are common to both (Jaccard
similarity of the sets). The similarity is estimated from MinHash signatures of 128 values; the estimate's standard
error is 0.04 at 0.7. Only descriptions whose signatures agree in one of 32 bands of 4 values are compared, as a pair
with a similarity of 0.7 does with a probability of 0.9998. Of the descriptions that agree in a band, each is compared
with the first one and with the one before it.

The library `datasketch` was measured and is not used; docs/rad.md, "Libraries", has the figures.

Source: Broder 1997, "On the resemblance and containment of documents"; Leskovec et al., "Mining of Massive Datasets",
sections 3.3 and 3.4.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artquant_plugin.metrics.diversity import Hashes, different, sequences

WORDS = 5  # number of words in a sequence
SIMILAR = 0.7  # the least similarity of near-duplicates
VALUES, BANDS = 128, 32  # number of values in a signature, and of the bands into which they are divided
PAIRS_AT_ONCE = 20_000  # so many pairs of signatures are compared at once

Signatures = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Near-duplicates among n descriptions.

    Args:
        n: number of descriptions that were compared.
        repeated: number of descriptions that have a near-duplicate.
        groups: positions of descriptions that are linked by near-duplicate pairs, the largest group first.
    """

    n: int
    repeated: int
    groups: tuple[tuple[int, ...], ...]


class NearDuplicates:
    """Collects the signatures of descriptions, 512 bytes each, and finds near-duplicates among them.

    Args:
        seed: seed of the hash functions; with the same seed, a text always has the same signature.
    """

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._factors = rng.integers(0, 2**64, VALUES, dtype=np.uint64) | np.uint64(1)
        self._offsets = rng.integers(0, 2**64, VALUES, dtype=np.uint64)
        self._parts: list[Signatures] = []

    def add(self, texts: Sequence[Sequence[int]]) -> None:
        """Add the next texts.

        Args:
            texts: each text as the numbers of its words in a vocabulary; a text has one word at least.
        """
        hashes, starts = sequences(texts, WORDS, border=True)
        self._parts.append(self._signatures(hashes, starts))

    def _signatures(self, hashes: Hashes, starts: NDArray[np.intp]) -> Signatures:
        found = np.empty((VALUES, len(starts)), dtype=np.uint64)
        ranked = np.empty_like(hashes)
        for row, factor, offset in zip(found, self._factors, self._offsets, strict=True):
            np.multiply(hashes, factor, out=ranked)
            np.add(ranked, offset, out=ranked)
            np.minimum.reduceat(ranked, starts, out=row)
        return np.ascontiguousarray((found >> np.uint64(32)).astype(np.uint32).T)

    def find(self) -> Duplicates:
        """Find the near-duplicates among all texts that were added."""
        signatures = np.concatenate(self._parts) if self._parts else np.zeros((0, VALUES), dtype=np.uint32)
        links = _Links(len(signatures))
        for left, right in _similar(signatures):
            links.join(left, right)
        groups = links.groups()
        return Duplicates(len(signatures), sum(map(len, groups)), groups)


def _similar(signatures: Signatures) -> list[tuple[int, int]]:
    """Find pairs of signatures that agree in at least one band and in the share `SIMILAR` of all values."""
    rows = VALUES // BANDS
    candidates: list[NDArray[np.uint64]] = []
    for band in range(BANDS):
        keys = np.ascontiguousarray(signatures[:, band * rows : (band + 1) * rows]).view(f"V{4 * rows}").ravel()
        _, group = np.unique(keys, return_inverse=True)
        order = np.argsort(group, kind="stable")
        sorted_group = group[order]
        same = np.flatnonzero(sorted_group[1:] == sorted_group[:-1]) + 1
        firsts = order[np.searchsorted(sorted_group, sorted_group[same])]
        for partner in (order[same - 1], firsts):
            pairs = partner.astype(np.uint64) << np.uint64(32) | order[same].astype(np.uint64)
            candidates.append(different(pairs))
    found = different(np.concatenate(candidates))
    similar: list[tuple[int, int]] = []
    for start in range(0, len(found), PAIRS_AT_ONCE):
        some = found[start : start + PAIRS_AT_ONCE]
        left, right = (some >> np.uint64(32)).astype(np.intp), (some & np.uint64(2**32 - 1)).astype(np.intp)
        alike = (signatures[left] == signatures[right]).mean(axis=1) >= SIMILAR
        similar.extend(zip(left[alike].tolist(), right[alike].tolist(), strict=True))
    return similar


class _Links:
    """Disjoint sets of positions: `join` unites the sets of two linked positions (union-find)."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def _root(self, position: int) -> int:
        while self._parents[position] != position:
            self._parents[position] = self._parents[self._parents[position]]
            position = self._parents[position]
        return position

    def join(self, left: int, right: int) -> None:
        one, other = sorted((self._root(left), self._root(right)))
        self._parents[other] = one

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Return the sets of two or more positions, the largest first."""
        roots = [self._root(position) for position in range(len(self._parents))]
        large = {root for root, count in Counter(roots).items() if count > 1}
        members: dict[int, list[int]] = {root: [] for root in sorted(large)}
        for position, root in enumerate(roots):
            if root in members:
                members[root].append(position)
        return tuple(tuple(found) for found in sorted(members.values(), key=lambda found: (-len(found), found[0])))
