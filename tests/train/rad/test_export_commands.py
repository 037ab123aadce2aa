"""`artquant rad export` and `artquant rad report` behind the real engine, and as someone types them wrongly."""

import json
from pathlib import Path
from typing import Any

import pytest

from artquant_plugin.cli import main
from artquant_plugin.data.dataset import Dataset
from tests.peers.local_llm import LocalLLM
from tests.train.rad.finished_runs import write_data, write_run
from tests.train.rad.runs import dataset, in_turn, number, rad, script


def estimate(body: dict[str, Any], off: float = 0.0) -> str:
    """What a blind judge says: the painting's score, which follows from its number."""
    return json.dumps({"score": number(body) + 1.25 + off, "reason": "it says so"})


def test_from_the_engine_to_a_dataset_and_a_page(tmp_path, capsys):
    """Every painting's first estimate is 3 points off; in round 2 it fits."""
    data, run = dataset(tmp_path / "data", test=2), tmp_path / "run"
    judge = in_turn(lambda body: estimate(body, 3.0), estimate)
    with LocalLLM(script(judge=judge)) as llm:
        rad(data, run, llm.url, "judge.mode=blind")
    capsys.readouterr()
    assert main(["rad", "export", str(run), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "split        paintings described",
        "train                4         4",
        "test                 2         2",
        "6 accepted",
        str(tmp_path / "out"),
    ]
    painting = Dataset.load(tmp_path / "out").split("test")[0]
    assert painting.description["emotion"] == "Calm ground. See painting-4-."
    assert main(["rad", "export", str(run), "--out", str(tmp_path / "out")]) == 0
    assert "nothing to do: an earlier export holds the same" in capsys.readouterr().out
    record = json.loads((tmp_path / "out/rad.json").read_text())
    assert record["rounds"] == {"2": {"accepted": 6, "failed": 0}}

    page = tmp_path / "report.html"
    assert main(["rad", "report", str(run), "--out", str(page), "--examples", "3", "--resamples", "100"]) == 0
    printed = capsys.readouterr().out
    # The estimates rank the paintings as people do in both rounds; in the first they are 3 points too high.
    assert "judge, first: n 6, SROCC 1.000" in printed
    # Every fourth word is the painting's own, so that no sequence of five is common to two of them.
    assert "near-duplicates: 0 of 6" in printed
    assert page.read_text().count("<article") == 3


def test_the_papers_files_are_written_from_a_run_and_from_a_dataset(tmp_path, capsys):
    run = write_run(tmp_path / "run", write_data(tmp_path / "data"))
    assert main(["rad", "export", str(run), "--form", "published", "--out", str(tmp_path / "labels")]) == 0
    assert f"{tmp_path / 'labels/train_description.json'}: 5 records" in capsys.readouterr().out
    assert main(["rad", "export", str(run), "--out", str(tmp_path / "out")]) == 0
    options = ["--form", "published", "--out", str(tmp_path / "again")]
    assert main(["rad", "export", str(tmp_path / "out"), *options]) == 0
    for path in sorted((tmp_path / "labels").iterdir()):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "nowhere", "--out", "o"], "'nowhere' holds no run.json"),
        (["export", "run"], "the following arguments are required: --out"),
        (["export", "run", "--out", "o", "--data", "nowhere"], "dataset is not in 'nowhere'; pass --data"),
        (["export", "run", "--out", "o", "--with-images"], "pass --confirm-license 'CC BY-NC-ND 4.0'"),
        (["export", "run", "--out", "o", "--confirm-license", "x"], "belongs to --with-images"),
        (["export", "run", "--out", "o", "--level-values", "5", "4", "3", "2", "1"], "belongs to --form published"),
        (["export", "run", "--out", "file"], "'file' exists and is no export"),
        (["export", "run", "--out", "file/o"], "'file"),
        (["export", "run", "--out", "o", "--form", "published", "--overwrite"], "replaces nothing"),
        (["export", "run", "--out", "run", "--form", "published"], "'run' exists; remove it"),
        (
            ["export", "run", "--out", "o", "--form", "published", "--level-values", "1", "2", "3", "4", "5"],
            "must be finite and descend",
        ),
        (["report", "nowhere", "--out", "r.html"], "'nowhere' holds no run.json"),
        (["report", "run", "--out", "r.pdf"], "does not end with .html"),
        (["report", "run", "--out", "r.html", "--examples", "-1"], "must not be negative"),
        (["report", "run", "--out", "file/r.html"], "'file"),
    ],
)
def test_wrong_usage_is_one_line_with_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "run", write_data(tmp_path / "data", {"train": 3}))
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    before = sorted(map(str, Path().rglob("*")))
    try:
        code = main(["rad", *arguments])
    except SystemExit as stopped:
        code = stopped.code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert error.startswith("artquant")
    assert message in error
    # SQLite's own files beside the store may come and go.
    assert [name for name in sorted(map(str, Path().rglob("*"))) if "sqlite" not in name] == [
        name for name in before if "sqlite" not in name
    ]
