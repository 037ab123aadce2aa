"""A run as a folder that is our dataset form and what `datasets` loads."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Dataset, Painting, write_dataset
from artquant_plugin.tasks import describing, scoring
from artquant_plugin.train.config import load_config
from artquant_plugin.train.data import load_training_data
from artquant_plugin.train.rad import export as exporting
from artquant_plugin.train.rad.export import export_run
from artquant_plugin.train.rad.store import STORE_FILE, Change, RunStore
from artquant_plugin.train.rad.table import RadRun
from artquant_plugin.train.run import train
from tests.train.rad.finished_runs import levels, write_data, write_run
from tests.train.runs import write_config


@pytest.fixture
def data(tmp_path) -> Dataset:
    return write_data(tmp_path / "data")


@pytest.fixture
def run(tmp_path, data):
    with RadRun.open(write_run(tmp_path / "run", data)) as opened:
        yield opened


def load(folder: Path, cache: Path) -> datasets.DatasetDict:
    return datasets.load_dataset(str(folder), cache_dir=str(cache))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_folder_is_the_dataset_form_with_descriptions_where_they_were_accepted(run, data, tmp_path):
    done = export_run(run, tmp_path / "out")
    assert done.splits == {"train": (6, 5), "validation": (2, 2), "test": (4, 3)}
    exported = Dataset.load(tmp_path / "out")
    assert exported.info.name == "rad-small"
    position = 0
    for split in data.info.splits:
        for before, after in zip(data.split(split), exported.split(split), strict=True):
            # What the dataset had stays; every fifth painting was judged away (tests/train/rad/finished_runs.py).
            expected = None if position % 5 == 4 else levels(position)
            assert after == replace(before, description=expected, attributes=before.attributes or {"Color": None})
            position += 1
    assert exported.image_path(exported.split("test")[0]).is_file()
    assert exported.info.splits == data.info.splits


def test_datasets_loads_it_with_its_splits_and_columns(run, tmp_path):
    export_run(run, tmp_path / "out")
    loaded = load(tmp_path / "out", tmp_path / "cache")
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 6, "validation": 2, "test": 4}
    assert datasets.get_dataset_config_names(str(tmp_path / "out")) == ["small"]
    accepted, failed = loaded["train"][3], loaded["train"][4]
    text = levels(3)
    assert accepted == {
        "id": "p3", "file_name": "3.png", "sha256": accepted["sha256"], "dataset": "small", "split": "train",
        "score": 4.0, "category": "oil", "comment": "A fine <b>sky</b>.", **text,
        "description": "\n".join(f"{name.capitalize()}: {text[name]}" for name in text),
        "state": "accepted", "reason": None, "rounds": 2, "judge_score": 4.5,
        "generator": "writer-1", "judge": "critic-1", "attributes": {"Color": 7.0},
    }  # fmt: skip
    assert (failed["description"], failed["perception"]) == (None, None)
    assert (failed["state"], failed["reason"], failed["judge_score"]) == ("failed", "judge_rejected", 8.0)


def test_how_it_was_made_stands_beside_it_without_places_of_the_one_who_made_it(run, tmp_path):
    export_run(run, tmp_path / "out")
    record = json.loads((tmp_path / "out/rad.json").read_text())
    assert record["models"] == {"generator": "writer-1", "judge": "critic-1"}
    assert record["prompts"] == {"generator": "a" * 64, "judge": "b" * 64}
    assert record["rounds"] == {
        "1": {"accepted": 8, "failed": 0}, "2": {"accepted": 2, "failed": 0}, "3": {"accepted": 0, "failed": 2},
    }  # fmt: skip
    assert record["failures"] == {"judge_rejected": 2}
    # 12 paintings, one request to each side at 0.002.
    assert record["usage"]["judge ok"]["requests"] == 12
    assert record["cost"] == pytest.approx(0.048)
    for name in ("rad.json", "README.md"):
        assert str(tmp_path) not in (tmp_path / "out" / name).read_text()


def test_the_same_again_is_left_alone_and_another_needs_the_users_word(run, data, tmp_path):
    out = tmp_path / "out"
    export_run(run, out)
    before = {name: (out / name).stat().st_mtime_ns for name in files(out)}
    assert export_run(run, out).unchanged
    assert {name: (out / name).stat().st_mtime_ns for name in files(out)} == before
    with RunStore(run.folder / STORE_FILE) as store:
        store.write([], [Change(4, "accepted", 3, description=levels(4))])
    with pytest.raises(ArtQuantError, match="was made from something else: content .* -> .*; pass --overwrite"):
        export_run(run, out)
    done = export_run(run, out, overwrite=True)
    assert (done.unchanged, done.splits["train"]) == (False, (6, 6))
    assert Dataset.load(out).split("train")[4].description == levels(4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out", "run"]


def test_an_export_that_lost_a_file_or_whose_pictures_moved_is_not_the_same(run, data, tmp_path):
    out = tmp_path / "out"
    export_run(run, out)
    next((out / "data").glob("test-*")).unlink()
    with pytest.raises(ArtQuantError, match=r"files.test-00000-of-00001.parquet \d+ -> None; pass --overwrite"):
        export_run(run, out)
    assert not export_run(run, out, overwrite=True).unchanged
    shutil.copytree(data.folder, tmp_path / "moved")
    with RadRun.open(run.folder, tmp_path / "moved") as other:
        export_run(other, out, overwrite=True)
    exported = Dataset.load(out)
    assert exported.image_path(exported.split("test")[0]).parent == tmp_path / "moved/pictures"


def test_a_folder_of_something_else_is_never_replaced(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").touch()
    with pytest.raises(ArtQuantError, match="is no export of a RAD run"):
        export_run(run, out, overwrite=True)
    (out / "thesis.txt").rename(tmp_path / "thesis.txt")
    export_run(run, out)
    (tmp_path / "thesis.txt").rename(out / "thesis.txt")
    with RunStore(run.folder / STORE_FILE) as store:
        store.write([], [Change(4, "accepted", 3, description=levels(4))])
    with pytest.raises(ArtQuantError, match="thesis.txt' is no part of an export"):
        export_run(run, out, overwrite=True)
    assert (out / "thesis.txt").is_file()


def test_an_export_that_fails_leaves_what_was_there(run, data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    export_run(run, out)
    (data.image_root / "7.png").write_bytes(b"another")
    with pytest.raises(ArtQuantError, match="7.png' is not the one that was imported"):
        export_run(run, out, with_images=True, license="CC BY-NC-ND 4.0", overwrite=True)
    assert export_run(run, out).unchanged
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out", "run"]


def test_embedded_pictures_need_the_licence_and_are_those_files(run, data, tmp_path):
    with pytest.raises(ArtQuantError, match="pass --confirm-license 'CC BY-NC-ND 4.0'"):
        export_run(run, tmp_path / "out", with_images=True)
    with pytest.raises(ArtQuantError, match="pass --confirm-license"):
        export_run(run, tmp_path / "out", with_images=True, license="MIT")
    export_run(run, tmp_path / "out", with_images=True, license="CC BY-NC-ND 4.0")
    loaded = load(tmp_path / "out", tmp_path / "cache")
    row = loaded["test"][0]
    with Image.open(data.image_root / row["file_name"]) as picture:
        assert np.array_equal(np.asarray(row["image"]), np.asarray(picture))
    plain = loaded["test"].cast_column("image", datasets.Image(decode=False))[0]["image"]
    assert (plain["path"], plain["bytes"]) == (row["file_name"], (data.image_root / row["file_name"]).read_bytes())
    assert len(Dataset.load(tmp_path / "out").split("train")) == 6


def test_a_picture_that_is_not_there_is_counted_not_made_up(run, data, tmp_path):
    (data.image_root / "0.png").unlink()
    done = export_run(run, tmp_path / "out", with_images=True, license="CC BY-NC-ND 4.0")
    assert done.without_picture == 1
    assert load(tmp_path / "out", tmp_path / "cache")["train"][0]["image"] is None


def test_many_pictures_are_spread_over_files(run, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "SHARD_BYTES", 10_000)
    export_run(run, tmp_path / "out", with_images=True, license="CC BY-NC-ND 4.0")
    names = [path.name for path in sorted((tmp_path / "out/data").glob("train-*"))]
    count = len(names)
    assert count > 1
    assert names == [f"train-{number:05}-of-{count:05}.parquet" for number in range(count)]
    assert [p.id for p in Dataset.load(tmp_path / "out").split("train")] == [f"p{number}" for number in range(6)]


@pytest.mark.parametrize("known", [True, False])
def test_a_test_picture_is_never_in_training_under_another_name_either(tmp_path, known):
    """a.png of the training split is copied as x.png into validation, and b.png as y.png into test."""
    folder = tmp_path / "data"
    folder.mkdir()
    for index, name in enumerate(("a", "b", "c")):
        Image.new("RGB", (8, 8), (index * 80, 0, 0)).save(folder / f"{name}.png")
    shutil.copy(folder / "a.png", folder / "x.png")
    shutil.copy(folder / "b.png", folder / "y.png")
    rows = {
        split: [Painting(n, f"{n}.png", sha256_file(folder / f"{n}.png") if known else "", 5.0) for n in names]
        for split, names in {"train": "abc", "validation": "x", "test": "y"}.items()
    }
    data = write_dataset(
        folder, name="d", score_range=(0, 10), splits=rows, image_root=".", source="s", license="l",
        missing={"train": {"broken": 2}},
    )  # fmt: skip
    with RadRun.open(write_run(tmp_path / "run", data)) as run:
        done = export_run(run, tmp_path / "out")
    assert [(item.id, item.split, item.kept) for item in done.left_out] == [
        ("a", "train", "validation"),
        ("b", "train", "test"),
    ]
    exported = Dataset.load(tmp_path / "out")
    assert [[p.id for p in exported.split(split)] for split in exported.info.splits] == [["c"], ["x"], ["y"]]
    assert exported.info.splits["train"].missing == {"broken": 2, "in_validation": 1, "in_test": 1}
    assert len(load(tmp_path / "out", tmp_path / "cache")["train"]) == 1


def test_a_run_that_is_not_through_says_which_paintings_wait(tmp_path, data):
    folder = write_run(tmp_path / "run", data, {0: Change(0, "refining", 1), 1: Change(1, "pending", 0)})
    with RadRun.open(folder) as run:
        done = export_run(run, tmp_path / "out")
    assert done.states == {"refining": 1, "pending": 1, "accepted": 8, "failed": 2}
    row = load(tmp_path / "out", tmp_path / "cache")["train"][1]
    assert (row["state"], row["generator"], row["description"], row["score"]) == ("pending", None, None, 2.0)


def test_folds_and_empty_splits_go_along(tmp_path):
    data = write_data(tmp_path / "base", {"train": 3})
    rows = data.split("train")
    data = write_dataset(
        tmp_path / "data", name="vaps", score_range=(1, 10), splits={"train": rows, "test": []},
        image_root=str(data.image_root), source="s", license="l", split_seed=3, split_method="m",
        folds={p.id: index % 2 for index, p in enumerate(rows)},
    )  # fmt: skip
    with RadRun.open(write_run(tmp_path / "run", data)) as run:
        export_run(run, tmp_path / "out")
    exported = Dataset.load(tmp_path / "out")
    assert (exported.info.folds, exported.info.split_seed, exported.split("test")) == (2, 3, [])
    assert (tmp_path / "out/folds.json").read_bytes() == (tmp_path / "data/folds.json").read_bytes()
    assert list(load(tmp_path / "out", tmp_path / "cache")) == ["train"]


def test_what_cannot_be_exported_is_one_line(tmp_path, data):
    with pytest.raises(ArtQuantError, match="nowhere' holds no run.json; give the folder of `artquant rad generate"):
        RadRun.open(tmp_path / "nowhere")
    nothing = {position: Change(position, "failed", 3, "refused", "no") for position in range(12)}
    with RadRun.open(write_run(tmp_path / "none", data, nothing)) as run:
        with pytest.raises(ArtQuantError, match="no accepted description yet"):
            export_run(run, tmp_path / "out")
    folder = write_run(tmp_path / "run", data)
    moved = tmp_path / "moved"
    data.folder.rename(moved)
    with pytest.raises(ArtQuantError, match="dataset is not in .*data'; pass --data"):
        RadRun.open(folder)
    with RadRun.open(folder, moved) as run:
        export_run(run, tmp_path / "out")
    write_dataset(
        moved, name="small", score_range=(0, 10), splits={"train": Dataset.load(moved).split("train")},
        image_root="pictures", source="s", license="l",
    )  # fmt: skip
    with RadRun.open(folder, moved) as run:
        with pytest.raises(ArtQuantError, match="is not the one that .* described: painting 'p6' differs"):
            export_run(run, tmp_path / "other")


def test_training_takes_the_folder_as_it_is(run, tmp_path):
    export_run(run, tmp_path / "out")
    config = load_config(write_config(tmp_path / "config", tmp_path / "out"))
    train(config)
    record = json.loads((tmp_path / "config/run/training.json").read_text())
    assert record["data"]["rad-small"].keys() == {
        "dataset.json", *(f"data/{split}-00000-of-00001.parquet" for split in ("train", "validation", "test")),
    }  # fmt: skip
    material = load_training_data(config)
    # Every painting is scored, the five of six with a description are described as well.
    assert {kind: len(samples[0]) for kind, samples in material.samples.items()} == {"describe": 5, "score": 6}
    assert material.samples["describe"][0][3].description.startswith("Perception: perception 3: ")


def test_tasks_ask_about_an_exports_paintings(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    export_run(run, tmp_path / "baid")
    given = {"test": scoring.baid_file}
    rows = datasets.load_dataset("json", data_files=given, split="test", cache_dir=str(tmp_path / "cache"))
    assert scoring.baid_docs(rows)["score"] == [9.0, 1.0, 2.0, 3.0]
    references = describing.baid_docs(rows)["reference"]
    assert references[0].startswith("Perception: perception 8: ")
    assert references[1] == "A fine <b>sky</b>."  # without a description, a rater's comment


def test_a_broken_parquet_file_is_named(run, tmp_path):
    export_run(run, tmp_path / "out")
    path = next((tmp_path / "out/data").glob("train-*"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtQuantError, match="train-00000.*parquet' is no whole Parquet file"):
        Dataset.load(tmp_path / "out").split("train")
    table = parquet.read_table(next((tmp_path / "out/data").glob("test-*")))
    parquet.write_table(table.drop_columns(["sha256"]), path)
    with pytest.raises(ArtQuantError, match="has no column 'sha256'"):
        Dataset.load(tmp_path / "out").split("train")
    parquet.write_table(table.slice(0, 1), path)
    with pytest.raises(ArtQuantError, match="has 1 rows, dataset.json says 6"):
        Dataset.load(tmp_path / "out").split("train")
    path.unlink()
    with pytest.raises(ArtQuantError, match="is missing although dataset.json lists it"):
        Dataset.load(tmp_path / "out").split("train")
