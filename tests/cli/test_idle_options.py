"""Options that would be taken and ignored are refused by name, with the remedy."""

import argparse

import pytest

from artquant_plugin.cli import build_parser
from artquant_plugin.cli.idle_options import IdleOptions, Noted
from tests.cli.test_cli import fails

SCORE = ("score", "a.png", "--model", "m")
IMPORT = ("data", "import", "csv", "--annotations", "t.csv", "--images", ".", "--name", "n", "--score-range", "0", "9")
SERVER = "--endpoint"
IDLE = [
    (
        (*SCORE, "--prompt", "prefill"),
        "--prompt does nothing without --endpoint; pass --endpoint URL to score through",
    ),
    ((*SCORE, "--concurrency", "16"), "--concurrency does nothing without --endpoint"),
    ((*SCORE, "--min-level-mass=0.1"), "--min-level-mass does nothing without --endpoint"),
    ((*SCORE, "--level-tokens", "a,b"), "--level-tokens does nothing without --endpoint"),
    ((*SCORE, "--extra-body", "{}"), "--extra-body does nothing without --endpoint"),
    (
        (*SCORE, SERVER, "http://x/v1", "--dtype", "auto"),
        "--dtype does nothing with --endpoint, whose server holds the",
    ),
    ((*SCORE, SERVER, "http://x/v1", "--device", "cpu"), "set it where the server is started, or leave --device out"),
    ((*SCORE, SERVER, "http://x/v1", "--compile"), "--compile does nothing with --endpoint"),
    (
        (*SCORE, "--actors", "2"),
        "--actors does nothing without --engine ray; pass --engine ray, or leave --actors out",
    ),
    ((*SCORE, "--shard-size", "10000"), "--shard-size does nothing without a folder of shards; pass --out FOLDER/"),
    ((*SCORE, "--shard-size", "5", "--out", "s.csv"), "--shard-size does nothing without a folder of shards"),
    ((*SCORE, "--overwrite"), "--overwrite does nothing without --out; pass --out, or leave --overwrite out"),
    (("describe", "a.png", "--model", "m", "--overwrite"), "--overwrite does nothing without --out"),
    (("metrics", "p.csv", "--truth", "baid", "--score-column", "x"), "--score-column does nothing without a file of"),
    (
        ("metrics", "p.csv", "--truth", "t.csv", "--resamples", "0", "--seed", "0"),
        "--seed does nothing with --resamples 0",
    ),
    (("results", ".", "--resamples", "0", "--seed", "1"), "--seed does nothing with --resamples 0"),
    (("compare", "a", "b", "--truth-image-column", "x"), "--truth-image-column does nothing without a file of human"),
    (("report", "a", "--score-column", "score"), "--score-column does nothing without a file of human scores"),
    (("report", "a", "--title", "T"), "--title does nothing without --out; pass --out FOLDER for a page"),
    (("report", "a", "--images", "."), "--images does nothing without --out"),
    (("report", "a", "--workers", "2"), "--workers does nothing without --out"),
    ((*IMPORT, "--split-column", "s", "--seed", "0"), "--seed does nothing with --split-column"),
    ((*IMPORT, "--split-column", "s", "--test-fraction", "0.2"), "--test-fraction does nothing with --split-column"),
]


@pytest.mark.parametrize(("arguments", "message"), IDLE, ids=[message.partition(";")[0][:60] for _, message in IDLE])
def test_an_option_that_would_do_nothing_is_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *arguments)


def test_the_same_option_passes_where_it_does_something(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shards").mkdir()
    for arguments in (
        (*SCORE, "--shard-size", "5", "--out", "shards"),
        (*SCORE, "--overwrite", "--out", "s.csv"),
        ("metrics", "p.csv", "--truth", "t.csv", "--seed", "1"),
    ):
        assert "does nothing" not in fails(capsys, *arguments)


def commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and those of all its sub-commands."""
    nested = [action.choices.values() for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(below for group in nested for one in group for below in commands(one))]


def test_every_option_of_a_table_exists_and_has_no_default_that_hides_it():
    checked = 0
    for parser in commands(build_parser()):
        entries: tuple[IdleOptions, ...] = parser.get_default("idle_options") or ()
        for option in (option for entry in entries for option in entry.options):
            action = parser._option_string_actions[option]
            assert action.default in (None, False, []) or isinstance(action, Noted), f"{parser.prog} {option}"
            checked += 1
    assert checked >= len({message.split()[0] for _, message in IDLE})
