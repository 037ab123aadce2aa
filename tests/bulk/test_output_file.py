"""One output file: rows, formats, resuming, refusing."""

import csv
import errno
import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.bulk.manifests import Manifest
from artquant_plugin.bulk.output_file import describe_to_file, made_from, read_rows, score_to_file
from artquant_plugin.bulk.rows import score_rows
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import read_table
from artquant_plugin.data.dataset import Painting, write_dataset
from tests.bulk.engines import Brightness
from tests.locks import held_by_another_process

SCORES = [float(index * 10) for index in range(10)]


def run(paintings, out, engine=None, **options):
    engine = engine or Brightness()
    return score_to_file(find_inputs([str(paintings)]), engine, out, show=False, **options)


def test_rows_have_the_columns_in_order_and_the_images_order(paintings, tmp_path):
    summary = run(paintings, tmp_path / "s.parquet")
    table = parquet.read_table(tmp_path / "s.parquet")
    assert table.column_names == ["path", "score", "light", "dark", "entropy", "reason"]
    assert table["score"].to_pylist() == SCORES
    assert table["path"].to_pylist()[::9] == [str(paintings / "early/0.png"), str(paintings / "late/9.png")]
    assert (summary.rows, summary.failed, summary.computed) == (10, 0, 10)


def test_csv_and_json_lines_say_the_same(paintings, tmp_path):
    (paintings / "late" / "bad.png").write_text("<html>")
    for name in ("s.csv", "s.jsonl"):
        assert run(paintings, tmp_path / name).failed == 1
    with (tmp_path / "s.csv").open() as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [row["path"] for row in table] == [line["path"] for line in lines]
    assert [float(row["score"]) for row in table[:10]] == [line["score"] for line in lines[:10]] == SCORES
    assert lines[3]["levels"] == {"light": 30 / 255, "dark": 1 - 30 / 255}
    assert (table[10]["score"], lines[10]["score"], lines[10]["levels"]) == ("", None, None)
    assert "is no image" in table[10]["reason"] and table[10]["reason"] == lines[10]["reason"]
    assert lines[0]["reason"] is None


def test_an_interrupted_run_goes_on_where_it_stopped(paintings, tmp_path):
    out = tmp_path / "s.parquet"
    with pytest.raises(KeyboardInterrupt):
        run(paintings, out, Brightness(stop_after=6))
    assert not out.exists()
    engine = Brightness()
    summary = run(paintings, out, engine)
    assert (engine.asked, summary.rows, summary.computed) == (4, 10, 4)
    run(paintings, tmp_path / "whole.parquet")
    assert parquet.read_table(out).equals(parquet.read_table(tmp_path / "whole.parquet"))
    assert not (tmp_path / ".s.parquet.partial.jsonl").exists()


def test_a_row_that_was_cut_short_on_disk_is_computed_again(paintings, tmp_path):
    out = tmp_path / "s.csv"
    with pytest.raises(KeyboardInterrupt):
        run(paintings, out, Brightness(stop_after=6))
    journal = tmp_path / ".s.csv.partial.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    engine = Brightness()
    assert run(paintings, out, engine).rows == 10
    assert engine.asked == 5
    with out.open() as file:
        assert [float(row["score"]) for row in csv.DictReader(file)] == SCORES


def test_a_finished_run_does_nothing_and_says_so(paintings, tmp_path):
    out = tmp_path / "s.jsonl"
    (paintings / "x.png").write_text("")
    run(paintings, out)
    before = out.stat().st_mtime_ns
    engine = Brightness(stop_after=0)
    summary = run(paintings, out, engine)
    assert (summary.finished, summary.rows, summary.failed, engine.asked) == (True, 11, 1, 0)
    assert summary.lines()[0] == "scored 10, failed 1"
    assert "nothing to do" in summary.lines()[1]
    assert out.stat().st_mtime_ns == before


def test_another_model_or_input_is_refused_and_named(paintings, tmp_path):
    out = tmp_path / "s.jsonl"
    run(paintings, out)
    with pytest.raises(ArtQuantError, match=r"made from something else: model.name brightness -> other; pass --over"):
        run(paintings, out, Brightness(name="other"))
    (paintings / "early" / "0.png").unlink()
    with pytest.raises(ArtQuantError, match=r"inputs\[0\].images 10 -> 9; inputs\[0\].names"):
        run(paintings, out)
    assert run(paintings, out, overwrite=True).rows == 9
    assert len(out.read_text().splitlines()) == 9


