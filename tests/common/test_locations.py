"""Keys by which a later run sees that files are still the same."""

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from artquant_plugin.common import locations
from artquant_plugin.common.locations import content_key, quick_key


@pytest.fixture
def only_two_samples(monkeypatch):
    """Big files begin at 1000 bytes, of which the first and the last 100 are read."""
    monkeypatch.setattr(locations, "SAMPLED_FROM", 1000)
    monkeypatch.setattr(locations, "SAMPLES", 2)
    monkeypatch.setattr(locations, "SAMPLE_SIZE", 100)


def test_a_small_tensor_that_changed_between_two_samples_of_a_big_file_is_noticed(tmp_path, only_two_samples):
    path = tmp_path / "model.safetensors"
    keys = []
    for value in (0.0, 1.0):
        tensors = {"a": torch.zeros(50_000), "b": torch.full((8,), value), "c": torch.zeros(50_000)}
        save_file(tensors, path)
        keys.append(content_key(str(path)))
        other = path.with_suffix(".bin")  # a format of which nothing is known has the two samples alone
        other.write_bytes(path.read_bytes())
        keys.append(content_key(str(other)))
    assert keys[0] != keys[2]
    assert keys[1] == keys[3]


@pytest.mark.parametrize("content", [b"\xff" * 2000, b"\2" + bytes(1999), (2).to_bytes(8, "little") + b"[]" * 1000])
def test_a_file_that_is_no_safetensors_file_has_a_key_all_the_same(content, tmp_path, only_two_samples):
    (tmp_path / "x.safetensors").write_bytes(content)
    assert len(content_key(str(tmp_path / "x.safetensors"))) == 16


@pytest.mark.parametrize("name", ["a.bmp", "a.tif", "a.ppm"])
def test_a_quick_key_sees_a_spot_painted_anywhere_into_a_file_without_compression(tmp_path, name):
    image, keys = Image.new("RGB", (200, 200), "white"), set()
    for corner in ((0, 0), (0, 50), (150, 60), (20, 140), (190, 150)):
        image.paste((255, 0, 0), (*corner, corner[0] + 5, corner[1] + 5))
        image.save(tmp_path / name)
        keys.add(quick_key([tmp_path / name]))
    assert len(keys) == 5


def test_a_quick_key_sees_size_beginning_middle_and_end_of_each_file(tmp_path):
    path = tmp_path / "a.bmp"
    content = bytearray(20_000)
    path.write_bytes(content)
    keys = {quick_key([path])}
    for place in (0, 10_000, 19_999):
        content[place] += 1
        path.write_bytes(content)
        keys.add(quick_key([path]))
    path.write_bytes(content[1:])
    keys |= {quick_key([path]), quick_key([]), quick_key([path, path]), quick_key([tmp_path / "gone", path])}
    assert len(keys) == 8
    odd = [tmp_path / "a\0b", tmp_path / ("x" * 300), tmp_path]
    assert quick_key(odd) == quick_key(odd)
