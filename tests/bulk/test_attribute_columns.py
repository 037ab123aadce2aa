"""`artquant score --attributes`: columns beside the score, in every kind of output, and in its record."""

import csv
import json

import pytest
from pyarrow import parquet

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from artquant_plugin.cli import main
from artquant_plugin.prompting.attributes import attribute_spec
from artquant_plugin.prompting.levels import LEVEL_NAMES, LEVEL_VALUES
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.cli.test_cli import fails
from tests.tiny import tiny_llava

NAMES = ("Light and shadow", "Color")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny checkpoint that has two attributes."""
    folder = tmp_path_factory.mktemp("attributes")
    spec = ScoringSpec(attributes=tuple(attribute_spec(name, LEVEL_VALUES) for name in NAMES))
    save_checkpoint(folder, *tiny_llava(), spec)
    return folder


@pytest.fixture
def score(folder, capsys):
    def run(*arguments: object) -> str:
        assert main(["score", *map(str, arguments), "--model", str(folder), "--device", "cpu"]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def expected(folder, paintings):
    """The attributes' scores of each picture, in the order of the paths."""
    scorer = ArtQuantScorer.from_pretrained(str(folder), device="cpu")
    return [found.attributes for found in scorer.score(sorted(paintings.rglob("*.png")), attributes=True)]


def test_csv_jsonl_parquet_and_shards_have_a_column_for_each(score, expected, paintings, tmp_path):
    (paintings / "z.png").write_text("<html>")
    columns = ["path", "score", *LEVEL_NAMES, "entropy", *NAMES, "reason"]
    for name in ("s.csv", "s.jsonl", "s.parquet", "shards/"):
        score(paintings, "--out", f"{tmp_path}/{name}", "--attributes")
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == columns
    assert rows[-1]["Color"] == "" and rows[-1]["reason"]
    for row, found in zip(rows, expected, strict=False):
        assert {name: float(row[name]) for name in NAMES} == pytest.approx(found, abs=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert lines[0].keys() == {"path", "score", "levels", "entropy", *NAMES, "reason"}
    for path in (tmp_path / "s.parquet", tmp_path / "shards" / "shard-000000.parquet"):
        table = parquet.read_table(path)
        assert table.column_names == columns
        assert table["Color"].to_pylist()[:3] == pytest.approx([found["Color"] for found in expected[:3]], abs=1e-5)


def test_the_record_names_them_so_that_others_are_another_run(score, folder, paintings, tmp_path, capsys):
    out = tmp_path / "s.csv"
    score(paintings, "--out", out, "--attributes", "Color")
    record = json.loads((tmp_path / "s.csv.run.json").read_text())
    assert record["options"]["attribute_columns"] == ["Color"]
    assert "nothing to do" in score(paintings, "--out", out, "--attributes", "Color")
    arguments = ("score", str(paintings), "--model", str(folder), "--device", "cpu", "--out", str(out))
    for others in (("--attributes",), ("--attributes", "Light and shadow"), ()):
        assert "made from something else: options.attribute_columns" in fails(capsys, *arguments, *others)


def test_without_the_option_nothing_has_changed(score, paintings, tmp_path):
    score(paintings, "--out", tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().splitlines()[0].endswith("entropy,reason")
    assert "attribute_columns" not in json.loads((tmp_path / "s.csv.run.json").read_text())["options"]


def test_a_table_on_the_terminal_has_them_too(score, paintings, expected):
    head, first, *_ = score(paintings, "--attributes", "Color").splitlines()
    assert head.split()[-2:] == ["Color", "path"]
    assert float(first.split()[-2]) == pytest.approx(expected[0]["Color"], abs=1e-3)


def test_an_attribute_that_is_not_there_is_one_line_before_anything_is_loaded(folder, tiny_folder, paintings, capsys):
    common = ("score", str(paintings), "--device", "cpu", "--model")
    assert "did you mean 'Color'?" in fails(capsys, *common, str(folder), "--attributes", "Colour")
    assert "has no attributes, since it was trained on total" in fails(
        capsys, *common, str(tiny_folder), "--attributes"
    )
    assert "--attributes does nothing with --endpoint" in fails(
        capsys, *common[:2], "--model", "x", "--endpoint", "http://localhost:1/v1", "--attributes"
    )


def test_an_attribute_of_the_name_of_another_column_is_refused(tmp_path, paintings, capsys):
    spec = ScoringSpec(attributes=(attribute_spec("score", LEVEL_VALUES),))
    save_checkpoint(tmp_path / "odd", *tiny_llava(), spec)
    capsys.readouterr()
    message = fails(
        capsys, "score", str(paintings), "--device", "cpu", "--model", str(tmp_path / "odd"), "--attributes"
    )
    assert "attribute 'score' is a column's name" in message
