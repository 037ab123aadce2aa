"""The code of a card runs as it is printed, for somebody who does not have this package."""

import json
import re
import subprocess
import sys

import pytest

from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import PromptSpec
from artquant_plugin.publish.scoring_code import LoadingRecipe, scoring_code
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.backbones.families import FAMILIES, family
from tests.backbones.mplug_owl2.original_folders import write_base
from tests.publish.client import environment
from tests.publish.conftest import TOKEN
from tests.publish.test_merge import TRAINED, adapted

# `None` in the place of a module makes importing it fail.
STRANGER = """
import contextlib, io, json, sys
sys.modules["artquant_plugin"] = None
printed = []
for code in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    printed.append(out.getvalue())
print("printed", json.dumps(printed))
"""


def lines_of(card: str) -> str:
    (code,) = re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)
    return code


def run_lines(codes: list[str], env: dict[str, str], folder) -> list[float]:
    finished = subprocess.run(
        [sys.executable, "-c", STRANGER, json.dumps(codes)],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return [float(text) for text in json.loads(finished.stdout.rpartition("printed ")[2])]


def engine_score(folder, image) -> float:
    return ArtQuantScorer(load_checkpoint(str(folder))).score([image])[0].score


@pytest.mark.slow
def test_the_lines_of_each_card_give_the_engines_score(desk, tmp_path):
    desk.done("base", "me/lines-whole", "--license", "mit")
    for name in ("adapter", "extra"):
        desk.done(desk.folders[name], f"me/lines-{name}", "--base", "me/base")
    desk.done(desk.folders["extra"], "me/lines-merged", "--base", "me/base", "--merge")
    names = ["whole", "adapter", "extra", "merged"]
    codes = [lines_of(desk.files(f"me/lines-{name}")["README.md"].decode()) for name in names]
    assert [code.count("\n") + 1 - code.count("\n\n") for code in codes] == [10, 12, 16, 10]
    assert not [code for code in codes if "artquant_plugin" in code or "trust_remote_code" in code]
    found = run_lines(codes, environment(desk.hub.url, tmp_path / "home", TOKEN), desk.root)
    folders = [desk.root / "base", desk.folders["adapter"], desk.folders["extra"], desk.folders["extra"]]
    expected = [engine_score(folder, desk.root / "painting.jpg") for folder in folders]
    assert found == pytest.approx(expected, abs=1e-5)
    assert len({round(score, 3) for score in expected}) == 3  # weights beside the adapter matter


OTHERS = [
    ("llava", ScoringSpec(images="as_stored")),
    ("llava", ScoringSpec(LevelScale(("bad bad", "bad good"), (2.0, 1.0)))),  # words that differ in a later token
    ("smolvlm", ScoringSpec(prompt=PromptSpec(image_first=False))),
]


@pytest.mark.parametrize(
    ("name", "spec"), [(name, ScoringSpec()) for name in sorted(set(FAMILIES) - {"mplug_owl2"})] + OTHERS
)
def test_lines_give_the_engines_score_in_every_family(name, spec, tmp_path, desk, monkeypatch):
    """The lines run in this process, since the test above has shown that they do not need this package."""
    save_checkpoint(tmp_path / "model", *family(name), spec)
    checkpoint = load_checkpoint(str(tmp_path / "model"))
    loading = LoadingRecipe(str(tmp_path / "model"), None, None, extra=False, known=True)
    code = scoring_code(loading, checkpoint.processor, spec)
    monkeypatch.chdir(desk.root)
    printed: list[float] = []
    exec(code, {"print": printed.append})
    expected = ArtQuantScorer(checkpoint).score([desk.root / "painting.jpg"])[0].score
    assert printed == pytest.approx([expected], abs=1e-4)


def test_an_adapter_of_the_papers_own_base_is_published_with_it(desk, tmp_path):
    base = write_base(tmp_path / "owl-base")
    desk.put("me/owl-base", {path.name: path.read_bytes() for path in base.iterdir()})
    adapted(base, tmp_path / "owl-adapter", TRAINED)
    desk.done(tmp_path / "owl-adapter", "me/owl-adapter", "--base", "me/owl-base", "--license", "other")
    assert "from artquant_plugin import" in lines_of(desk.files("me/owl-adapter")["README.md"].decode())
    picture, out = desk.root / "painting.jpg", tmp_path / "scores.jsonl"
    scored = desk.client.run("score", picture, "--model", "me/owl-adapter", "--device", "cpu", "--out", out)
    assert scored.code == 0, scored.err
    assert json.loads(out.read_text())["score"] == engine_score(tmp_path / "owl-adapter", picture)


def test_an_architecture_of_our_own_needs_this_package_and_the_card_says_so(desk, tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "owl", *family("mplug_owl2"), ScoringSpec())
    desk.done(tmp_path / "owl", "me/owl", "--license", "mit")
    card = desk.files("me/owl")["README.md"].decode()
    code = lines_of(card)
    assert "`transformers` does not know this architecture; the package artquant-plugin brings it:" in card
    assert "from artquant_plugin import ArtQuantScorer" in code and code.count("\n") == 3
    monkeypatch.chdir(desk.root)
    printed: list[float] = []
    exec(code.replace("me/owl", str(tmp_path / "owl")), {"print": printed.append})
    assert printed == [engine_score(tmp_path / "owl", desk.root / "painting.jpg")]
