"""The configurations that ship, and what they say about the paper."""

import itertools
from pathlib import Path

import pytest
import yaml

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint import load_checkpoint
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.config import accumulation_steps, load_config
from artquant_plugin.train.run import train
from tests.backbones.families import FAMILIES
from tests.backbones.mplug_owl2.original_folders import write_base
from tests.paths import ROOT
from tests.tiny import pictures
from tests.train.runs import write_small

DATASETS = ("apdd", "baid", "vaps")
EPOCHS = {"apdd": (3, 1), "baid": (1, 1), "vaps": (1, 7)}  # MAT, SOT; ArtQuant, "Training setting"
MODELS = sorted(path.name for path in (ROOT / "configs" / "models").glob("*.yaml"))


@pytest.mark.parametrize("name", DATASETS)
def test_presets_are_the_papers(name):
    config = load_config(Path(f"{name}.yaml"))
    assert [section.name for section in config.data] == [name]
    assert tuple(stage.epochs for stage in config.stages) == EPOCHS[name]
    assert [stage.samples for stage in config.stages] == [("describe", "score"), ("score",)]
    assert (config.loss.k, config.loss.k_asl) == (1, 1)
    assert config.levels.values == (10, 7.5, 5, 3.5, 1)
    assert (config.train.learning_rate, config.train.lr_scheduler_type) == (2e-5, "cosine")
    assert (config.train.warmup_ratio, config.train.weight_decay, config.train.bf16) == (0.03, 0, True)
    # The authors' 4 and 4 on the four GPUs that the paper names, and as many samples on any number of processes.
    assert (config.train.per_device_train_batch_size, config.train.global_batch_size) == (4, 4 * 4 * 4)
    assert [accumulation_steps(dict(config.train), processes) for processes in (1, 2, 4, 8, 16)] == [16, 8, 4, 2, 1]
    assert config.model.pretrained == "MAGAer13/mplug-owl2-llama2-7b"
    trained = config.trained
    assert (trained.language.method, trained.vision.method, trained.projector.method) == ("lora", "full", "full")
    assert (trained.lora.targets, trained.lora.rank, trained.lora.alpha) == ("original", 128, 256)
    assert trained.lora.dropout == 0.05


@pytest.mark.parametrize(("data", "model"), itertools.product(DATASETS, MODELS))
def test_every_dataset_goes_with_every_model(data, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config([Path(f"{data}.yaml"), Path("models") / model], ["output=runs/mine"])
    assert config.model.pretrained == "Qwen/" + model.removesuffix(".yaml").replace("qwen", "Qwen").replace("b", "B")
    assert config.trained.lora.targets == "all-linear"
    assert tuple(stage.epochs for stage in config.stages) == EPOCHS[data]
    assert config.output == Path("runs/mine")


@pytest.mark.parametrize("name", ["ddp", "fsdp", "deepspeed"])
def test_accelerate_reads_the_launch_configurations(name):
    from accelerate.commands.config.config_args import load_config_from_file

    path = ROOT / "configs" / "accelerate" / f"{name}.yaml"
    loaded = load_config_from_file(str(path))
    assert loaded.mixed_precision == "bf16"
    assert loaded.num_processes == -1  # accelerate then asks for --num_processes
    assert yaml.safe_load(path.read_text())["distributed_type"] in ("MULTI_GPU", "FSDP", "DEEPSPEED")


def small_run(tmp_path: Path, files: list[str], base: Path) -> Path:
    """A preset on a tiny model of its architecture, a tiny dataset and fewer epochs."""
    data = write_small(tmp_path / "data", count=12, validation=4)
    overrides = [
        f"data=[{data}]",
        f"output={tmp_path / 'run'}",
        f"model.pretrained={base}",
        "train.learning_rate=1e-3",
        "train.dataloader_num_workers=0",
        "stages=[{name: mat, samples: [describe, score], epochs: 1}, {name: sot, samples: [score], epochs: 1}]",
        "train.report_to=[]",
    ]
    return train(load_config([Path(file) for file in files], overrides)).output


def test_the_papers_preset_trains_the_papers_architecture(tmp_path):
    """In bfloat16, checkpointed, from a base in the original's layout to an adapter that scores."""
    base = write_base(tmp_path / "base")
    output = small_run(tmp_path, ["baid.yaml"], base)
    loaded = load_checkpoint(str(output), dtype="float32")
    adapted = {key.partition(".lora_")[0] for key, _ in core(loaded.model).named_parameters() if ".lora_" in key}
    # The head's matrix gives the level words their probability among all tokens.
    assert {name.rpartition("self_attn.")[2] for name in adapted} == {"q_proj", "v_proj.multiway.1", "lm_head"}
    scores = [result.score for result in ArtQuantScorer(loaded).score(pictures(2))]
    untrained = ArtQuantScorer.from_pretrained(str(base), dtype="float32", device="cpu").score(pictures(2))
    assert all(1 <= score <= 10 for score in scores)
    assert scores != [result.score for result in untrained]


def test_todays_preset_trains_todays_architecture(tmp_path):
    model, processor = FAMILIES["qwen3_5"]()
    from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint

    save_checkpoint(tmp_path / "base", model, processor, ScoringSpec())
    output = small_run(tmp_path, ["vaps.yaml", "models/qwen3.5-0.8b.yaml"], tmp_path / "base")
    result = ArtQuantScorer.from_pretrained(str(output), dtype="float32", device="cpu").score(pictures(1))[0]
    assert 1 <= result.score <= 10
