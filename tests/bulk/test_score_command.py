"""`artquant score` and `artquant describe` as users meet them."""

import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from pyarrow import parquet

from artquant_plugin.cli import main
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.cli.test_cli import fails
from tests.paths import ROOT
from tests.peers.logprob_server import LogprobServer


@pytest.fixture
def score(tiny_folder, capsys):
    def run(*arguments: object, code: int = 0) -> str:
        assert main(["score", *map(str, arguments), "--model", str(tiny_folder), "--device", "cpu"]) == code
        return capsys.readouterr().out

    return run


def test_counts_stand_first_and_rows_are_the_scorers_own(score, paintings, tiny_folder, tmp_path):
    (paintings / "z.png").write_text("<html>")
    lines = score(paintings, "--out", tmp_path / "s.csv").splitlines()
    assert lines[0] == "scored 10, failed 1"
    assert "z.png' is no image" in lines[1]
    assert re.fullmatch(r"11 images in \S+ s \(\S+ images/s, loading included\)", lines[2])
    assert lines[3] == str(tmp_path / "s.csv")
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "score", "excellent", "good", "fair", "poor", "bad", "entropy", "reason"]
    scorer = ArtQuantScorer.from_pretrained(str(tiny_folder), device="cpu")
    expected = [result.score for result in scorer.score([row["path"] for row in rows[:10]])]
    assert [float(row["score"]) for row in rows[:10]] == pytest.approx(expected, abs=1e-5)


def test_a_rerun_says_that_nothing_is_to_do_and_another_model_is_refused(score, paintings, tmp_path, capsys):
    from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
    from artquant_plugin.train.tiny import build_tiny_model
    from tests.tiny import SIZES, tiny_texts

    out = str(tmp_path / "s.parquet")
    score(paintings, "--out", out, "--batch-size", 3)
    assert "nothing to do" in score(paintings, "--out", out, "--batch-size", 5)
    other = tmp_path / "other"
    save_checkpoint(other, *build_tiny_model(SIZES, tiny_texts(), seed=1), ScoringSpec())
    arguments = ("score", str(paintings), "--model", str(other), "--device", "cpu", "--out", out)
    capsys.readouterr()
    message = fails(capsys, *arguments)
    assert re.search(
        r"made from something else: model.name .*model.files.model.safetensors .* -> .*--overwrite", message
    )
    assert main([*arguments, "--overwrite"]) == 0


def test_strict_makes_failures_an_error_after_everything_is_written(score, paintings, tmp_path, capsys):
    (paintings / "z.png").write_text("")
    out = tmp_path / "s.jsonl"
    score(paintings, "--out", out, "--strict", code=2)
    assert len(out.read_text().splitlines()) == 11
    assert main(["score", str(paintings / "z.png"), "--model", "m", "--strict"]) == 2


def test_without_out_a_table_is_printed(score, paintings):
    (paintings / "z.png").write_text("")
    lines = score(paintings).splitlines()
    assert lines[0].split() == ["score", "excellent", "good", "fair", "poor", "bad", "entropy", "path"]
    assert len(lines) == 12
    assert lines[1].endswith("0.png") and lines[-1].split()[:2] == ["-", "-"]
    assert len({line.index(str(paintings)) for line in lines[1:]}) == 1


def test_names_control_no_terminal(score, describe, paintings, tmp_path, capsys):
    name = os.fsdecode(b"z\x1b]0;owned\x07\xc2\x9b2J\xe2\x80\xae\xff.png")
    (paintings / name).write_text("<html>")
    shown = r"z\x1b]0;owned\x07\x9b2J\u202e\udcff.png"  # the last byte is no UTF-8, which tables are
    assert shown in score(paintings)
    assert shown in score(paintings, "--out", tmp_path / "s.csv")
    assert shown in describe(paintings / name)
    assert describe(paintings / name, "--out", tmp_path / "d.jsonl").startswith("described 0, failed 1")
    assert "failed 1" in score(paintings / name, "--out", tmp_path / "one.jsonl")
    assert main(["score", str(paintings / "no\x1b.png"), "--model", "m"]) == 2
    assert r"no\x1b.png' does not exist" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(tiny_folder, paintings):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "artquant_plugin.cli", "score", str(paintings), "--model", str(tiny_folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_the_rows_of_a_dataset_join_with_its_scores(score, paintings, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "home"))
    (tmp_path / "t.csv").write_text("file,mos\n" + "".join(f"early/{i}.png,{i}\n" for i in range(4)))
    columns = ("--name", "mine", "--image-column", "file", "--score-column", "mos", "--score-range", "0", "10")
    paths = ("--annotations", str(tmp_path / "t.csv"), "--images", str(paintings), "--test-fraction", "0.75")
    assert main(["data", "import", "csv", *columns, *paths]) == 0
    score("mine:test", "--out", tmp_path / "s.csv")
    join = ("--truth", "mine:test", "--image-column", "path", "--prediction-column", "score", "--resamples", "0")
    assert main(["metrics", str(tmp_path / "s.csv"), *join]) == 0
    assert capsys.readouterr().out.startswith("n      3 of 3\n")


