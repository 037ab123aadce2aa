import json
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


def test_a_checkpoint_without_scoring_file_is_scored_with_the_defaults(tmp_path):
    assert ScoringSpec.load(tmp_path) == ScoringSpec()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a scoring file"),
        ("[]", "is not a scoring file"),
        ('{"form_version": 9}', "form version 9, this release reads 1; update"),
        ('{"form_version": 1, "levels": {"a": 1, "b": 2}, "prompt": {}}', "must be finite and descend"),
        ('{"form_version": 1, "levels": {"a": 2, "b": 1}, "prompt": {"x": 1}}', "is not a scoring file"),
    ],
)
def test_a_broken_scoring_file_is_one_line(content, message, tmp_path):
    (tmp_path / "artquant.json").write_text(content)
    with pytest.raises(ArtQuantError, match=message):
        ScoringSpec.load(tmp_path)


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
