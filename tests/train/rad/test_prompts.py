"""The templates that ship, filled; those of a user's own; a score's place among others, worked out by hand."""

import shutil

import pytest
import yaml

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import DatasetInfo, Painting
from artquant_plugin.train.rad.prompts import Prompts, Statistics, statistics_by_split
from artquant_plugin.train.rad.store_rows import WorkItem
from tests.paths import ROOT
from tests.train.rad.runs import LEVELS

SHIPPED = ROOT / "configs" / "rad" / "prompts.yaml"
INFO = DatasetInfo("greys", (0.0, 10.0), "images", {}, "made", "CC0")
HIGH = {"train": Statistics.of([8.0, 8.5, 9.0, 9.0, 9.5])}


def item(score: float, **more) -> WorkItem:
    return WorkItem(0, "p0", "train", "0.jpg", "", score, "oil painting", **more)


@pytest.fixture
def prompts() -> Prompts:
    return Prompts.read(SHIPPED, INFO, HIGH)


def test_a_high_score_that_is_low_for_its_dataset_reads_as_low(prompts):
    system, user = prompts.generate(item(8.0))
    assert "mean is 8.80, their median 9.00, their variance 0.26" in system  # squares 0.64 + 0.09 + 0.04 + 0.04 + 0.49
    assert "Viewers' rating: 8.00. It is higher than 10 % of the works: well below the average" in user
    assert "Kind of work: oil painting." in user


def test_the_beginning_is_the_same_for_all_paintings(prompts):
    assert prompts.generate(item(8.0))[0] == prompts.generate(item(9.5, feedback="too kind"))[0]


def test_all_levels_have_their_template(prompts):
    system, _ = prompts.generate(item(8.0))
    assert all(f"{level}: {prompts.file.levels[level]}" in system for level in LEVELS)


def test_feedback_reaches_the_generator_with_the_text_it_is_about(prompts):
    judged = item(8.0, draft=dict.fromkeys(LEVELS, "Splendid."))
    feedback = prompts.feedback("judged", judged, reason="Too kind.")
    assert feedback.startswith("Too kind.") and "Perception: Splendid." in feedback
    assert feedback in prompts.generate(item(8.0, feedback=feedback))[1]
    assert "sent back" not in prompts.generate(item(8.0))[1]


def test_a_blind_judge_is_told_neither_score_nor_place(prompts):
    said = " ".join(prompts.judge("blind", item(8.123, draft=dict.fromkeys(LEVELS, "Plain."))))
    assert "8.1" not in said and "well below" not in said and "Perception: Plain." in said
    told = " ".join(prompts.judge("consistency", item(8.123, draft=dict.fromkeys(LEVELS, "Plain."))))
    assert "8.12" in told


def changed(tmp_path, section, name, text):
    content = yaml.safe_load(SHIPPED.read_text())
    if name is None:
        content[section] = text
    else:
        content[section][name] = text
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("section", "name", "text", "message"),
    [
        ("generator", "user", "{{ scor }}", "generator.user uses 'scor'; it may use "),
        ("generator", "user", "{% if %}", "generator.user is no Jinja2 template"),
        ("generator", "system", "{{ score }}", "generator.system uses 'score'"),
        ("blind", "user", "{{ text }} {{ percentile }}", "blind.user uses 'percentile'"),
        ("levels", None, {"perception": "x"}, "levels: these must be perception, cognition, emotion"),
        ("standing", None, [{"below": 50, "words": "low"}], "the last one must be above 100"),
        ("generators", None, {}, "unknown key 'generators'; did you mean 'generator'?"),
    ],
)
def test_a_template_that_cannot_work_is_named(tmp_path, section, name, text, message):
    with pytest.raises(ArtQuantError) as caught:
        Prompts.read(changed(tmp_path, section, name, text), INFO, HIGH)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_hashes_tell_which_text_changed(tmp_path, prompts):
    path = changed(tmp_path, "blind", "user", "{{ text }}!")
    other = Prompts.read(path, INFO, HIGH).hashes
    assert [name for name, value in prompts.hashes.items() if other[name] != value] == ["blind.user"]


def test_a_copy_has_the_same_hashes(tmp_path, prompts):
    shutil.copy(SHIPPED, tmp_path / "copy.yaml")
    assert Prompts.read(tmp_path / "copy.yaml", INFO, HIGH).hashes == prompts.hashes


def paintings(*scores):
    return [Painting(str(score), f"{score}.jpg", "", score) for score in scores]


def test_mean_median_variance_and_percentiles():
    told = Statistics.of([9.0, 8.0, 8.0, 9.0, 6.0])
    assert (told.mean, told.median, told.variance) == (8.0, 8.0, pytest.approx(6 / 5))  # (1 + 0 + 0 + 1 + 4) / 5
    # A high number that is the lowest of its collection is in the lowest place: half of its own fifth.
    assert told.percentile(6.0) == 10.0
    assert told.percentile(8.0) == 40.0  # one of five is lower, two are equal and count half
    assert told.percentile(10.0) == 100.0


def test_by_default_no_test_score_is_told():
    splits = {"train": paintings(2.0, 4.0), "test": paintings(9.0)}
    assert statistics_by_split(splits, "train")["test"].mean == 3.0
    assert statistics_by_split(splits, "split")["test"].mean == 9.0
    assert statistics_by_split(splits, "dataset")["train"].mean == 5.0


def test_without_a_training_split_all_scores_are_told():
    assert statistics_by_split({"test": paintings(2.0, 4.0)}, "train")["test"].mean == 3.0


def test_an_empty_dataset_is_an_error():
    with pytest.raises(ArtQuantError, match="no paintings"):
        statistics_by_split({"train": []}, "train")
