import sys
from pathlib import Path

import pytest

from artquant_plugin.common.errors import ArtQuantError
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


TRAINING = sorted(
    path.name for path in (ROOT / "configs").glob("*.yaml") if path.name not in ("rad.yaml", "prompt-search.yaml")
)


@pytest.mark.parametrize("name", TRAINING)
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
        ("data: [{name: a, weigth: 2}]", "unknown key 'data.0.weigth'; did you mean 'weight'?"),
        ("data: [{name: a, weight: 0}]", "data.0.weight: .*greater than 0"),
        ("data: [{name: a, weight: .inf}]", "data.0.weight: .*finite"),
        ("stages: [{name: a, samples: [score], epochs: .inf}]", "stages.0.epochs: .*finite"),
        ("train: {learning_rate: .inf}", "train.learning_rate: .*finite"),
        ("trained: {vison: full}", "unknown key 'trained.vison'; did you mean 'vision'?"),
        ("trained: {vision: {learning_rat: 1}}", "unknown key 'trained.vision.learning_rat'; did you mean 'learn"),
        ("trained: {vision: partly}", "trained.vision.method: .*'full', 'lora' or 'frozen', not 'partly'"),
        ("trained: {lora: {rnk: 1}}", "unknown key 'trained.lora.rnk'; did you mean 'rank'?"),
        ("trained: {lora: {targets: all}}", "trained.lora.targets: "),
        ("levels: {method: sbd}", "levels.method: .*'sbde'"),
        ("levels: {method: gaussian}", "levels.deviation belongs to method gaussian, which needs it"),
        ("levels: {method: onehot, sigma: 1}", "levels.sigma belongs to method sbde, not onehot"),
        ("train: {on_bad_sample: ignore}", "train.on_bad_sample: .*'stop' or 'skip', not 'ignore'"),
        ("train: {share_images: true, group_by_length: true}", "ask for different batches; choose one"),
        (
            "stages: [{name: a, samples: [score], epochs: 1}, {name: a, samples: [score], epochs: 1}]",
            "stages a, a repeat a name",
        ),
        ("train: {lr_scheduler_type: cosinus}", "train.lr_scheduler_type: .*'inverse_sqrt'.*, not 'cosinus'"),
        ("seed: 5000000000", "seed: .*less than 4294967296, not 5000000000"),
        ("model: {tiny: {heads: 5}}", "hidden 96 is no multiple of 2 × 5 heads"),
        ("model: {tiny: {image_size: 4}}", "image_size 4 is no multiple of patch_size 8; change one"),
        ("model: {pretrained: a/b, quantization: 4bit}", "trained.language is full, but quantised weights cannot"),
    ],
)
def test_a_wrong_key_or_value_is_one_line(tmp_path, change, message):
    key = change.partition(":")[0]
    kept = "\n".join(line for line in MINIMAL.splitlines() if not line.startswith(f"{key}:"))
    with pytest.raises(ArtQuantError, match=message) as raised:
        load_config(write(tmp_path, f"{kept}\n{change}\n"))
    assert "\n" not in str(raised.value)


def test_later_files_go_over_earlier_ones_section_by_section(tmp_path):
    first = write(tmp_path, MINIMAL + "train: {learning_rate: 1.0e-3, bf16: true}\n")
    second = tmp_path / "second.yaml"
    second.write_text("train: {learning_rate: 2.0e-3}\nmodel: {pretrained: other/model}\n")
    config = load_config([first, second], ["train.learning_rate=3e-3"])
    assert (config.train.learning_rate, config.train.bf16) == (3e-3, True)
    assert config.model.pretrained == "other/model"
    assert config.stages[0].name == "mat"


def test_short_forms_mean_the_long_ones(tmp_path):
    short = load_config(write(tmp_path, MINIMAL + "trained: {vision: frozen}\n"))
    assert short.trained.vision.method == "frozen"
    assert short.trained.language.method == short.trained.projector.method == "full"
    assert (short.data[0].name, short.data[0].weight) == ("artquant_demo", 1.0)


def test_quantised_weights_need_bitsandbytes_or_say_so(tmp_path, monkeypatch):
    from artquant_plugin.train.run import train
    from tests.train.runs import write_config, write_small

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # how Python notes that a module is not to be had
    data = write_small(tmp_path / "data", count=2, validation=0)
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    path = write_config(
        tmp_path,
        data,
        model={"pretrained": str(base), "quantization": "4bit"},
        trained={"language": "lora", "vision": "frozen", "projector": "frozen"},
    )
    with pytest.raises(ArtQuantError, match="quantization 4bit needs bitsandbytes; pip install"):
        train(load_config(path))


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
