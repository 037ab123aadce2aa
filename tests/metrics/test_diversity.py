import itertools
import random

import numpy as np
import pytest

from artquant_plugin.metrics.diversity import Distinct, Vocabulary, distinct, sequences


def by_hand(texts: list[str], length: int) -> float:
    grams = [
        gram for text in texts for gram in itertools.zip_longest(*(text.lower().split()[i:] for i in range(length)))
    ]
    whole = [gram for gram in grams if None not in gram]
    return len(set(whole)) / len(whole) if whole else float("nan")


@pytest.mark.parametrize("length", [1, 2, 5])
def test_distinct_n_is_what_sets_of_tuples_give(length):
    rng = random.Random(length)
    texts = [" ".join(rng.choices("red Blue green the a of".split(), k=rng.randrange(12))) for _ in range(1500)]
    assert distinct(texts, length) == pytest.approx(by_hand(texts, length), abs=1e-12)


def test_nothing_has_no_share():
    assert np.isnan(distinct([], 1))
    assert np.isnan(distinct(["word", ""], 2))


def test_sequences_never_cross_the_border_of_a_text():
    vocabulary = Vocabulary()
    texts = [vocabulary.numbers(text) for text in ("a b", "", "b a", "a b c")]
    hashes, starts = sequences(texts, 2)
    # a b | b a | a b, b c
    assert starts.tolist() == [0, 1, 1, 2]
    assert len(set(hashes.tolist())) == 3
    assert hashes[0] == hashes[2]


def test_with_a_border_a_text_has_as_many_sequences_as_words():
    hashes, starts = sequences([[1], [1, 2, 3], [2, 1]], 5, border=True)
    assert (len(hashes), starts.tolist()) == (6, [0, 1, 4])
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[4]


def test_many_sequences_are_merged_on_the_way():
    counted = Distinct()
    for start in range(0, 3_000_000, 500_000):
        counted.add(np.arange(start, start + 1_000_000, dtype=np.uint64))
    # 6 million numbers, each run of them repeating half of the one before: 0 to 3.5 million.
    assert counted.share == pytest.approx(3.5 / 6)
