"""`artquant rad` as a user meets it: what is refused before money is spent, the preview, the status."""

import json
import socket
from pathlib import Path

import pytest

from artquant_plugin.cli import main
from artquant_plugin.common.config import read_config
from artquant_plugin.train.rad.config import RadConfig
from artquant_plugin.train.rad.store import STORE_FILE
from tests.cli.test_cli import fails
from tests.peers.local_llm import LocalLLM
from tests.train.rad.runs import dataset, script

NO_KEYS = ("--set", "generator.api_key_env=null", "--set", "judge.api_key_env=null")


@pytest.fixture
def data(tmp_path):
    return dataset(tmp_path / "data")


def at(url):
    return (*NO_KEYS, "--set", f"generator.base_url={url}", "--set", f"judge.base_url={url}")


def refused(capsys, tmp_path, data, *arguments):
    """The one line of a run that is refused; nothing was asked."""
    with LocalLLM(script()) as llm:
        url = () if any("base_url" in argument for argument in arguments) else at(llm.url)
        line = fails(capsys, "rad", "generate", "--data", str(data), "--out", str(tmp_path / "run"), *url, *arguments)
        assert not llm.requests
    return line


def test_paintings_are_described_and_the_summary_says_so(tmp_path, data, capsys):
    with LocalLLM(script()) as llm:
        assert main(["rad", "generate", "--data", str(data), "--out", str(tmp_path / "run"), *at(llm.url)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pending 0, refining 0, accepted 6, failed 0"
    assert main(["rad", "status", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "greys: gpt-4o-2024-11-20 describes, deepseek-chat judges"
    assert "after 1 round: 6 accepted, 0 failed" in lines
    assert any(line.startswith("generator ok: 6 requests, 6,000 + 6 tokens, cost 0.015") for line in lines)


def test_an_unreadable_image(tmp_path, data, capsys):
    (data / "images" / "3.jpg").write_bytes(b"no image")
    line = refused(capsys, tmp_path, data)
    assert "3.jpg' is no image but" in line and "--allow-missing" in line


def test_a_disk_that_fails_is_no_paintings_fault(tmp_path, data, capsys):
    (data / "images" / "3.jpg").unlink()
    (data / "images" / "3.jpg").symlink_to("/proc/self/mem")  # reading it fails with EIO
    line = refused(capsys, tmp_path, data)
    assert "3.jpg' cannot be read: Input/output error" in line and "--allow-missing" not in line


def test_missing_images(tmp_path, data, capsys):
    for number in (1, 4):
        (data / "images" / f"{number}.jpg").unlink()
    line = refused(capsys, tmp_path, data)
    assert "1.jpg' does not exist" in line and "(1 more cannot be read)" in line


@pytest.mark.parametrize("score", [None, float("nan"), "high", 11.0])
def test_a_missing_score(tmp_path, data, capsys, score):
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    rows[2]["score"] = score
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "train.jsonl:3: score" in refused(capsys, tmp_path, data)


def test_an_empty_dataset(tmp_path, data, capsys):
    (data / "train.jsonl").write_text("")
    info = json.loads((data / "dataset.json").read_text())
    info["splits"]["train"]["n"] = 0
    info["files"] = {}  # whoever edits a split by hand is warned of it otherwise
    (data / "dataset.json").write_text(json.dumps(info))
    assert "the dataset has no paintings" in refused(capsys, tmp_path, data)


def test_no_dataset(tmp_path, capsys):
    assert "artquant data import" in refused(capsys, tmp_path, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("generator.concurency=3", "unknown key 'generator.concurency'; did you mean 'concurrency'?"),
        ("generator.concurrency=0", "generator.concurrency: "),
        ("generator.parameters.model=x", "'model' is set by the run itself"),
        ("generator.api_key_env=sk-123", "the name of an environment variable, not the key itself"),
        ("judge.mode=strict", "judge.mode: "),
        ("prompts=nowhere.yaml", "no configuration 'nowhere.yaml'"),
        ("generator.base_url=https://me:pw@host/v1", "an address with a password would be saved"),
        ("generator.base_url=https://me:sk-123/:pw@host/v1", "an address with a password would be saved"),
        ("judge.base_url=https://host/v1?api_key=sk-123", "an address with a password would be saved"),
        ("judge.base_url=https://host:sk-123/v1", "no address with a host"),
        ("judge.parameters.api_key=sk-123", "a key among them would be saved"),
    ],
)
def test_a_configuration_that_cannot_be(tmp_path, data, capsys, override, said):
    line = refused(capsys, tmp_path, data, "--set", override)
    assert said in line
    assert "sk-123" not in line and ":pw@" not in line


def test_the_shipped_configuration_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (Path("rad.yaml"), Path("configs/rad.yaml")):
        config = read_config(RadConfig, path)
        assert (config.generator.model, config.judge.model, config.judge.mode) == (
            "gpt-4o-2024-11-20",
            "deepseek-chat",
            "consistency",
        )


def test_one_model_cannot_judge_itself(tmp_path, data, capsys):
    line = refused(capsys, tmp_path, data, "--set", "judge.model=gpt-4o-2024-11-20")
    assert "generator and judge are the same model" in line
    assert ": :" not in line


def test_a_missing_key(tmp_path, data, capsys, monkeypatch):
    monkeypatch.delenv("ART_KEY", raising=False)
    line = refused(capsys, tmp_path, data, "--set", "judge.api_key_env=ART_KEY")
    assert "$ART_KEY is not set, and judge.api_key_env names it" in line


@pytest.mark.parametrize("key", ["sk-gehe\u00edm", "sk-secret\nsk-other"])
def test_a_key_that_cannot_be_sent_is_told_without_it(tmp_path, data, capsys, monkeypatch, key):
    monkeypatch.setenv("ART_KEY", key)
    line = refused(capsys, tmp_path, data, "--set", "generator.api_key_env=ART_KEY", "--set", "judge.api_key_env=null")
    assert "$ART_KEY holds what no key does" in line and "sk-" not in line


def test_an_endpoint_that_is_not_there(tmp_path, data, capsys):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with LocalLLM(script()) as llm:
        there = ("--set", f"generator.base_url={llm.url}", "--set", f"judge.base_url=http://127.0.0.1:{port}/v1")
        line = refused(capsys, tmp_path, data, *NO_KEYS, *there)
    assert "no answer from judge" in line and "start the server or mend judge.base_url" in line
    assert not llm.requests


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--limit", "0"), "--limit 0 is not positive"),
        (("--split", "tset"), "no split 'tset'; it has train"),
        (("--max-cost", "-1"), "--max-cost -1 is not positive"),
        (("--max-cost", "5", "--set", "generator.parameters={}"), "set generator.parameters.max_tokens"),
        (
            ("--max-cost", "5", "--set", "generator.price={}", "--set", "judge.price={}"),
            "--max-cost needs prices",
        ),
    ],
)
def test_options_that_cannot_be(tmp_path, data, capsys, arguments, said):
    assert said in refused(capsys, tmp_path, data, *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--limit", "-1"), "--limit -1 is not positive"),
        (("--split", "tset"), "no split 'tset'; it has train"),
        (("--max-cost", "-1"), "--max-cost -1 is not positive"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(data, capsys, arguments, said):
    assert said in fails(capsys, "rad", "generate", "--data", str(data), "--dry-run", *arguments)


def test_a_dry_run_shows_prompts_and_cost_and_sends_nothing(tmp_path, data, capsys):
    with LocalLLM(script()) as llm:
        assert main(["rad", "generate", "--data", str(data), "--dry-run", *at(llm.url)]) == 0
        assert not llm.requests
    output = capsys.readouterr().out
    assert "6 paintings; the first one, '0.jpg' of train:" in output
    assert "[the picture]\nViewers' rating: 1.25. It is higher than 8 % of the works: well below the average" in output
    assert "cost: about 0.0" in output and "3 rounds each" in output
    assert list(tmp_path.iterdir()) == [data]


def test_without_out_there_is_no_run(data, capsys):
    assert "--out is missing" in fails(capsys, "rad", "generate", "--data", str(data))


def test_the_status_of_what_is_no_run(tmp_path, capsys):
    assert f"holds no {STORE_FILE}" in fails(capsys, "rad", "status", str(tmp_path))
    (tmp_path / STORE_FILE).write_bytes(b"something else, of some length, which is no database at all")
    assert "is no store of a RAD run" in fails(capsys, "rad", "status", str(tmp_path))
