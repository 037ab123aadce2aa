"""`artquant prompt-search`: the best prompt is found, measured on paintings that it was not chosen by, and written."""

import csv
import dataclasses
import io
import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import spearmanr

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint, shipped_presets
from artquant_plugin.cli import main
from artquant_plugin.cli.prompt_search import SHIPPED
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.progress import ProgressBar
from artquant_plugin.data.dataset import write_dataset
from artquant_plugin.data.paintings import Painting
from artquant_plugin.prompt_search.candidates import Candidate, plan_passes, read_prompts
from artquant_plugin.prompt_search.search import best_trial, read_halves, search_prompts, write_winner
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import PromptSpec
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.tiny import pictures, tiny_checkpoint

PAINTINGS = 48
# In the tiny tokenizer the five level words are tokens. The model's weights are random, and the human scores of the
# dataset are the order of its own scores by one of these prompts, which is therefore the best of all: its SROCC is 1.
BEST = ScoringSpec(
    scale=LevelScale(("fair", "poor"), (10, 1)), prompt=PromptSpec("How fair?", answer_prefix="The painting is")
)
LIST = """
questions: ["How good?", "How fair?"]
prefixes: [The quality of the painting is, The painting is]
levels:
  five: {excellent: 10, good: 7.5, fair: 5, poor: 3.5, bad: 1}
  fair-or-poor: {fair: 10, poor: 1}
  poor-or-fair: {poor: 10, fair: 1}
  alike: {bad bad: 10, bad good: 5, fair: 1}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A home of datasets with one dataset, whose paintings the model ranks as people do when it is asked `BEST`."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "tones"
    (folder / "images").mkdir(parents=True)
    files = []
    for number, picture in enumerate(pictures(PAINTINGS, seed=3)):
        files.append(folder / "images" / f"{number:02}.png")
        picture.save(files[-1])
    scorer = ArtQuantScorer(dataclasses.replace(tiny_checkpoint(), spec=BEST))
    order = np.argsort(np.argsort([result.score for result in scorer.score(files)]))
    rows = [
        Painting(f"p{number}", file.name, str(number), float(rank))
        for number, (file, rank) in enumerate(zip(files, order, strict=True))
    ]
    write_dataset(
        folder,
        name="tones",
        score_range=(0, PAINTINGS),
        splits={"validation": rows},
        image_root="images",
        source="tests",
        license="none",
    )
    return home


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tiny = tiny_checkpoint()
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_checkpoint(folder, tiny.model, tiny.processor, tiny.spec)
    return folder


@pytest.fixture
def prompts(tmp_path):
    (tmp_path / "prompts.yaml").write_text(LIST)
    return tmp_path / "prompts.yaml"


@pytest.fixture
def search(data, model, prompts, monkeypatch, capsys):
    """Run the command; returns its exit code, what it printed, and its errors without the libraries' bars."""
    monkeypatch.setenv("ARTQUANT_DATA", str(data))

    def run(*options, given=("--data", "tones:validation"), listed=prompts):
        extra = ["--device", "cpu", "--prompts", str(listed)]
        code = main(["prompt-search", str(model), *given, *extra, *map(str, options)])
        printed, errors = capsys.readouterr()
        return code, printed, re.sub(r"\rLoading weights.*\n", "", errors)

    return run


def specs_of(prompts):
    return [candidate.spec for candidate in read_prompts(prompts, shipped_presets()["zero-shot"].spec)]


def test_each_prompt_gets_what_a_scorer_of_its_own_gives(data, prompts, monkeypatch):
    """The SROCC is scipy's, over the scores of a scorer that is asked this prompt alone."""
    monkeypatch.setenv("ARTQUANT_DATA", str(data))
    checkpoint = tiny_checkpoint()
    half, held_out, absent = read_halves("tones")
    assert (len(half), len(held_out), absent) == (24, 24, 0)
    passes, refused = plan_passes(checkpoint.processor, read_prompts(prompts, ScoringSpec()))

    def make(spec):
        return ArtQuantScorer(dataclasses.replace(checkpoint, spec=spec), level_mass=True)

    trials = list(search_prompts(passes, half, make))
    assert (len(trials), len(refused)) == (13, 4)
    for trial in trials:
        alone = make(trial.candidate.spec).score([image.image for image in half])
        expected = spearmanr([score.score for score in alone], [image.truth for image in half]).statistic
        assert trial.srocc == pytest.approx(expected, abs=1e-9)
        assert trial.level_mass == pytest.approx(np.mean([score.level_mass for score in alone]), rel=1e-5)
        assert trial.scored == 24
    best = best_trial(trials)
    assert (best.candidate.spec.scale, best.candidate.spec.prompt.question) == (BEST.scale, "How fair?")
    assert best.srocc == pytest.approx(1)
    turned = next(
        t
        for t in trials
        if t.candidate.levels == "poor-or-fair" and t.candidate.spec.prompt == best.candidate.spec.prompt
    )
    assert turned.srocc == pytest.approx(-1)


