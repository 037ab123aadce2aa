"""What the demo's descriptions tell about its scores, and what the manual says of it."""

import re

import numpy as np
import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.demo import words
from artquant_plugin.data.demo.information import TOLD, information
from artquant_plugin.data.demo.painting import CATEGORIES, WEIGHTS, chosen_attributes, paint, panel_score
from tests.paths import ROOT

PAINTINGS = 8000


@pytest.fixture(scope="module")
def shares() -> dict[tuple[str, ...], float]:
    """The generator's own shares: attributes, texts and scores as `paint` makes them, without the pictures."""
    descriptions, scores = [], []
    for index in range(PAINTINGS):
        rng = np.random.default_rng((11, index))
        attributes = chosen_attributes(rng)
        scores.append(panel_score(attributes, rng))
        descriptions.append(words.describe(CATEGORIES[index % len(CATEGORIES)], attributes, rng))
    return {found.levels: found.share for found in information(descriptions, scores)}


def test_each_level_tells_something_that_the_others_do_not(shares):
    every = shares["perception", "cognition", "emotion"]
    assert every > shares["cognition", "emotion"] + 0.05  # light and texture
    assert every > shares["perception", "emotion"] + 0.015  # composition
    assert every > shares["perception", "cognition"] + 0.005  # the mood
    assert shares["perception",] > shares["emotion",] > shares["cognition",]


def test_the_manual_has_the_generators_shares(shares):
    """Within what 8,000 paintings leave open; the standard error of such a share is below 0.002."""
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:perception|cognition|emotion)[a-z, ]*) \| (\d\.\d\d\d) \|$", page, re.MULTILINE)
    told = {tuple(levels.split(", ")): float(share) for levels, share in rows}
    assert told.keys() == shares.keys()
    assert told == pytest.approx(shares, abs=0.006)


def test_texts_that_tell_one_attribute_explain_what_it_decides():
    """Four paintings that differ in their composition alone, and whose scores are its four meanings: all of it."""
    rng = np.random.default_rng(0)
    descriptions = [
        words.describe("portrait", {**dict.fromkeys(WEIGHTS, 0.5), "composition": value}, rng)
        for value in (0.1, 0.3, 0.6, 0.9) * 2
    ]
    found = {each.levels: each.share for each in information(descriptions, [1, 2, 5, 7] * 2)}
    assert found["cognition",] == pytest.approx(1)
    assert found["perception",] == pytest.approx(0, abs=1e-9)


def test_every_phrase_means_what_it_was_chosen_for():
    told = {attribute: level for level, attributes in TOLD.items() for attribute in attributes}
    for attribute, meanings in words.PHRASES.items():
        texts = [phrase for phrases in meanings for phrase in phrases]
        order = [meaning for meaning, phrases in enumerate(meanings) for _ in phrases]
        whole = paint(0, 0).description
        descriptions = [{**whole, told[attribute]: " ".join([text, *_others(attribute)])} for text in texts]
        found = {each.levels: each.share for each in information(descriptions, order)}
        assert found[told[attribute],] == pytest.approx(1)


def _others(attribute: str) -> list[str]:
    return [meanings[0][0] for name, meanings in words.PHRASES.items() if name != attribute]


def test_other_texts_are_refused():
    with pytest.raises(ArtQuantError, match="tells nothing of color; pass descriptions of `artquant data demo`"):
        information([dict.fromkeys(TOLD, "A harbour at dawn.")], [5.0])
