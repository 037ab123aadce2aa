"""The quality report: its numbers by hand, its page as a browser, a screen reader and a stranger's text meet it."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ks_2samp, spearmanr

from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.train.rad.record import RunRecord
from artquant_plugin.train.rad.report.collect import collect
from artquant_plugin.train.rad.report.figures import HEIGHT, WIDTH, histogram, word_limit
from artquant_plugin.train.rad.report.page import write_report
from artquant_plugin.train.rad.store import Change
from artquant_plugin.train.rad.table import RadRun
from tests.train.rad.finished_runs import first_estimate, write_data, write_run

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    data = write_data(folder / "data", {"train": 30, "validation": 10, "test": 20})
    with RadRun.open(write_run(folder / "run", data)) as opened:
        yield opened


def test_rounds_and_reasons_add_up(run):
    found = collect(run, resamples=0)
    # Of every five paintings three are accepted in round 1, one in round 2, and one is through after round 3.
    assert [(line.number, line.asked, line.accepted, line.accepted_so_far) for line in found.rounds] == [
        (1, 60, 36, 0.6),
        (2, 24, 12, 0.8),
        (3, 12, 0, 0.8),
    ]
    assert found.reasons == {"judge_rejected": 12}
    assert found.splits["train"] == {"accepted": 24, "failed": 6}
    assert found.usage["judge"].requests == 60
    assert found.cost == pytest.approx(60 * 2 * 0.002)


def test_a_failure_before_anything_was_asked_belongs_to_no_round(tmp_path):
    data = write_data(tmp_path / "data", {"train": 4})
    changes = {3: Change(3, "failed", 0, "unreadable_image", "broken")}
    with RadRun.open(write_run(tmp_path / "run", data, changes)) as run:
        found = collect(run)
    assert [(line.asked, line.accepted, line.accepted_so_far) for line in found.rounds] == [(3, 3, 0.75)]
    assert found.reasons == {"unreadable_image": 1}


def test_words_and_distinct_n_by_hand(tmp_path):
    data = write_data(tmp_path / "data", {"train": 3})
    texts = ["warm red sky", "Warm red sea", "calm"]
    changes = {
        i: Change(i, "accepted", 1, description={"perception": text, "cognition": "a b", "emotion": "x"})
        for i, text in enumerate(texts)
    }
    with RadRun.open(write_run(tmp_path / "run", data, changes)) as run:
        found = collect(run)
    perception = found.texts["perception"]
    assert perception.words.tolist() == [3, 3, 1]
    # Of 7 words 5 differ; of the 4 pairs "warm red" stands there twice.
    assert (perception.distinct_1, perception.distinct_2) == (5 / 7, 3 / 4)
    assert found.texts["cognition"].distinct_2 == pytest.approx(1 / 3)
    assert (perception.mean, perception.quantiles[2]) == (pytest.approx(7 / 3), 3.0)


def test_the_judges_agreement_and_the_distance_are_scipys(run):
    found = collect(run, resamples=50)
    results = [result for _, result in run.paintings()]
    last = [(result.judge_score, result.score) for result in results]
    first = [(first_estimate(position, result.score), result.score) for position, result in enumerate(results)]
    accepted = [result.score for result in results if result.state == "accepted"]
    failed = [result.score for result in results if result.state == "failed"]
    for name, pairs in (("first", first), ("last", last)):
        assert found.judged[name].srocc.value == pytest.approx(spearmanr(*zip(*pairs, strict=True)).statistic)
        assert found.judged[name].n == 60
    # The accepted ones' estimates are half a point above the score, every one of them.
    assert found.judged["accepted"].plcc.value == pytest.approx(1.0)
    assert found.judged["accepted"].mae.value == pytest.approx(0.5)
    assert found.distribution.distance == pytest.approx(ks_2samp(accepted, [r.score for r in results]).statistic)
    assert found.distribution.p_value == pytest.approx(ks_2samp(accepted, failed).pvalue)


def test_a_judge_that_was_told_the_score_gives_no_estimates(tmp_path):
    data = write_data(tmp_path / "data", {"train": 5})
    folder = write_run(tmp_path / "run", data, {i: Change(i, "failed", 3, "refused", "no") for i in range(5)})
    record = RunRecord.read(folder)
    replace(record, config={"judge": {"mode": "consistency"}}).write(folder)
    with RadRun.open(folder) as run:
        found = collect(run)
        write_report(tmp_path / "report.html", run, found, seed=0)
    assert found.judged == {}
    assert "was told the score" in "".join(Page(tmp_path / "report.html").text)


def test_repeated_descriptions_are_named(tmp_path):
    data = write_data(tmp_path / "data", {"train": 6})
    same = dict.fromkeys(("perception", "cognition", "emotion"), "The sky is red and the sea is calm tonight.")
    changes = {position: Change(position, "accepted", 1, description=same) for position in (1, 5)}
    with RadRun.open(write_run(tmp_path / "run", data, changes)) as run:
        found = collect(run)
    assert found.repeated == (("p1", "p5"),)


def test_examples_depend_on_the_seed_alone_and_are_drawn_evenly(run):
    drawn = [collect(run, seed=seed, examples=12, resamples=0).examples for seed in (0, 0, 1)]
    ids = [[example.painting.id for example in examples] for examples in drawn]
    assert ids[0] == ids[1] != ids[2]
    assert len(set(ids[0])) == 12
    assert all(example.result.state == "accepted" for example in drawn[0])
    # 48 are accepted: over 60 seeds each is expected in a quarter of the draws; 3 to 28 of 60 leave 5 deviations.
    counts: dict[str, int] = {}
    for seed in range(60):
        for example in collect(run, seed=seed, examples=12, resamples=0).examples:
            counts[example.painting.id] = counts.get(example.painting.id, 0) + 1
    assert len(counts) == 48
    assert 3 <= min(counts.values()) <= max(counts.values()) <= 28


class Page(HTMLParser):
    """What matters of a page: its tags with attributes, and the text of some."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def page(run, tmp_path_factory) -> Page:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, run, collect(run, resamples=50), seed=0)
    return Page(path)


