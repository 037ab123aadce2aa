"""What a dataset of the Hub says of itself is checked before it is used."""

import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.data.dataset import Dataset, DatasetInfo, split_info, write_info
from artquant_plugin.data.hub_rad import _pictures, _source_name, _with_copies


def row(name: str, sha256: str, **more) -> dict:
    texts = dict.fromkeys(("perception", "cognition", "emotion", "description"))
    return {"id": name, "file_name": f"{name}.png", "sha256": sha256, "score": 5.0, **texts, **more}


def write_rows(folder: Path, splits: dict[str, list[dict]]) -> Dataset:
    (folder / "data").mkdir()
    for split, rows in splits.items():
        schema = {"description": pyarrow.string()} | {
            level: pyarrow.string() for level in ("perception", "cognition", "emotion")
        }
        table = pyarrow.Table.from_pylist(rows)
        columns = [table[name].cast(schema.get(name, table[name].type)) for name in table.column_names]
        parquet.write_table(
            pyarrow.table(dict(zip(table.column_names, columns, strict=True))),
            folder / f"data/{split}-00000-of-00001.parquet",
        )
    counts = {split: split_info([5.0] * len(rows), {}) for split, rows in splits.items()}
    write_info(folder, DatasetInfo("rad-x", (0.0, 10.0), ".", counts, "", ""))
    return Dataset.load(folder)


def test_pictures_in_two_splits_are_warned_of_and_counted(tmp_path):
    dataset = write_rows(tmp_path, {"train": [row("a", "01"), row("b", "02")], "test": [row("c", "01")]})
    with pytest.warns(ArtQuantWarning, match="1 pictures of 'rad-x' stand in several splits, such as 'a.png' .train"):
        info = _with_copies(dataset)
    assert {name: split.copies for name, split in info.splits.items()} == {"train": {"test": 1}, "test": {"train": 1}}


@pytest.mark.filterwarnings("error")
def test_different_pictures_are_not_warned_of(tmp_path):
    info = _with_copies(write_rows(tmp_path, {"train": [row("a", "01")], "test": [row("c", "02"), row("d", "")]}))
    assert not any(split.copies for split in info.splits.values())


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("[]", "is no record of a RAD export"),
        ("{", "is no record of a RAD export"),
        ({"form_version": 1}, "it lacks 'with_images'"),
        ({"form_version": 1, "with_images": False}, "names None as the dataset that was described"),
        ({"form_version": 1, "with_images": False, "data": {"name": "../../x"}}, r"names '../../x' as the dataset"),
        ({"form_version": 1, "with_images": False, "data": {"name": ".."}}, r"names '..' as the dataset"),
    ],
)
def test_a_record_that_cannot_be_used_is_one_line(record, message, tmp_path):
    path = tmp_path / "rad.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    with pytest.raises(ArtQuantError, match=message):
        _source_name(path)


@pytest.mark.parametrize("name", ["/etc/x.png", "../x.png", "", "a\0b"])
def test_a_picture_that_would_be_written_elsewhere_is_refused(name, tmp_path):
    path = tmp_path / "rows.parquet"
    rows = [{"file_name": name, "sha256": "00", "image": {"bytes": b"x", "path": None}}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    with pytest.raises(ArtQuantError, match="which leaves its folder; do not use it"):
        list(_pictures(path))


def test_a_picture_without_its_bytes_is_one_line(tmp_path):
    path = tmp_path / "rows.parquet"
    schema = pyarrow.schema(
        {
            "file_name": pyarrow.string(),
            "sha256": pyarrow.string(),
            "image": pyarrow.struct({"bytes": pyarrow.binary()}),
        }
    )
    rows = [{"file_name": "a.png", "sha256": "00", "image": {"bytes": None}}]
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), path)
    with pytest.raises(ArtQuantError, match="picture 'a.png' is not what its row says; fetch it again"):
        list(_pictures(path))
