"""What gives a score away, and what does not."""

import csv

import pytest

from artquant_plugin.train.rad.leaks import find_score
from tests.paths import shared


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Viewers gave it 6.8 on the whole.", "6.8"),
        ("Viewers gave it 6,8 on the whole.", "6,8"),
        ("A 6.83.", "6.83"),
        ("It earns 68.3 of a hundred.", "68.3"),
        ("It merits 6.8/10.", "6.8"),
        ("It merits 7/10.", "7/10"),
        ("Worth 7 / 10, no more", "7 / 10"),
        ("68 out of 100", "68 out of 100"),
        ("It is a seven out of ten.", "seven out of ten"),
        ("The painting scores a 7.", "scores a 7"),
        ("It scores only about 7 with viewers.", "scores only about 7"),
        ("Score: 7", "Score: 7"),
        ("rated seven by its viewers", "rated seven"),
        ("with a rating of 5", "rating of 5"),
        ("a 7 rating", "a 7 rating"),
        ("above the average of 5.4", "average of 5.4"),
        ("above the mean (5.4)", "mean (5.4"),
        ("in the 83rd percentile", "83rd percentile"),
        ("6.5 points would be fair", "6.5 points"),
        ("I would give it a 7.", "give it a 7"),
        ("Viewers gave the work a seven, no more", "gave the work a seven"),
        ("It deserves a 5.", "deserves a 5"),
        ("It earns 6 at best", "earns 6"),
        ("A solid 7.", "A solid 7"),
        ("a 7-out-of-10 sky", "7-out-of-10"),
        ("It comes to six point eight.", "six point eight"),
        ("It comes to six point eight three", "six point eight three"),
    ],
)
def test_a_number_that_rates_is_found(text, found):
    assert find_score(text, 6.83, 10.0) == found


@pytest.mark.parametrize(
    "text",
    [
        "Two figures stand beside 3 boats in 1907.",
        "A strict 3-point perspective, painted in the 1860s.",
        "A third of the canvas, some 2/3 of its height, is sky.",
        "Seven of the ten heads turn away; 7 out of 10 viewers would follow them.",
        "The musical score of 12 bars in the foreground, scored for two violins.",
        "It marks 3 stages; a first-rate, three-part composition.",
        "The average viewer takes it in at once.",
        "Five stars over a point of light.",
        "Around 6.9 m away, it seems.",  # neither rounded nor cut off is this the score
        "At 7 in the evening.",
        "Haze gives it a 3 dimensional depth, and gave the sky two moons.",
        "One point two riders make for; the lines meet in one point one sees at once.",
        "A strong one, and a solid 5 metre wall. It deserves one.",
        "Version 6.8.1 of the plan.",
    ],
)
def test_a_number_that_counts_is_not(text):
    assert find_score(text, 6.83, 10.0) is None


@pytest.mark.parametrize(("text", "score", "high"), [("a 43", 43.0, 100.0), ("room 7", 7.0, 10.0)])
def test_a_whole_number_alone_may_count_anything(text, score, high):
    assert find_score(text, score, high) is None


def test_the_datasets_own_scale_is_known():
    assert find_score("It gets 3/5.", 3.0, 5.0) == "3/5"
    assert find_score("It gets 6.4 then.", 3.2, 5.0) == "6.4"  # on a scale up to ten


def test_no_comment_of_apdd_gives_a_score_away():
    """People who described 4,906 paintings without being asked for a number."""
    with shared("data/apddv2/APDDv2-10023.csv").open(encoding="gbk") as file:
        rows = [row for row in csv.DictReader(file) if row["Language Comment"].strip()]
    assert len(rows) == 4906
    scores = [float(row["Total aesthetic score"]) for row in rows]
    assert not [
        row for row, score in zip(rows, scores, strict=True) if find_score(row["Language Comment"], score, 100.0)
    ]
