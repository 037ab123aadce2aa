import json
import os
import shutil
from pathlib import Path

import pytest

from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint, locate, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import PromptSpec
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.tiny import pictures, tiny_llava

SPEC = ScoringSpec(LevelScale(values=(5.0, 4.0, 3.0, 2.0, 1.0)), PromptSpec(question="Wie schön?", image_first=False))


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    model, processor = tiny_llava()
    save_checkpoint(folder, model, processor, SPEC)
    return folder


def test_a_saved_checkpoint_gives_the_same_scores(saved):
    from artquant_plugin.checkpoint import Checkpoint

    model, processor = tiny_llava()
    before = ArtQuantScorer(Checkpoint(model.eval(), processor, SPEC, "before")).score(pictures(3))
    after = ArtQuantScorer.from_pretrained(str(saved), device="cpu").score(pictures(3))
    assert after == before
    assert len({score.score for score in after}) == 3


def test_a_checkpoint_holds_safetensors_and_no_pickle(saved):
    names = {path.name for path in saved.iterdir()}
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


def test_a_save_that_fails_leaves_the_checkpoint_of_before(saved, tmp_path):
    class Full:
        def save_pretrained(self, folder):
            (Path(folder) / "tokenizer.json").write_text("{")
            raise OSError("no space left")

    folder = tmp_path / "copy"
    shutil.copytree(saved, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(folder, tiny_llava()[0], Full(), ScoringSpec())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_scoring_file_is_read_back(saved):
    assert ScoringSpec.load(saved) == SPEC


def test_a_folder_without_scoring_file_is_one_line(tmp_path):
    with pytest.raises(ArtQuantError, match=r"holds no artquant.json, the file with questions and level words"):
        ScoringSpec.load(tmp_path)


GOOD = '{"form_version": 1, "levels": {"good": 2, "bad": 1}, "prompt": {}}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON .*save the checkpoint again"),
        ("[]", "holds no JSON object, but a list"),
        ("", r"is empty \(0 bytes\); fetch it again"),
        ('{"form_version": 9}', "form version 9, this release reads 1 and 2; update"),
        ('{"form_version": true}', "form version True, this release reads 1 and 2"),
        ("{}", r"is not a scoring file \(it has no form_version\)"),
        ('{"form_version": 1, "levels": {"a": 1, "b": 2}, "prompt": {}}', "must be finite and descend"),
        ('{"form_version": 1, "levels": {"a": 2, "b": 1}, "prompt": {"x": 1}}', "is not a scoring file .*'x'"),
        (
            '{"form_version": 1, "levels": ["a", "b"], "prompt": {}}',
            r"\(levels is \['a', 'b'\]\)",
        ),
        ('{"form_version": 1, "prompt": {}}', r"is not a scoring file \(levels is None\)"),
        (GOOD.replace('"prompt"', '"images": "upside_down", "prompt"'), "images 'upside_down'; use one of as_shown"),
        (
            GOOD.replace('"prompt"', '"imags": "as_stored", "prompt"'),
            "unknown key 'imags', known: form_version",
        ),
        # A word that stands twice would leave one level fewer, and other scores.
        (GOOD.replace('"bad": 1', '"bad": 1, "good": 0'), "the key 'good' stands twice"),
        (GOOD.replace('"bad": 1', '"bad": 1, "Good": 0'), "repeat a word, as 'good' and 'Good' differ in case or"),
        (GOOD.replace('"bad": 1', '"bad": 1, "good ": 0'), "the level word 'good ' begins or ends with white space"),
        (GOOD.replace("{}", '{"question": "a?", "question": "b?"}'), "the key 'question' stands twice"),
        (GOOD.replace("{}}", '{}, "levels": {"a": 2, "b": 1}}'), "the key 'levels' stands twice"),
        (GOOD.replace('"bad": 1', '"bad": 2'), "must be finite and descend"),
        (GOOD.replace('"bad": 1', '"bad": NaN'), "NaN is no finite number"),
        (GOOD.replace('"good": 2', '"good": Infinity'), "Infinity is no finite number"),
        (GOOD.replace('"good": 2', '"good": 1e999'), "1e999 is no finite number"),
        (GOOD.replace('"good": 2', '"good": 1' + "0" * 400), "a level value is too large for a number"),
        (GOOD.replace('"good": 2', '"good": 1' + "0" * 5000), "is not JSON .*limit"),
        (GOOD.replace('"good": 2', '"good": "2"'), "level value '2' is no number"),
        (GOOD.replace('"good": 2', '"good": true'), "level value True is no number"),
        (GOOD.replace('"good"', '""'), "the level word is ''; give it at least one character"),
        (GOOD.replace('"good"', '"go\\nod"'), r"the level word 'go\\nod' holds the character U\+000A"),
        (GOOD.replace('"good"', '"\\u001b[31mgood"'), r"holds the character U\+001B"),
        (GOOD.replace('"good"', '"go\\ud83dod"'), r"holds the character U\+D83D"),
        (GOOD.replace('"good"', f'"{"g" * 101}"'), "the level word has 101 characters .*; use 100 at most"),
        (GOOD.replace("{}", '{"question": ["a"]}'), r"prompt.question is \['a'\], which is no text"),
        (GOOD.replace("{}", '{"describe_question": " "}'), "prompt.describe_question is ' '; give it at least one"),
        (
            GOOD.replace("{}", '{"answer_prefix": "It\\nis"}'),
            r"answer_prefix 'It\\nis' holds the character U\+000A",
        ),
        (GOOD.replace("{}", '{"image_first": 1}'), "prompt.image_first is 1; it must be true or false"),
        (
            GOOD.replace("{}", f'{{"image_first": "{"a " * 5000}"}}'),
            r"image_first is 'a a [a ]*…; it must be true or fal",
        ),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        (GOOD + GOOD, "more text behind the value"),
        ("\ufeff" + GOOD, "begins with a byte order mark; write it as UTF-8 without one"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 512\n", "run `git lfs pull` in its folder"),
        ("<!DOCTYPE html><title>Sign in</title>", "is a web page titled 'Sign in', which a server sent in the place"),
    ],
)
def test_a_broken_scoring_file_is_one_line(content, message, tmp_path):
    (tmp_path / "artquant.json").write_text(content, encoding="utf-8")
    with pytest.raises(ArtQuantError, match=message) as raised:
        ScoringSpec.load(tmp_path)
    assert str(tmp_path / "artquant.json") in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("data", [b'{"form_version": 1, "levels": {"sch\xf6n": 2}}', GOOD.encode("utf-16")])
