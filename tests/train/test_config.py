from pathlib import Path

import pytest

from artquant_plugin.errors import ArtQuantError
from artquant_plugin.train.config import load_config
from tests.paths import ROOT

MINIMAL = """
data: [artquant_demo]
output: runs/x
model: {pretrained: some/model}
stages: [{name: mat, samples: [describe, score], epochs: 1}]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_defaults_are_the_papers(tmp_path):
    config = load_config(write(tmp_path, MINIMAL))
    assert (config.loss.k, config.loss.k_asl) == (1.0, 1.0)
    assert config.levels.scale().values == (10.0, 7.5, 5.0, 3.5, 1.0)
    assert config.train.learning_rate == 2e-5


def test_overrides_win_over_the_file(tmp_path):
    config = load_config(
        write(tmp_path, MINIMAL), ["train.learning_rate=1e-3", "levels.values=[10, 8, 5, 2, 0]", "seed=7"]
    )
    assert config.train.learning_rate == 1e-3
    assert config.levels.values == (10.0, 8.0, 5.0, 2.0, 0.0)
    assert config.seed == 7


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "configs").glob("*.yaml")))
def test_shipped_configurations_load_by_name_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(Path(name)).stages
    assert load_config(Path("configs") / name).stages


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trian: {}", "unknown key 'trian'; did you mean 'train'?"),
        ("train: {learning_rat: 1}", "unknown key 'train.learning_rat'; did you mean 'learning_rate'?"),
        ("train: {learning_rate: fast}", "train.learning_rate: .* not 'fast'"),
        ("train: {learning_rate: 0}", "train.learning_rate: .*greater than 0"),
        ("stages: []", "stages: .*at least 1"),
        ("stages: [{name: a, samples: [score]}]", "key 'stages.0.epochs' is missing"),
        ("stages: [{name: a, sample: [score], epochs: 1}]", "unknown key 'stages.0.sample'; did you mean 'samples'?"),
        ("model: {}", "give either model.pretrained or model.tiny"),
    ],
)
def test_a_wrong_key_or_value_is_one_line(tmp_path, change, message):
    key = change.partition(":")[0]
    kept = "\n".join(line for line in MINIMAL.splitlines() if not line.startswith(f"{key}:"))
    with pytest.raises(ArtQuantError, match=message) as raised:
        load_config(write(tmp_path, f"{kept}\n{change}\n"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "not of the form"),
        ("seed.x=1", "'seed' is not a section"),
        ("train.lr=1", "unknown key 'train.lr'"),
        ("data=[", "not a YAML value"),
    ],
)
def test_a_wrong_override_is_one_line(tmp_path, override, message):
    text = MINIMAL + "seed: 1\n"
    with pytest.raises(ArtQuantError, match=message):
        load_config(write(tmp_path, text), [override])


def test_a_missing_file_names_those_that_ship():
    with pytest.raises(ArtQuantError, match="no configuration 'nope.yaml'.*demo.yaml"):
        load_config(Path("nope.yaml"))


def test_broken_yaml_is_one_line(tmp_path):
    with pytest.raises(ArtQuantError, match="is not YAML"):
        load_config(write(tmp_path, "a: ["))