def test_the_page_is_one_file_that_asks_for_nothing(page):
    assert not page.of("script", "link", "iframe", "object")
    places = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert places
    assert all(value.startswith(("data:image/jpeg;base64,", "#")) for value in places)
    assert "url(" not in " ".join(page.text)
    assert "@import" not in " ".join(page.text)
    policy = next(meta["content"] for meta in page.of("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_the_page_can_be_read_by_those_who_do_not_see_it(page):
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("img")) == 20 + 12  # 20 of the 48 accepted paintings, and all 12 failed ones
    assert all(image["alt"] for image in page.of("img"))
    assert len(page.of("table")) == len(page.of("caption")) > 4
    assert all("scope" in header for header in page.of("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pointed = [attributes["href"][1:] for attributes in page.of("a")]
    pointed += [a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a]
    assert set(pointed) <= set(ids)
    assert all(svg["role"] == "img" and svg["aria-labelledby"] in ids for svg in page.of("svg"))
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(headings, headings[1:], strict=False))


def test_pictures_are_small_copies(page, run):
    image = page.of("img")[0]
    with Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))) as picture:
        assert picture.format == "JPEG"
        assert picture.size == (int(image["width"]), int(image["height"]))
        assert max(picture.size) <= 360


def test_a_strangers_text_stays_text(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    name = EVIL.replace("/", "_") + ".png"
    Image.new("RGB", (8, 8)).save(folder / name)
    row = Painting(EVIL, name, sha256_file(folder / name), 5.0, category=EVIL)
    gone = Painting("gone", "gone.png", "", 5.0)
    data = write_dataset(
        folder, name=EVIL, score_range=(0, 10), splits={"train": [row, gone]}, image_root=".", source=EVIL,
        license=EVIL,
    )  # fmt: skip
    texts = dict.fromkeys(("perception", "cognition", "emotion"), EVIL)
    changes = {
        number: Change(number, "accepted", 1, description=texts, judge_score=5.0, judge_reason=EVIL)
        for number in range(2)
    }
    with RadRun.open(write_run(tmp_path / "run", data, changes)) as run:
        write_report(tmp_path / "report.html", run, collect(run), seed=0)
    page = Page(tmp_path / "report.html")
    assert not page.of("script")
    assert len(page.of("img")) == 1
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert "".join(page.text).count("alert(1)") >= 10
    assert "no picture: missing" in "".join(page.text)


def test_a_run_without_any_end_has_a_page_too(tmp_path):
    data = write_data(tmp_path / "data", {"train": 2})
    changes = {0: Change(0, "pending", 0), 1: Change(1, "refining", 1)}
    with RadRun.open(write_run(tmp_path / "run", data, changes)) as run:
        write_report(tmp_path / "report.html", run, collect(run), seed=0)
    text = "".join(Page(tmp_path / "report.html").text)
    assert "no painting has ended yet" in text
    assert "nan" not in text


def test_a_histograms_bars_are_shares():
    # Of 8 values 6 are in the first of two bins and 2 in the second; the axis ends at 100 %.
    figure = histogram([0, 1, 1, 2, 3, 4, 6, 10], (0, 10), 2, over=[6, 7])
    assert [(bar.x, bar.height) for bar in figure.bars] == [(0, HEIGHT * 0.75), (WIDTH / 2, HEIGHT * 0.25)]
    assert figure.outline == f"M0 {HEIGHT} V{HEIGHT}.0 H320.0 V0.0 H640.0 V{HEIGHT}"
    assert [tick.label for tick in figure.vertical] == ["0 %", "50 %", "100 %"]
    assert [tick.label for tick in figure.horizontal] == ["0", "2", "4", "6", "8", "10"]


def test_the_distance_is_found_at_the_score_where_the_shares_differ_most(tmp_path):
    # Scores 1 to 4; those of 1 and 2 fail. Half of all have a score of 2 or a lower one, and no accepted one has.
    data = write_data(tmp_path / "data", {"train": 4})
    changes = {position: Change(position, "failed", 1, "refused", "no") for position in (0, 1)}
    with RadRun.open(write_run(tmp_path / "run", data, changes)) as run:
        found = collect(run)
        write_report(tmp_path / "report.html", run, found, seed=0)
    distribution = found.distribution
    assert (distribution.distance, distribution.at) == (0.5, 2.0)
    assert (distribution.accepted_below, distribution.every_below) == (0.0, 0.5)
    text = " ".join("".join(Page(tmp_path / "report.html").text).split())
    assert "it cannot be larger here than the share that failed, 0.500." in text
    assert (
        "Here it is 0.500. The difference is largest at a score of 2: of the accepted paintings 0.0% have this score "
        "or a lower one, of all 50.0%. Paintings up to this score were accepted less often than those above it."
    ) in text


def test_failed_paintings_are_shown_with_picture_and_reason(tmp_path):
    data = write_data(tmp_path / "data", {"train": 29})
    # 20 refusals, 5 disagreements and one broken picture: four places are 2 and 1 and 1.
    reasons = ["refused"] * 20 + ["judge_rejected"] * 5 + ["unreadable_image"]
    changes = {i: Change(i, "failed", 1, reason, f"because of {i}") for i, reason in enumerate(reasons)}
    with RadRun.open(write_run(tmp_path / "run", data, changes)) as run:
        found = collect(run, examples=4)
        write_report(tmp_path / "report.html", run, found, seed=0)
        none = collect(run, examples=0)
        write_report(tmp_path / "none.html", run, none, seed=0)
        assert collect(run, examples=100).failures == tuple(collect(run, examples=26, seed=1).failures)
    shown = [example.result.reason for example in found.failures]
    assert shown == ["refused", "refused", "judge_rejected", "unreadable_image"]
    page = Page(tmp_path / "report.html")
    text = " ".join("".join(page.text).split())
    assert "4 of 26 failed paintings" in text
    for example in found.failures:
        assert f"{example.result.reason.replace('_', ' ')}: {example.result.detail}" in text
        assert f"Painting {example.painting.id}" in [image["alt"] for image in page.of("img")]
    assert none.failures == ()
    assert "None is shown, as no examples were asked for." in "".join(Page(tmp_path / "none.html").text)


def test_costs_are_in_the_configurations_currency(run, page, tmp_path):
    # 60 paintings with two requests at 0.002 each: 0.24, or 0.005 for each of the 48 accepted descriptions.
    assert "The configuration names no currency" in "".join(page.text)
    record = replace(run.record, config={**run.record.config, "currency": "EUR"})
    with RadRun.open(run.folder) as opened:
        opened = replace(opened, record=record)
        write_report(tmp_path / "report.html", opened, collect(opened, resamples=0), seed=0)
    text = " ".join("".join(Page(tmp_path / "report.html").text).split())
    assert "In EUR, the currency of the configuration's prices." in text
    assert "0.24 EUR" in text
    assert "Each accepted description has cost 0.00500 EUR, failed ones included." in text


def test_an_axis_of_words_has_whole_bins():
    assert word_limit([np.array([1, 2, 24]), np.array([3])], 25) == 25
    assert word_limit([np.array([1, 2, 25])], 25) == 50