def test_overwriting_keeps_the_old_file_until_the_new_one_is_whole(paintings, tmp_path):
    out = tmp_path / "s.jsonl"
    run(paintings, out)
    old = out.read_bytes(), (tmp_path / "s.jsonl.run.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        run(paintings, out, Brightness(stop_after=6, name="other"), overwrite=True)
    assert (out.read_bytes(), (tmp_path / "s.jsonl.run.json").read_bytes()) == old
    assert run(paintings, out).finished  # the old run is still finished
    assert run(paintings, out, Brightness(name="other"), overwrite=True).computed == 10
    assert json.loads((tmp_path / "s.jsonl.run.json").read_text())["model"] == {"name": "other"}


def test_an_interrupted_description_is_gone_on_with(paintings, tmp_path):
    inputs, out, asked = find_inputs([str(paintings)]), tmp_path / "d.jsonl", []

    def rows_of(images):
        for image in images:
            if len(asked) == 6:
                asked.append("interrupted")
                raise KeyboardInterrupt
            asked.append(image.name)
            yield {"path": image.name, "text": f"é {len(asked)}", "reason": None}

    now = made_from(inputs, Brightness())
    with pytest.raises(KeyboardInterrupt):
        describe_to_file(inputs, rows_of, now, out)
    assert not out.exists()
    with pytest.raises(ArtQuantError, match="made from something else: model.name brightness -> other; pass --overw"):
        describe_to_file(inputs, rows_of, made_from(inputs, Brightness(name="other")), out)
    assert describe_to_file(inputs, rows_of, now, out).rows == 10
    asked.remove("interrupted")
    assert [json.loads(line)["path"] for line in out.read_text(encoding="utf-8").splitlines()] == asked
    assert len(set(asked)) == 10
    assert not list(tmp_path.glob(".d.jsonl.partial*"))


def test_rows_of_another_model_are_refused_when_only_the_hidden_journal_is_left(paintings, tmp_path):
    out = tmp_path / "s.csv"
    with pytest.raises(KeyboardInterrupt):
        run(paintings, out, Brightness(stop_after=6))
    (tmp_path / "s.csv.run.json").unlink()
    with pytest.raises(ArtQuantError, match=r"\.s\.csv\.partial\.jsonl' was made from something else: model.name bri"):
        run(paintings, out, Brightness(name="other"))
    engine = Brightness()
    assert run(paintings, out, engine).rows == 10  # the same model goes on with its rows
    assert engine.asked == 4


def test_rows_of_an_unknown_run_are_refused_and_overwritten_when_asked(paintings, tmp_path):
    out = tmp_path / "s.csv"
    row = {"path": "a", "score": 1.0, "light": 0.5, "dark": 0.5, "entropy": 0.5, "reason": None}
    (tmp_path / ".s.csv.partial.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(ArtQuantError, match="does not say what they were made from; pass --overwrite"):
        run(paintings, out)
    assert run(paintings, out, overwrite=True).computed == 10


def test_a_journal_that_a_crash_of_the_machine_spoilt_keeps_the_rows_before(paintings, tmp_path):
    out = tmp_path / "s.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(paintings, out, Brightness(stop_after=6))
    journal = tmp_path / ".s.jsonl.partial.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:4]) + b"\0" * 50 + b"\n" + lines[5])
    assert run(paintings, out).computed == 7  # three rows stand behind the first line, the record
    run(paintings, tmp_path / "whole.jsonl")
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("name", [".s.csv.partial.jsonl", ".s.csv.lock"])
def test_a_link_in_the_place_of_a_hidden_file_is_refused(paintings, tmp_path, name):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / name).symlink_to(precious)
    for overwrite in (False, True):
        if overwrite and name.endswith(".jsonl"):  # --overwrite removes the link itself
            assert run(paintings, tmp_path / "s.csv", overwrite=True).rows == 10
        else:
            with pytest.raises(ArtQuantError, match="is a symbolic link to .*precious'.*; remove the link"):
                run(paintings, tmp_path / "s.csv", overwrite=overwrite)
        assert precious.read_text() == "mine"


def test_a_second_name_and_a_pipe_in_the_place_of_the_journal_are_refused(paintings, tmp_path):
    journal = tmp_path / ".s.csv.partial.jsonl"
    (tmp_path / "precious").write_text("")
    os.link(tmp_path / "precious", journal)
    with pytest.raises(ArtQuantError, match="has a second name"):
        run(paintings, tmp_path / "s.csv")
    journal.unlink()
    os.mkfifo(journal)
    with pytest.raises(ArtQuantError, match="is no ordinary file"):
        run(paintings, tmp_path / "s.csv")


def _bmp(path, value):
    Image.new("RGB", (200, 200), (value,) * 3).save(path)  # without compression: all values give the same size


@pytest.mark.parametrize("form", ["folder", "file", "csv", "jsonl", "parquet", "dataset"])
def test_a_picture_that_changed_in_its_place_is_noticed(form, tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "home"))
    folder = tmp_path / "in"
    folder.mkdir()
    _bmp(folder / "a.bmp", 1)
    _bmp(folder / "b.bmp", 2)
    given = {"folder": folder, "file": folder / "a.bmp", "dataset": "mine"}.get(form, folder / f"m.{form}")
    rows = [{"image": "a.bmp"}, {"image": "b.bmp"}]
    (folder / "m.csv").write_text("image\na.bmp\nb.bmp\n")
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "m.parquet")
    paintings = [Painting(id=name, image=f"{name}.bmp", sha256="", score=5) for name in "ab"]
    options = {"score_range": (0, 10), "image_root": str(folder), "source": "", "license": ""}
    write_dataset(tmp_path / "home/mine", name="mine", splits={"test": paintings}, **options)
    out = tmp_path / "s.csv"
    with pytest.raises(KeyboardInterrupt):
        run(given, out, Brightness(stop_after=0 if form == "file" else 1))
    if form == "file":
        run(given, out)
    _bmp(folder / "a.bmp", 3)
    with pytest.raises(ArtQuantError, match="was made from something else: .*(content|pictures)"):
        run(given, out)


