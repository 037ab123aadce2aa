"""An import over another dataset: whole at every moment, by one process at a time, and one line on a full disk."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset, Painting, only_dataset_writer, write_dataset
from tests.kills import kills
from tests.locks import held_by_another_process

ARTQUANT = str(Path(sys.executable).parent / "artquant")


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(10):
        Image.new("L", (4, 4), 20 * number).save(folder / f"{number}.png")
    return folder


def csv_command(tmp_path: Path, pictures: Path) -> list[str]:
    rows = ["image,score,split", "0.png,1,train", "1.png,2,validation", "2.png,3,test", "3.png,4,train"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    options = ["--name", "new", "--score-range", "0", "10", "--split-column", "split"]
    return ["csv", "--annotations", str(tmp_path / "list.csv"), "--images", str(pictures), *options]


def vaps_command(tmp_path: Path, pictures: Path) -> list[str]:
    rows = ["File Number,Liking", *(f"{number}.png,5" for number in range(10))]
    (tmp_path / "vaps_dataset.csv").write_text("\n".join(rows))
    return ["vaps", "--annotations", str(tmp_path), "--images", str(pictures)]


def rad_command(tmp_path: Path, pictures: Path) -> list[str]:
    (tmp_path / "train.json").write_text(json.dumps([{"image": "0.png", "gt_score": 5}]))
    return ["rad", "--annotations", str(tmp_path / "train.json"), "--images", str(pictures), "--name", "new"]


def old_dataset(folder: Path) -> None:
    """A dataset with every file that an import may write or remove."""
    rows = {split: [Painting(split, f"{split}.png", "", 1.0)] for split in ("train", "validation", "test")}
    options = {"split_method": "old", "split_seed": 1, "folds": {"train": 0, "validation": 1, "test": 2}}
    write_dataset(
        folder, name="old", score_range=(0, 10), splits=rows, image_root="p", source="", license="", **options
    )
    (folder / "mine.txt").write_text("a file of the user's own")


def content(folder: Path):
    """All that a reader finds: the description, the rows and the folds."""
    dataset = Dataset.load(folder)
    folds = dataset.file("folds.json")
    return (
        dataset.info,
        {split: dataset.split(split) for split in dataset.info.splits},
        json.loads(folds.read_text()) if dataset.info.folds is not None else None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("make", [csv_command, vaps_command, rad_command])
@pytest.mark.parametrize("over", [False, True])
@pytest.mark.filterwarnings("error")  # a file that does not belong to its dataset.json is a warning
def test_an_import_that_is_killed_anywhere_leaves_the_old_dataset_or_the_new_one(tmp_path, pictures, make, over):
    folder, kept = tmp_path / "watched" / "out", tmp_path / "kept"
    command = ["data", "import", *make(tmp_path, pictures), "--out", str(folder)]
    old_dataset(kept)

    def renew() -> None:
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.parent.mkdir()
        if over:
            shutil.copytree(kept, folder)

    renew()
    assert main(command) == 0
    before, after = content(kept) if over else None, content(folder)
    files = sorted(folder.iterdir())
    found = []
    for _ in kills(lambda: main(command), folder.parent, renew):
        found.append(content(folder) if over or (folder / "dataset.json").exists() else None)
        assert main(command) == 0
        assert content(folder) == after
        assert sorted(folder.iterdir()) == files
    assert all(each in (before, after) for each in found)
    assert found[0] == before and found[-1] == after
    assert not over or (folder / "mine.txt").exists()


def test_a_second_import_into_a_folder_is_refused_while_the_first_one_writes(tmp_path, pictures, capsys):
    out = tmp_path / "out"
    commands = [
        ["data", "import", *csv_command(tmp_path, pictures), "--out", str(out)],
        ["data", "demo", "--train", "1", "--validation", "0", "--test", "0", "--workers", "1", "--out", str(out)],
    ]
    with held_by_another_process(tmp_path / ".out.lock"):
        for command in commands:
            assert main(command) == 2
            assert f"another process is writing '{out}'" in capsys.readouterr().err
    assert not out.exists()
    assert main(commands[0]) == 0


def test_the_lock_names_the_process_that_holds_it_by_whatever_path_the_folder_is_called(tmp_path, pictures, capsys):
    (tmp_path / "link").symlink_to(tmp_path)
    holder = (
        "import sys; from pathlib import Path\n"
        "from artquant_plugin.data.dataset import only_dataset_writer\n"
        "with only_dataset_writer(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(tmp_path / "link" / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ArtQuantError, match=f"process {process.pid} on "), only_dataset_writer(tmp_path / "out"):
            raise AssertionError("two processes write one dataset")
        process.stdin.close()


def test_a_full_disk_is_one_line_and_leaves_the_old_dataset(tmp_path, pictures):
    out = tmp_path / "out"
    old_dataset(out)
    before = content(out)
    command = [ARTQUANT, "data", "import", *csv_command(tmp_path, pictures), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=no_room, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("artquant: error: ") and done.stderr.count("\n") == 1
    assert str(out) in done.stderr
    assert content(out) == before


def no_room() -> None:
    """Let files have 100 bytes: writing more fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


def test_rows_of_another_dataset_beside_a_dataset_json_are_told(tmp_path, capsys):
    old_dataset(tmp_path / "one")
    rows = {"train": [Painting("other", "other.png", "", 2.0)]}
    write_dataset(
        tmp_path / "two", name="two", score_range=(0, 10), splits=rows, image_root="p", source="", license=""
    )
    os.replace(tmp_path / "two" / "train.jsonl", tmp_path / "one" / "train.jsonl")
    with pytest.warns(UserWarning, match="train.jsonl' is not the file that was written with dataset.json"):
        Dataset.load(tmp_path / "one").split("train")
    assert main(["data", "show", str(tmp_path / "one")]) == 0
    assert "train.jsonl' is not the file that was written with dataset.json" in capsys.readouterr().err


def test_a_dataset_that_is_replaced_while_it_is_read_is_an_error(tmp_path):
    old_dataset(tmp_path)
    rows = Dataset.load(tmp_path).each("train")
    next(rows)
    splits = {"train": [Painting("new", "new.png", "", 2.0)]}
    write_dataset(tmp_path, name="new", score_range=(0, 10), splits=splits, image_root="p", source="", license="")
    with pytest.raises(ArtQuantError, match="was imported again while it was read; run the command again"):
        next(rows)