def test_an_option_may_be_mended_when_nothing_was_scored_yet(score, paintings, tmp_path):
    (paintings / "m.csv").write_text("file\nearly/1.png\n")
    for out in (tmp_path / "s.csv", f"{tmp_path}/s/"):
        score(paintings / "m.csv", "--out", out, code=2)
        assert score(paintings / "m.csv", "--out", out, "--image-column", "file").startswith("scored 1, failed 0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("empty", "--out", "s.csv"), "no image is in 'empty' or below it"),
        (("a.png", "--out", "s.xlsx"), "--out 's.xlsx' ends with none of .parquet, .csv, .jsonl, nor with /"),
        (("a.png", "--out", "scores"), "--out 'scores' ends with none of"),
        (("a.png", "--out", "hf://datasets/a/b/s.csv"), "is not a local path"),
        (("a.png", "--out", "s.csv", "--model", "gone"), "checkpoint 'gone' is no folder and no Hub id"),
        (("a.png", "--model", "empty"), "'empty' holds no config.json"),
        (("m.csv", "--out", "s.csv"), "'m.csv' has no column 'image', only file, mos; pass --image-column"),
        (("a.png", "--out", "m.csv/s.csv"), "'m.csv/s.csv' cannot be written"),
        (("a.png", "--out", "m.csv/s/"), "'m.csv/s' cannot be written"),
        (("a.png", "--batch-size", "0"), "'0' is not a whole number from 1"),
        (
            ("a.png", "--engine", "ray", "--out", "s.csv"),
            "--engine ray writes shards, not one file; pass --out FOLDER/",
        ),
        (("a.png", "--endpoint", "http://127.0.0.1:9/v1"), "no answer from 'http://127.0.0.1:9/v1'"),
        (("a.png", "--endpoint", "http://x/v1", "--level-tokens", "a,b"), "2 level tokens for 5 levels"),
        (("a.png", "--endpoint", "x", "--extra-body", "{"), "--extra-body is not JSON"),
        (("a.png", "--endpoint", "x", "--extra-body", "[]"), "--extra-body is list, not an object"),
        (("a.png", "--endpoint", "x", "--scoring-file", "m.csv"), "scoring file 'm.csv' is no artquant.json"),
        (("a.png", "--endpoint", "x", "--scoring", "dequa"), "is no preset and no file; did you mean 'deqa'? presets"),
        (("a.png", "--endpoint", "x", "--engine", "ray", "--out", "s/"), "exclude each other"),
    ],
)
def test_errors_are_one_line(arguments, message, tiny_folder, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    (tmp_path / "empty").mkdir()
    (tmp_path / "m.csv").write_text("file,mos\na.png,1\n")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    if not {"--scoring", "--scoring-file"} & set(arguments) and "--endpoint" in arguments:
        arguments = (*arguments, "--scoring-file", str(tiny_folder))
    model = () if "--model" in arguments else ("--model", str(tiny_folder))
    assert message in fails(capfd, "score", *arguments, *model)
    assert not (tmp_path / "s.csv").exists()


def test_several_processes_need_a_folder(tiny_folder, paintings, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    message = fails(capsys, "score", str(paintings), "--model", str(tiny_folder), "--out", "s.csv")
    assert "2 processes write shards, not one file; pass --out FOLDER/" in message


def test_scores_through_a_server_take_the_key_from_the_environment_alone(paintings, tmp_path, monkeypatch, capsys):
    def answer(body):
        return [(" good", -0.1), (" bad", -3.0)]

    arguments = ["score", str(paintings), "--model", "served", "--out", str(tmp_path / "s.csv"), "--endpoint"]
    assert main([*arguments, "http://127.0.0.1:9/v1"]) == 2  # a served model tells nobody how it was trained
    assert "nothing says what checkpoint 'served' is asked" in capsys.readouterr().err
    assert main([*arguments, "http://127.0.0.1:9/v1", "--scoring", "deqa"]) == 2
    assert "writes the conversation with its own template, and a server uses that of its" in capsys.readouterr().err
    arguments[1:1] = ["--scoring", "artquant"]
    with LogprobServer(answer, key="secret") as server:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        assert main([*arguments, server.url]) == 2
        assert "wants a key in $OPENAI_API_KEY" in capsys.readouterr().err
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        assert main([*arguments, server.url]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("scored 10, failed 0\n")
    assert "secret" not in captured.out + captured.err + (tmp_path / "s.csv.run.json").read_text()
    assert {body["model"] for body in server.bodies} == {"served"}


def test_the_record_says_which_preset_was_used(tiny_folder, paintings, tmp_path, capsys):
    out = tmp_path / "s.csv"
    arguments = ["score", str(paintings / "early"), "--model", str(tiny_folder), "--out", str(out)]
    assert main([*arguments, "--scoring", "artquant"]) == 0
    options = json.loads((tmp_path / "s.csv.run.json").read_text())["options"]
    assert (options["scoring"], options["levels"]["good"]) == ("artquant", 7.5)
    capsys.readouterr()
    assert main(arguments) == 2
    assert "was made from something else: options" in capsys.readouterr().err


def test_levels_and_values_of_a_server_come_from_the_scoring_file(paintings, tmp_path):
    from artquant_plugin.checkpoint import ScoringSpec
    from artquant_plugin.prompting.levels import LevelScale
    from artquant_plugin.prompting.prompter import PromptSpec

    folder = tmp_path / "checkpoint"
    folder.mkdir()
    ScoringSpec(LevelScale(("fine", "poor"), (5.0, 1.0)), PromptSpec(question="Fine?")).save(folder)
    arguments = ["score", str(paintings / "early"), "--out", str(tmp_path / "s.csv"), "--min-level-mass", "0.5"]
    with LogprobServer(lambda body: [(" fine", math.log(0.6)), (" poor", math.log(0.2))]) as server:
        assert main([*arguments, "--endpoint", server.url, "--model", "m", "--scoring-file", str(folder)]) == 0
        by_folder = [
            *arguments[:2],
            "--out",
            str(tmp_path / "t.csv"),
            "--endpoint",
            server.url,
            "--model",
            str(folder),
        ]
        assert main(by_folder) == 0
    assert {body["messages"][0]["content"][1]["text"] for body in server.bodies} == {"Fine?"}
    for name in ("s.csv", "t.csv"):
        with (tmp_path / name).open() as file:
            rows = list(csv.DictReader(file))
        assert [float(row["score"]) for row in rows] == pytest.approx([0.75 * 5 + 0.25 * 1] * 4)
        assert (float(rows[0]["level_mass"]), float(rows[0]["score_bound"])) == pytest.approx((0.8, 0.0))


def test_ray_that_is_not_installed_is_one_line(tiny_folder, paintings, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)  # what Python itself does for a module that must not be imported
    arguments = ("--model", str(tiny_folder), "--engine", "ray", "--out", f"{tmp_path}/s/")
    assert "pip install 'artquant-plugin[ray]'" in fails(capsys, "score", str(paintings), *arguments)


@pytest.fixture
def describe(tiny_folder, capsys):
    def run(*arguments: object, code: int = 0) -> str:
        options = ("--model", str(tiny_folder), "--device", "cpu", "--max-new-tokens", "8")
        assert main(["describe", *map(str, arguments), *options]) == code
        return capsys.readouterr().out

    return run


def test_descriptions_are_printed_or_written(describe, paintings, tmp_path):
    (paintings / "z.png").write_text("")
    printed = describe(paintings / "early", paintings / "z.png")
    assert printed.startswith(f"{paintings}/early/0.png\n") and "z.png' is no image" in printed
    assert describe(paintings, "--out", tmp_path / "d.jsonl").startswith("described 10, failed 1\n")
    rows = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows] == [["path", "text", "perception", "cognition", "emotion", "reason"]] * 11
    assert isinstance(rows[0]["text"], str) and rows[0]["reason"] is None
    assert rows[10]["text"] is None and "is no image" in rows[10]["reason"]
    describe(paintings / "z.png", "--strict", code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "'nothing' is no file, no folder"),
        (("a.png", "--out", "d.csv"), "--out 'd.csv' does not end with .jsonl"),
        (("a.png", "--out", "old.jsonl"), "'old.jsonl' exists; pass --overwrite"),
        (("a.png", "--max-new-tokens", "0"), "--max-new-tokens 0 is not positive"),
        (("a.png", "--model", "gone"), "checkpoint 'gone' is no folder"),
    ],
)
def test_errors_of_describe_are_one_line(arguments, message, tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "home"))
    (tmp_path / "a.png").write_text("")
    (tmp_path / "old.jsonl").write_text("")
    assert message in fails(capsys, "describe", "--model", str(tiny_folder), *arguments)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_a_second_one_waits_its_turn(tiny_folder, tmp_path, capsys):
    from tests.tiny import pictures

    folder = tmp_path / "in"
    folder.mkdir()
    for index, picture in enumerate(pictures(3000, size=(200, 200))):
        picture.save(folder / f"{index:04d}.png", compress_level=0)
    out = tmp_path / "s.parquet"
    arguments = ["score", str(folder), "--model", str(tiny_folder), "--device", "cpu", "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "artquant_plugin.cli", *arguments], env=environment)
    journal = tmp_path / ".s.parquet.partial.jsonl"
    try:
        deadline = time.monotonic() + 120
        while not journal.exists() or journal.stat().st_size < 20_000:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        assert "another process is writing" in fails(capsys, *arguments)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = journal.read_bytes().count(b"\n") - 1  # the first line says what the rows are made from
    assert 0 < done < 3000
    assert main(arguments) == 0
    assert f"{done:,} of them by earlier runs" in capsys.readouterr().out
    assert parquet.read_table(out)["path"].to_pylist() == sorted(map(str, folder.iterdir()))
