"""Single raters: the three forms of tables, what an import keeps of them, and how well they agree."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.importers.any_table import AnnotationColumns, read_csv
from artquant_plugin.data.importers.importing import import_dataset
from artquant_plugin.data.rater_agreement import agreement_by_split, rater_agreement
from artquant_plugin.data.ratings import PaintingRatings, read_ratings
from artquant_plugin.report.human_ceiling import ceiling_note, human_figures
from tests.paths import shared

# a was rated 1, 3 (mean 2), b 5, 9 (mean 7), c by the second rater alone.
LONG = "who,image,score\nann,a.png,1\nbob,a.png,3\nann,b.png,5\nbob,./b.png,9\nbob,c.png,4\n"
WIDE = "image,ann,bob\na.png,1,3\nb.png,5,9\nc.png,,4\n"
COUNTS = "image,one,two,three,four,five,six,seven,eight,nine\na.png,1,0,1,0,0,0,0,0,0\nb.png,0,0,0,0,1,0,0,0,1\n"
COUNTS += "c.png,0,0,0,1,0,0,0,0,0\n"
VOTES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
OF_ROWS = AnnotationColumns("image", "score", rater="who")
OF_COLUMNS = AnnotationColumns("image", "score", scores=("ann", "bob"))
OF_COUNTS = AnnotationColumns("image", "score", counts=VOTES)
FORMS = [(LONG, OF_ROWS), (WIDE, OF_COLUMNS), (COUNTS, OF_COUNTS)]


def read(folder, table, columns, score_range=(1, 9)):
    (folder / "t.csv").write_text(table)
    return read_csv(folder / "t.csv", columns, name="mine", score_range=score_range, test_fraction=0.4)


def rated(*rows):
    """Paintings whose raters 0, 1, … gave the ratings of a row; NaN for none."""
    return [
        PaintingRatings(
            tuple(value for value in row if not math.isnan(value)),
            tuple(rater for rater, value in enumerate(row) if not math.isnan(value)),
        )
        for row in rows
    ]


@pytest.mark.parametrize(("table", "columns"), FORMS)
def test_each_form_of_table_gives_the_same_scores(tmp_path, table, columns):
    annotations = read(tmp_path, table, columns)
    found = {painting.id: painting for rows in annotations.splits.values() for painting in rows}
    assert {id: (p.score, p.raters) for id, p in found.items()} == {
        "a.png": (2.0, 2),
        "b.png": (7.0, 2),
        "c.png": (4.0, 1),
    }
    # The deviations from the means 2 and 7 are 1 and 2 either way: the squares 2 and 8, divided by 2 - 1.
    assert [found[name].rating_sd for name in ("a.png", "b.png", "c.png")] == [2**0.5, 8**0.5, None]


@pytest.mark.parametrize(("table", "columns"), FORMS)
def test_an_import_keeps_the_ratings_but_no_names(tmp_path, table, columns):
    for name, colour in (("a", "red"), ("b", "green"), ("c", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
    dataset = import_dataset(read(tmp_path, table, columns), tmp_path, tmp_path / "out").dataset
    kept = read_ratings(dataset.file("ratings.jsonl"))
    assert {id: (ratings.mean, ratings.number) for id, ratings in kept.items()} == {
        "a.png": (2.0, 2),
        "b.png": (7.0, 2),
        "c.png": (4.0, 1),
    }
    assert "ann" not in (tmp_path / "out" / "ratings.jsonl").read_text()
    assert dataset.info.files.keys() == {"train.jsonl", "test.jsonl", "ratings.jsonl"}
    loaded = Dataset.load(tmp_path / "out")
    assert loaded.info == dataset.info
    assert loaded.info.rater_agreement["all"].ratings == 5
    assert {p.id: p.raters for split in ("train", "test") for p in loaded.split(split)} == {
        "a.png": 2,
        "b.png": 2,
        "c.png": 1,
    }
    # Imported again without raters, nothing of them stays.
    plain = AnnotationColumns("image", "score")
    again = import_dataset(
        read(tmp_path, "image,score\na.png,2\nb.png,7\nc.png,4\n", plain), tmp_path, tmp_path / "out"
    )
    assert not (tmp_path / "out" / "ratings.jsonl").exists() and again.dataset.info.rater_agreement is None
    row = json.loads((tmp_path / "out" / "train.jsonl").read_text().splitlines()[0])
    assert "raters" not in row and "rating_sd" not in row


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        (LONG + "ann,a.png,2\n", OF_ROWS, "t.csv:7: rater 'ann' rated 'a.png' already at .*t.csv:2; remove one"),
        (LONG + "bob,b.png,2\n", OF_ROWS, "rater 'bob' rated 'b.png' already at .*t.csv:5"),
        (LONG + ",a.png,2\n", OF_ROWS, "t.csv:7: who is empty; write who gave the rating, or remove the row"),
        (LONG + "eve,a.png,12\n", OF_ROWS, r"t.csv:7: score 12 is outside \[1, 9\]; mend the table or pass another"),
        (LONG + "eve,a.png,good\n", OF_ROWS, "score 'good' is no number; write a number"),
        (WIDE + "d.png,,\n", OF_COLUMNS, "t.csv:5: no rating in any of ann, bob; write one, or remove the row"),
        (WIDE + "d.png,0,3\n", OF_COLUMNS, r"ann 0 is outside \[1, 9\]"),
        (WIDE + "a.png,1,3\n", OF_COLUMNS, "image 'a.png' stands already at"),
        (COUNTS + "d.png" + ",0" * 9 + "\n", OF_COUNTS, "t.csv:5: nobody rated it, all of its counts are 0; remove"),
        (
            COUNTS + "d.png,1.5" + ",0" * 8 + "\n",
            OF_COUNTS,
            "one 1.5 is no whole number; --count-columns hold",
        ),
        (COUNTS + "d.png,-1" + ",0" * 8 + "\n", OF_COUNTS, "one -1 is outside"),
        (COUNTS, AnnotationColumns("image", "score", counts=("one",)), "--count-columns has one column, 'one'; give"),
        (
            COUNTS + "d.png,999999999,1" + ",0" * 7 + "\n",
            OF_COUNTS,
            "t.csv:5: the counts are 1,000,000,000 votes together, more than 999,999,999; mend the table",
        ),
        (COUNTS + "d.png,1e300" + ",0" * 8 + "\n", OF_COUNTS, r"the counts are 1e\+300 votes together"),
        (WIDE, AnnotationColumns("image", "ann", rater="bob", scores=("ann",)), "pass one of the two"),
        # A rater who is read twice agrees with herself, and the reliability rises.
        (
            WIDE,
            AnnotationColumns("image", "score", scores=("ann", "bob", "ann")),
            "column 'ann' stands in --score-columns twice; name",
        ),
        (
            COUNTS,
            AnnotationColumns("image", "score", counts=("one", "two", "two")),
            "column 'two' stands in --count-columns twice; name",
        ),
        (
            LONG,
            AnnotationColumns("image", "score", rater="score"),
            "column 'score' stands in --rater-column and in --score-column; name",
        ),
        (
            LONG,
            AnnotationColumns("image", "score", rater="image"),
            "column 'image' stands in --image-column and in --rater-column; name",
        ),
        # A shell that completes vote* sorts by letters.
        (
            "image,vote1,vote2,vote10\na.png,1,2,3\n",
            AnnotationColumns("image", "score", counts=("vote1", "vote10", "vote2")),
            "--count-columns vote1 vote10 vote2 go up and down; name them from the lowest rating to the highest",
        ),
        (
            LONG.replace("who", "who,split").replace("ann", "ann,train").replace("bob", "bob,test"),
            AnnotationColumns("image", "score", split="split", rater="who"),
            "t.csv:3: split of 'a.png' is 'test', at .*t.csv:2 it is 'train'; write the same text into all rows",
        ),
    ],
)
def test_what_is_wrong_with_ratings_is_named_by_file_and_line(tmp_path, table, columns, message):
    with pytest.raises(ArtQuantError, match=message):
        read(tmp_path, table, columns)


def test_the_agreement_of_two_raters_by_hand():
    # Each cut puts one rater into either half: r is the correlation of (1, 2, 3) and (1, 3, 2), which is 1/2. Spearman
    # and Brown make 2 · 1/2 / (1 + 1/2) = 2/3 of it.
    found = rater_agreement(rated((1, 1), (2, 3), (3, 2)), halves=4)
    assert (found.paintings, found.ratings, found.raters) == (3, 6, 2)
    assert found.plcc_reliability == pytest.approx(2 / 3, abs=1e-12)
    assert found.srocc_reliability == pytest.approx(2 / 3, abs=1e-12)
    assert found.plcc_ceiling == pytest.approx((2 / 3) ** 0.5, abs=1e-12)
    assert (found.one_rater_plcc, found.one_rater_srocc) == pytest.approx((0.5, 0.5), abs=1e-12)


def test_a_rater_who_says_the_same_of_all_is_left_out_of_the_single_ones():
    # The third one is constant. The first against the mean of the others, (1+5, 3+5, 2+5) / 2, has the correlation
    # 1/2; so has the second.
    found = rater_agreement(rated((1, 1, 5), (2, 3, 5), (3, 2, 5)))
    assert found.one_rater_plcc == pytest.approx(0.5, abs=1e-12)


def test_what_is_not_defined_is_no_number():
    nan = math.nan
    single = rater_agreement(rated((1, nan), (nan, 2), (3, nan), (nan, 5)))  # one rating each: no two halves
    assert (single.plcc_reliability, single.plcc_ceiling, single.one_rater_plcc) == (None, None, None)
    few = rater_agreement(rated((1, 2), (2, 3)))  # two paintings
    assert few.plcc_reliability is None
    alike = rater_agreement(rated((4, 4), (4, 4), (4, 4)))
    assert (alike.srocc_reliability, alike.one_rater_srocc) == (None, None)
    opposed = rater_agreement(rated((1, 3), (2, 2.5), (3, 1)))
    assert opposed.plcc_reliability < 0 and opposed.plcc_ceiling is None
    with pytest.raises(ValueError, match="no ratings"):
        rater_agreement([])


def test_the_reliability_of_a_known_mixture():
    # A true score of variance 1 and noise of variance 4 per rater: the mean of 30 has the reliability 1 / (1 + 4/30),
    # that of half as many correlate by 1 / (1 + 4/15), and one rater with the mean of the others by
    # 1 / sqrt((1 + 4) (1 + 4/29)).
    draws = np.random.default_rng(7)
    ratings = draws.normal(size=(3000, 1)) + 2 * draws.normal(size=(3000, 30))
    found = rater_agreement(rated(*ratings.tolist()), halves=100)
    assert found.plcc_reliability == pytest.approx(1 / (1 + 4 / 30), abs=0.01)
    assert found.plcc_ceiling == pytest.approx((1 / (1 + 4 / 30)) ** 0.5, abs=0.01)
    assert found.one_rater_plcc == pytest.approx(1 / (5 * (1 + 4 / 29)) ** 0.5, abs=0.01)
    # Counted votes, in steps of 1/4: the same but for the rounding, whose variance of 1/192 is small beside 4.
    steps = np.arange(-12, 12.1, 0.25)
    places = np.clip(np.rint((ratings + 12) / 0.25), 0, len(steps) - 1).astype(int)
    votes = [
        PaintingRatings(tuple(steps.tolist()), None, tuple(np.bincount(row, minlength=len(steps)).tolist()))
        for row in places
    ]
    counted = rater_agreement(votes, halves=20)
    assert counted.raters is None
    assert counted.plcc_reliability == pytest.approx(1 / (1 + 4 / 30), abs=0.02)
    assert counted.one_rater_plcc == pytest.approx(1 / (5 * (1 + 4 / 29)) ** 0.5, abs=0.02)


def test_agreement_is_measured_on_each_split_and_on_all():
    ratings = dict(zip("abcdef", rated((1, 1), (2, 3), (3, 2), (1, 1), (2, 2), (3, 3)), strict=True))
    found = agreement_by_split({"train": ["a", "b", "c"], "test": ["d", "e", "f"], "validation": []}, ratings)
    assert {name: agreement.paintings for name, agreement in found.items()} == {"train": 3, "test": 3, "all": 6}
    assert found["train"].plcc_reliability == pytest.approx(2 / 3)
    assert found["test"].plcc_reliability == pytest.approx(1)


def test_the_ceiling_stands_beside_models_or_is_said_to_be_unknown(tmp_path):
    for name in "abcdef":
        Image.new("L", (8, 8), 40 * "abcdef".index(name)).save(tmp_path / f"{name}.png")
    rows = "".join(f"{n}.png,{s},{x},{y}\n" for n, s, x, y in (
        ("a", "train", 1, 1), ("b", "train", 2, 3), ("c", "train", 3, 2),
        ("d", "test", 1, 1), ("e", "test", 2, 3), ("f", "test", 3, 2),
    ))  # fmt: skip
    columns = AnnotationColumns("image", "score", split="split", scores=("ann", "bob"))
    annotations = read(tmp_path, "image,split,ann,bob\n" + rows, columns)
    info = import_dataset(annotations, tmp_path, tmp_path / "out").dataset.info
    ceiling, one = human_figures(info)
    assert (ceiling.name, one.name) == ("human ceiling", "one rater")
    assert (ceiling.srocc, one.plcc) == pytest.approx(((2 / 3) ** 0.5, 0.5))
    assert ceiling_note("mine", info) == (
        "Human ceiling (2 raters, 2.0 ratings per painting): SROCC 0.816, PLCC 0.816, the square roots of the "
        "split-half reliabilities 0.667 and 0.667; one rater against the mean of the others: SROCC 0.500, PLCC 0.500."
    )
    assert human_figures(None) == []
    assert ceiling_note("baid", None) == "Human ceiling: unknown, this dataset publishes means alone."
    assert ceiling_note("mine", None) == "Human ceiling: unknown, the dataset is not imported here."


def test_real_raters_agree_as_their_authors_data_say():
    rows = csv.DictReader(shared("data/sidhu2018/abstract/Abstract_All_Raters.csv").open())
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        found.setdefault(row["Painting"], []).append((int(row["Rater"]), float(row["Beauty"])))
    ratings = [PaintingRatings(tuple(v for _, v in given), tuple(r for r, _ in given)) for given in found.values()]
    agreement = rater_agreement(ratings)
    assert (agreement.paintings, agreement.raters) == (240, 49)
    # Computed apart, with 500 random halves and five seeds: between 0.941 and 0.942.
    assert agreement.plcc_reliability == pytest.approx(0.9415, abs=0.002)
