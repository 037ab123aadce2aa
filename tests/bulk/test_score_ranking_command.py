"""`artquant score --top`, `--sort`, `--json` and `--sheet` as users meet them, with a file and without one."""

import csv
import json
import re

import pytest

from artquant_plugin.cli import main
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.cli.test_cli import fails


@pytest.fixture
def score(tiny_folder, paintings, capsys, tmp_path, monkeypatch):
    """Runs the command on ten pictures and a broken one; its output, and what stands on the error stream."""
    monkeypatch.chdir(tmp_path)
    (paintings / "z.png").write_text("<html>")

    def run(*arguments: object, code: int = 0) -> tuple[str, str]:
        command = ["score", "paintings", "--model", str(tiny_folder), "--device", "cpu", *map(str, arguments)]
        assert main(command) == code
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


@pytest.fixture
def expected(tiny_folder, paintings) -> list[str]:
    """The paths of the ten pictures, best first, as the scorer itself scores them."""
    scorer = ArtQuantScorer.from_pretrained(str(tiny_folder), device="cpu")
    paths = sorted(paintings.rglob("*.png"))
    scores = zip(scorer.score(paths), paths, strict=True)
    return [
        f"paintings/{path.relative_to(paintings)}" for _, path in sorted((-one.score, path) for one, path in scores)
    ]


def test_without_a_file_the_best_rows_are_printed_or_all_in_order(expected, score):
    out, err = score("--top", 3)
    assert [line.split()[-1] for line in out.splitlines()] == ["path", *expected[:3]]
    assert "scored 10, failed 1" in err and "z.png' is no image" in err
    out, err = score("--sort")
    lines = out.splitlines()
    assert [line.split()[-1] for line in lines[1:11]] == expected
    assert lines[11].split()[0] == "-" and "z.png' is no image" in lines[11]


def test_json_is_alone_on_the_output(expected, score):
    out, err = score("--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [list(row) for row in rows] == [["path", "score", "levels", "entropy", "reason"]] * 11
    assert {row["path"] for row in rows[:10]} == set(expected) and rows[10]["score"] is None
    assert "scored 10, failed 1" in err
    out, err = score("--json", "--top", 2, "--out", "s.csv", "--sheet", "s.html")
    assert [json.loads(line)["path"] for line in out.splitlines()] == expected[:2]
    assert "s.csv" in err and "s.html" in err


def test_a_file_keeps_every_row_and_a_finished_one_is_ranked_without_the_model(expected, score, tmp_path, monkeypatch):
    score("--out", "s.csv")
    monkeypatch.setattr(ArtQuantScorer, "from_pretrained", None)  # nothing is to be loaded from here on
    out, _ = score("--out", "s.csv", "--top", 2, "--sheet", "s.html")
    assert out.startswith("scored 10, failed 1\nnothing to do")
    assert [line.split()[-1] for line in out.splitlines()[-3:]] == [*expected[:2], "s.html"]
    page = (tmp_path / "s.html").read_text()
    names = re.findall(r'class="name">(.*?)<', page)
    folder = re.findall(r"<dd>(paintings/.*?)</dd>", page)[0]
    assert [folder + name for name in names] == expected[:2]
    assert "z.png" in page and page.count("data:image/jpeg") == 2
    with (tmp_path / "s.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 11
    assert "whose rows are sorted now" in score("--out", "s.csv", "--sort")[0]
    with (tmp_path / "s.csv").open() as file:
        assert [row["path"] for row in csv.DictReader(file)] == [*expected, "paintings/z.png"]


def test_shards_are_ranked_as_a_file_is(expected, score):
    out, _ = score("--out", "shards/", "--shard-size", 4, "--top", 4, "--json", "--strict", code=2)
    assert [json.loads(line)["path"] for line in out.splitlines()] == expected[:4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sort", "--out", "shards/"), "--sort orders one file, and shards keep the input's order; pass --out FILE"),
        (("--sheet", "s.png"), "--sheet 's.png' is no local path that ends with .html"),
        (("--sheet", "t.html"), "'t.html' exists and is no contact sheet"),
        (("--top", "0"), "'0' is not a whole number from 1"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_scored(
    options, message, paintings, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.html").write_text("mine")
    assert message in fails(capsys, "score", "paintings", "--model", "m", *options)


def test_a_process_among_several_ranks_nothing(paintings, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    message = fails(capsys, "score", str(paintings), "--model", "m", "--out", "s/", "--top", "3")
    assert "--top needs all rows, and each of the 2 processes has a share; leave it out, and run the same" in message
