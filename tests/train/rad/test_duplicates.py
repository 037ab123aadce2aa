"""Near-duplicates against the definition itself: Jaccard similarity of sets of word sequences, over all pairs."""

import random

import pytest

from artquant_plugin.train.rad.report.duplicates import WORDS, NearDuplicates, _similar


def shingles(text: list[int]) -> set[tuple[int, ...]]:
    padded = [0] * (WORDS - 1) + text
    return {tuple(padded[i : i + WORDS]) for i in range(len(text))}


def jaccard(left: list[int], right: list[int]) -> float:
    one, other = shingles(left), shingles(right)
    return len(one & other) / len(one | other)


def found_in(texts: list[list[int]], at_once: int = 7) -> NearDuplicates:
    similar = NearDuplicates()
    for start in range(0, len(texts), at_once):
        similar.add(texts[start : start + at_once])
    return similar


def changed(text: list[int], words: int, rng: random.Random) -> list[int]:
    copy = list(text)
    for place in rng.sample(range(len(copy)), words):
        copy[place] = rng.randrange(10**6, 10**7)
    return copy


def test_copies_with_few_words_changed_are_found_and_others_are_not():
    rng = random.Random(0)
    texts = [[rng.randrange(1, 5000) for _ in range(150)] for _ in range(120)]
    # Of 150 sequences, one changed word spoils five: 145 / 155 = 0.94. With 15 changed about 75 remain of 225: 0.33.
    near = {120 + i: changed(texts[i], 1, rng) for i in range(20)}
    far = {140 + i: changed(texts[40 + i], 15, rng) for i in range(20)}
    texts += [*near.values(), *far.values()]
    assert all(jaccard(texts[position - 120], text) > 0.9 for position, text in near.items())
    assert all(jaccard(texts[position - 100], text) < 0.6 for position, text in far.items())
    found = found_in(texts).find()
    assert set(found.groups) == {(position - 120, position) for position in near}
    assert (found.n, found.repeated) == (160, 40)


def test_the_estimate_is_the_jaccard_similarity_within_its_error():
    rng = random.Random(1)
    base = [rng.randrange(1, 5000) for _ in range(200)]
    for words in (1, 4, 8, 12):
        other = changed(base, words, rng)
        similar = found_in([base, other])
        (signatures,) = similar._parts
        estimate = float((signatures[0] == signatures[1]).mean())
        exact = jaccard(base, other)
        assert estimate == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 128) ** 0.5)


def test_a_thousand_copies_are_one_group_and_few_pairs():
    copies = [[1, 2, 3, 4, 5, 6]] * 1000
    similar = found_in([*copies, [7, 8, 9]], at_once=100)
    found = similar.find()
    assert found.groups == (tuple(range(1000)),)
    import numpy as np

    assert len(_similar(np.concatenate(similar._parts))) < 2 * 1000


def test_texts_shorter_than_a_sequence_count_too():
    assert found_in([[1, 2], [1, 2], [1, 3], [2]]).find().groups == ((0, 1),)


def test_nothing_has_no_groups():
    assert NearDuplicates().find().groups == ()