def test_a_scoring_file_in_another_encoding_is_one_line(data, tmp_path):
    (tmp_path / "artquant.json").write_bytes(data)
    with pytest.raises(ArtQuantError, match=r"artquant.json is not UTF-8 \(byte 0xf[6f] at \d+\); write it as UTF-8"):
        ScoringSpec.load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_scoring_file_that_is_a_pipe_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / "artquant.json")
    with pytest.raises(ArtQuantError, match="is no regular file"):
        ScoringSpec.load(tmp_path)


def test_a_scoring_file_whose_link_leads_nowhere_is_not_taken_for_none(tmp_path):
    (tmp_path / "artquant.json").symlink_to(tmp_path / "blobs" / "0123")
    with pytest.raises(ArtQuantError, match="is a link to a file that is not there; fetch it again"):
        ScoringSpec.load(tmp_path)


def test_questions_may_have_several_lines(tmp_path):
    spec = ScoringSpec(prompt=PromptSpec(question="How good is it?\n\t10: excellent", answer_prefix=""))
    spec.save(tmp_path)
    assert ScoringSpec.load(tmp_path) == spec


def without(saved: Path, folder: Path, *names: str) -> str:
    copy = folder / "copy"
    shutil.copytree(saved, copy)
    for name in names:
        (copy / name).unlink()
    return str(copy)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["config.json"], "holds no config.json"),
        (["model.safetensors"], "cannot be loaded .*no file named"),
        (["processor_config.json", "tokenizer.json", "tokenizer_config.json"], "has no whole processor; copy"),
    ],
)
def test_an_incomplete_checkpoint_is_one_line(missing, message, saved, tmp_path):
    with pytest.raises(ArtQuantError, match=message) as raised:
        load_checkpoint(without(saved, tmp_path, *missing))
    assert "\n" not in str(raised.value)


def test_a_config_of_another_kind_of_model_is_one_line(saved, tmp_path):
    folder = without(saved, tmp_path)
    (Path(folder) / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ArtQuantError, match="cannot be loaded") as raised:
        load_checkpoint(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["runs/none/there", "./none", "/none", "none"])
def test_a_path_that_is_not_there_is_no_hub_id(name):
    with pytest.raises(ArtQuantError, match="is no folder and no Hub id"):
        locate(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"dtype": "int8"}, "dtype 'int8' is unknown"), ({"dtype": "float16"}, "dtype float16 needs a GPU")],
)
def test_wrong_options_are_one_line(options, message, saved):
    with pytest.raises(ArtQuantError, match=message):
        load_checkpoint(str(saved), **options)