def test_one_pass_reads_all_words_unless_the_question_names_them():
    checkpoint = tiny_checkpoint()
    words = [LevelScale(), LevelScale(("good", "bad"), (10, 1)), LevelScale(("Good", "Bad"), (10, 1))]
    candidates = [Candidate(ScoringSpec(scale=scale), "", str(number)) for number, scale in enumerate(words)]
    passes, refused = plan_passes(checkpoint.processor, candidates)
    # "good" and "Good" are one word to `LevelScale`, so that they take a pass each.
    assert [[each.levels for each in one.candidates] for one in passes] == [["0", "1"], ["2"]]
    assert not refused
    named = read_prompts(SHIPPED, ScoringSpec())
    assert {one.spec.prompt.question.partition("Answer with one word: ")[2]: one.levels for one in named}[
        "good or poor."
    ] == "good-or-poor"


def test_the_shipped_list_holds_every_combination_once():
    content = yaml.safe_load((Path("configs") / SHIPPED).read_text(encoding="utf-8"))
    start = shipped_presets()["zero-shot"].spec
    specs = [candidate.spec for candidate in read_prompts(SHIPPED, start)]
    count = len(content["questions"]) * len(content["prefixes"]) * len(content["levels"])
    assert specs[0] == start
    assert len(set(specs)) == len(specs) == count  # the preset is one of the combinations


def test_the_halves_share_no_painting_and_no_picture(tmp_path):
    """Each picture of the training split hangs in two paintings, which land in the same half."""
    (tmp_path / "images").mkdir()
    rows = []
    for number, picture in enumerate(pictures(40)):
        picture.save(tmp_path / "images" / f"{number}.png")
        rows.append(Painting(f"p{number}", f"{number}.png", f"picture {number // 2}", 1.0))
    rows.append(Painting("gone", "gone.png", "gone", 1.0))
    write_dataset(
        tmp_path,
        name="pairs",
        score_range=(0, 10),
        splits={"train": rows},
        image_root="images",
        source="tests",
        license="none",
    )
    half, held_out, absent = read_halves(f"{tmp_path}:train", seed=1)
    assert (len(half), len(held_out), absent) == (20, 20, 1)
    assert not {image.picture for image in half} & {image.picture for image in held_out}
    assert {image.id for image in half} | {image.id for image in held_out} == {f"p{number}" for number in range(40)}
    assert read_halves(f"{tmp_path}:train", seed=1)[0] == half
    assert read_halves(f"{tmp_path}:train", seed=2)[0] != half


def test_the_winner_is_printed_and_its_file_scores_as_the_table_says(search, data, model, tmp_path):
    out = tmp_path / "winner.yaml"
    code, printed, errors = search("--format", "json", "--out", out)
    assert (code, errors) == (0, f"{out}\n")
    rows = json.loads(printed)["rows"]
    assert len(rows) == 17
    first = rows[0]
    assert (first["question"], first["prefix"], first["levels"]) == ("How fair?", "The painting is", "fair-or-poor")
    assert first["srocc"] == pytest.approx(1)
    kept = [row for row in rows if row["held_out_srocc"] is not None]
    assert [row["levels"] for row in kept] == ["fair-or-poor", "five"]  # the winner, and what the search began with
    assert [row["reason"][:60] for row in rows[-4:]] == [
        "the tokenizer does not tell the level words apart by one tok"
    ] * 4

    half, held_out, _ = read_halves("tones")
    scorer = ArtQuantScorer.from_pretrained(str(model), scoring=str(out), device="cpu")
    assert (scorer.checkpoint.spec.scale, scorer.checkpoint.spec.prompt.question) == (BEST.scale, "How fair?")
    for images, name in ((half, "srocc"), (held_out, "held_out_srocc")):
        scores = [score.score for score in scorer.score([image.image for image in images])]
        expected = spearmanr(scores, [image.truth for image in images]).statistic
        assert first[name] == pytest.approx(expected, abs=1e-6)
    assert first["held_out_srocc_low"] <= first["held_out_srocc"] <= first["held_out_srocc_high"]
    assert "on 24 held-out paintings" in yaml.safe_load(out.read_text())["source"]


def test_the_written_file_keeps_all_that_a_score_depends_on(tmp_path):
    spec = ScoringSpec(
        LevelScale(("yes", "5", "nein: so nicht"), (3, 2.5, 1)),
        PromptSpec("Ist es schön?\nJa?", "Beschreibe: bitte", "", image_first=False),
        "as_stored",
        "{% for message in messages %}{{ message }}\n{% endfor %}",
    )
    write_winner(tmp_path / "a.yaml", spec, "tests: here")
    from artquant_plugin.checkpoint import choose_scoring

    assert choose_scoring(str(tmp_path / "a.yaml"), "x", None) == spec


def test_people_read_which_mass_is_tiny_and_what_the_halves_are(search):
    code, printed, errors = search("--limit", 40)
    assert (code, errors) == (0, "")
    lines = printed.splitlines()
    assert lines[0].split("  ")[0] == "question"
    assert "held-out SROCC [95 % interval]" in lines[0]
    assert any("20 paintings to search on, 20 held out (seed 0)" in line for line in lines)
    assert any("fair-or-poor: fair = 10, poor = 1" in line for line in lines)
    code, printed, _ = search("--format", "csv", "--columns", "srocc", "--seed", 1)
    columns = next(csv.reader(io.StringIO(printed)))
    assert code == 0
    assert columns == ["question", "prefix", "levels", "srocc"]


