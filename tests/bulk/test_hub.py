"""Inputs on the Hub: `hf://` locations and datasets by id, against a Hub on loopback."""

import json
import os
import subprocess
import sys

import pytest
from datasets import Dataset, Image

from tests.bulk.test_inputs import archive, png
from tests.paths import ROOT
from tests.peers.local_hub import LocalHub

UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("a/pics", repo_type="dataset")
api.upload_folder(repo_id="a/pics", repo_type="dataset", folder_path=sys.argv[1])
"""

READ = """
import json, sys
from artquant_plugin.bulk.images import image_of
from artquant_plugin.bulk.manifests import ImageColumns
from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import open_image
found = []
for name, column in json.loads(sys.argv[1]):
    try:
        inputs = find_inputs([name], columns=ImageColumns(name=column))
        items = list(inputs.images())
        values = [open_image(image_of(item)).getpixel((0, 0))[0] for item in items]
        same = inputs.identity() == inputs.identity()
        found.append([len(inputs.sources), inputs.file_per_shard, values, [item.name for item in items], same])
    except ArtQuantError as error:
        found.append(str(error))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Reads inputs in a process of its own, as huggingface_hub takes its address when it is imported."""
    content = tmp_path_factory.mktemp("content")
    (content / "data").mkdir()
    (content / "pictures").mkdir()
    for index in range(3):
        rows = {"image": [{"bytes": png(index * 10 + row), "path": None} for row in range(2)], "key": [index * 2] * 2}
        table = Dataset.from_dict(rows).cast_column("image", Image())
        table.to_parquet(str(content / "data" / f"test-{index:05d}-of-00003.parquet"))
    archive(content / "a.tar", {"x.png": png(90)})
    (content / "pictures" / "p.png").write_bytes(png(55))
    with LocalHub(tmp_path_factory.mktemp("hub")) as hub:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path_factory.mktemp("home")),
        }

        def python(program: str, argument: str) -> str:
            done = subprocess.run(
                [sys.executable, "-c", program, argument], env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr[-2000:]
            return done.stdout

        python(UPLOAD, str(content))
        yield lambda *names: json.loads(python(READ, json.dumps(names)))


def test_locations_and_ids_on_the_hub(read):
    tables, archived, pictures, dataset, named = read(
        ("hf://datasets/a/pics/data/*.parquet", None),
        ("hf://datasets/a/pics/a.tar", None),
        ("hf://datasets/a/pics/pictures", None),
        ("a/pics", None),
        ("a/pics:test", "key"),
    )
    values = [0, 1, 10, 11, 20, 21]
    assert tables[:3] == [3, True, values]
    assert tables[3][5] == "hf://datasets/a/pics/data/test-00002-of-00003.parquet#1"
    assert archived[:4] == [1, False, [90], ["hf://datasets/a/pics/a.tar/x.png"]]
    assert pictures[2:4] == [[55], ["hf://datasets/a/pics/pictures/p.png"]]
    assert dataset[:3] == [3, True, values]  # a part, and so a shard, for each of its files
    assert dataset[3][:3] == ["a/pics:test/0#0", "a/pics:test/0#1", "a/pics:test/1#0"]
    assert named[3] == ["0", "0", "2", "2", "4", "4"]
    assert all(found[4] for found in (tables, archived, pictures, dataset, named))


def test_what_is_not_on_the_hub_is_one_line(read):
    absent, split, location, nothing = read(
        ("a/nope", None),
        ("a/pics:train", None),
        ("hf://datasets/a/nope/x.tar", None),
        ("hf://datasets/a/pics/z", None),
    )
    assert "dataset 'a/nope' cannot be read" in absent
    assert "dataset 'a/pics' has test, and it has no split 'train'; pass --split" in split
    assert "'hf://datasets/a/nope/x.tar' cannot be listed" in location
    assert "nothing is at 'hf://datasets/a/pics/z'" in nothing
    assert not any("\n" in message for message in (absent, split, location, nothing))