@contextmanager
def _files_of_at_most(size):
    """Writing beyond this size fails, as it fails on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_disk_that_is_full_names_the_file_and_a_rerun_goes_on(paintings, tmp_path, form):
    run(paintings, tmp_path / f"whole.{form}")
    out, failed = tmp_path / f"s.{form}", set()
    journal = tmp_path / f".s.{form}.partial.jsonl"
    for size in range(1000, 5000, 100):  # the record and the journal's first line have about 1000 bytes
        with _files_of_at_most(size):
            try:
                if run(paintings, out).finished:
                    break
            except OSError as error:
                assert error.errno == errno.EFBIG
                failed.add(os.path.basename(error.filename))
    assert run(paintings, out).finished
    assert {out.name, journal.name} & failed  # which of them is longer depends on the format
    assert out.read_bytes() == (tmp_path / f"whole.{form}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(f".s.{form}")) == [
        f".s.{form}.lock"
    ]


def test_names_that_are_formulas_stay_text_in_a_spreadsheet_and_come_back(tmp_path, monkeypatch):
    names = ["=cmd|' /C calc'!A0.png", "+1.png", "-1.png", "@a.png", "'=b.png", "''-c.png", "'tis.png", "d'=.png"]
    for name in names:
        (tmp_path / name.replace("/", "_")).touch()
    (tmp_path / "m.jsonl").write_text("".join(json.dumps({"image": name}) + "\n" for name in names))
    run(tmp_path / "m.jsonl", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        cells = [row["path"] for row in csv.DictReader(file)]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert cells[1] == "'+1.png" and cells[6:] == ["'tis.png", "d'=.png"]
    rows = read_table(str(tmp_path / "s.csv"), ["path", "score"])
    assert [row.values["path"] for row in rows] == names


def test_a_file_that_no_run_wrote_is_kept(paintings, tmp_path):
    (tmp_path / "s.csv").write_text("precious")
    with pytest.raises(ArtQuantError, match="no record of a run is beside it"):
        run(paintings, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "precious"


def test_a_second_writer_stops(paintings, tmp_path):
    out = tmp_path / "s.csv"
    lock = tmp_path / ".s.csv.lock"
    with held_by_another_process(lock), pytest.raises(ArtQuantError, match="another process is writing"):
        run(paintings, out)
    assert run(paintings, out).rows == 10


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_names_that_are_no_text_are_rows_too(tmp_path, paintings, form):
    for name in (b"\xff.png", b"\xfe.png"):
        (paintings / os.fsdecode(name)).write_bytes(
            (paintings / "early" / "1.png").read_bytes()[: 40 + name[0] % 2 * 999]
        )
    out = tmp_path / f"s.{form}"
    summary = run(paintings, out)
    assert (summary.rows, summary.failed) == (12, 1)
    names = {Path(row["path"]).name for row in read_rows(out, Brightness().columns)}
    assert {r"\udcff.png", r"\udcfe.png"} < names and len(names) == 12  # none of them is that of another picture


def test_images_that_never_reach_the_engine_keep_their_place(tmp_path, paintings):
    from artquant_plugin.bulk.images import NamedImage

    good = paintings / "early" / "1.png"
    items = [
        NamedImage("a", ArtQuantError("none")),
        NamedImage("b", good),
        NamedImage("c", b"junk"),
        NamedImage("d", good.read_bytes()),
    ]
    rows = list(score_rows(Brightness(), [*items, NamedImage("e", ArtQuantError("end"))]))
    assert [(row["path"], row["score"]) for row in rows] == [
        ("a", None),
        ("b", 10.0),
        ("c", None),
        ("d", 10.0),
        ("e", None),
    ]
    assert rows[2]["reason"].startswith("'c' is no image")


def test_a_table_without_the_image_column_is_told_before_the_engine_starts(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"file": "a.png", "score": 1}\n')
    engine = Brightness(stop_after=0)
    with pytest.raises(ArtQuantError, match=r"m.jsonl:1' has no column 'image', only file, score; pass --image-col"):
        score_to_file(find_inputs([str(tmp_path / "m.jsonl")]), engine, tmp_path / "s.csv", show=False)


def test_an_input_without_rows_is_an_error(tmp_path):
    (tmp_path / "m.jsonl").write_text("\n")
    inputs = find_inputs([str(tmp_path / "m.jsonl")])
    assert isinstance(inputs.sources[0], Manifest)
    with pytest.raises(ArtQuantError, match="has no rows"):
        score_to_file(inputs, Brightness(), tmp_path / "s.csv", show=False)