def test_an_interrupted_search_prints_the_prompts_that_are_done(search, monkeypatch, tmp_path):
    """The signal is a real one, sent after the third prompt, of which the bar is told."""
    told = ProgressBar.tell

    def tell(bar, **counts):
        told(bar, **counts)
        if counts["tried"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ProgressBar, "tell", tell)
    code, printed, errors = search("--out", tmp_path / "winner.yaml")
    assert (code, errors) == (130, "artquant: interrupted\n")
    assert "not finished: 3 of 13 prompts, 24 paintings to search on" in printed
    assert printed.count("How good?") + printed.count("How would people") >= 3
    assert not (tmp_path / "winner.yaml").exists()


@pytest.mark.parametrize(
    ("given", "listed", "message"),
    [
        (["--data", "tones:tset"], LIST, "has no split 'tset'; it has validation"),
        (["--data", "tnoes"], LIST, "dataset 'tnoes' is not in"),
        (
            ["--data", "tones", "--limit", "19"],
            LIST,
            "19 paintings of tones:validation make halves of 9 and 10, and a half needs 10; raise --limit",
        ),
        (["--data", "tones", "--out", "a.json"], LIST, "--out 'a.json' ends with neither .yaml nor .yml"),
        (["--data", "tones"], LIST + "quesitons: [a]\n", "unknown key 'quesitons'; did you mean 'questions'?"),
        (
            ["--data", "tones"],
            "questions: [a]\nprefixes: [b]\nlevels: {}\n",
            "levels: Dictionary should have at least",
        ),
        (["--data", "tones"], "prefixes: [b]\nlevels: {a: {b: 2, c: 1}}\n", "key 'questions' is missing"),
        (
            ["--data", "tones"],
            "questions: [a]\nprefixes: [b]\nlevels: {up: {bad: 1, good: 2}}\n",
            "level values [1.0, 2.0] must be finite and descend",
        ),
        (["--data", "tones", "--scoring", "zero-shto"], LIST, "did you mean 'zero-shot'?"),
        (["--data", "tones", "--scoring", "deqa"], LIST, "scoring 'deqa' is made for mplug_owl2"),
    ],
)
def test_what_is_wrong_is_one_line(given, listed, message, search, prompts):
    prompts.write_text(listed)
    code, printed, errors = search(given=given)
    assert (code, printed) == (2, "")
    assert errors.count("\n") == 1
    assert message in errors


def test_without_a_set_that_the_tokenizer_tells_apart_nothing_is_tried(search, prompts, tmp_path):
    alike = "form_version: 1\nlevels: {bad bad: 10, bad good: 5, fair: 1}\nprompt: {}\n"
    (tmp_path / "alike.yaml").write_text(alike)
    prompts.write_text("questions: [a]\nprefixes: [b]\nlevels: {alike: {bad bad: 10, bad good: 5, fair: 1}}\n")
    code, printed, errors = search("--scoring", tmp_path / "alike.yaml")
    assert (code, printed) == (2, "")
    assert errors.startswith("artquant: error: none of the 2 prompts can be tried, the first because the tokenizer ")
    assert errors.endswith("choose other level words\n")


def test_images_that_are_not_there_are_told_before_the_model_is_loaded(search, data, tmp_path, monkeypatch):
    shutil.copytree(data / "tones", tmp_path / "empty")
    shutil.rmtree(tmp_path / "empty" / "images")
    code, _, errors = search(given=["--data", f"{tmp_path / 'empty'}:validation"])
    assert code == 2
    assert "none of the 48 images of" in errors
    assert errors.endswith("put them there, or import the dataset again\n")


def test_unreadable_images_are_the_reason_of_every_prompt(search, data, tmp_path):
    shutil.copytree(data / "tones", tmp_path / "broken")
    for file in (tmp_path / "broken" / "images").iterdir():
        file.write_bytes(b"no picture")
    code, printed, errors = search(given=["--data", f"{tmp_path / 'broken'}:validation"])
    assert code == 2
    assert "0 of 24 paintings have a score, and 10 are needed;" in printed
    assert errors.startswith("artquant: error: no prompt has an SROCC, the first because 0 of 24 paintings")


def test_a_measurement_without_any_score_is_an_error(data, monkeypatch):
    from artquant_plugin.prompt_search.search import measure

    monkeypatch.setenv("ARTQUANT_DATA", str(data))
    _, held_out, _ = read_halves("tones")
    gone = [dataclasses.replace(image, image=image.image.with_name("gone.png")) for image in held_out]
    with pytest.raises(ArtQuantError, match="no painting of the held-out half has a score; the first reason is"):
        measure(ScoringSpec(), gone, lambda spec: ArtQuantScorer(tiny_checkpoint()), seed=0)
