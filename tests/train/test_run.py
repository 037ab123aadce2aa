"""A training run in miniature, from a dataset on the disk to a checkpoint that scores."""

import csv
import json
import math
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate.utils import DistributedType

from artquant_plugin.checkpoint import ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Dataset, Painting, write_dataset
from artquant_plugin.metrics.agreement import srocc
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.config import load_config
from artquant_plugin.train.record import RunSummary
from artquant_plugin.train.run import check_gpus, dry_run, train
from tests.tiny import pictures
from tests.train.runs import LORA, same, weights, write_config, write_small


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small")


def config_file(folder: Path, data: Path, **changes) -> Path:
    return write_config(folder, data, train={"per_device_train_batch_size": 8, **changes.pop("train", {})}, **changes)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    return train(load_config(config_file(folder, data))).output


def test_a_run_on_a_dataset_with_a_test_split_in_the_data_home_names_its_task(data, tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "home"))
    own = tmp_path / "home" / "mine"
    shutil.copytree(data, own)
    loaded = Dataset.load(data)
    write_dataset(
        own,
        name="small",
        score_range=loaded.info.score_range,
        splits={
            "train": loaded.split("train")[:8],
            "validation": loaded.split("validation"),
            "test": loaded.split("train")[8:9],
        },
        image_root=str(loaded.image_root),
        source="made up",
        license="CC0",
    )
    summary = train(load_config(config_file(tmp_path, own)))
    assert summary.tasks == ("mine",)
    assert " --tasks mine " in json.loads((summary.output / "training.json").read_text())["evaluate"]


def test_a_run_leaves_a_checkpoint_that_scores(finished):
    result = ArtQuantScorer.from_pretrained(str(finished), device="cpu").score(pictures(1))[0]
    assert 1 <= result.score <= 10
    assert ScoringSpec.load(finished) == ScoringSpec()


def test_the_curves_hold_the_loss_and_its_parts_of_every_step(finished):
    with (finished / "training-curves.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    steps = [line for line in lines if line["loss"]]
    assert [line["stage"] for line in steps] == ["mat"] * 4 + ["sot"] * 2  # 32 samples, then 16, in batches of 8
    for line in steps:
        parts = [float(line[name] or 0) for name in ("ce_description", "ce_answer", "kl")]
        assert float(line["loss"]) == pytest.approx(sum(parts), rel=1e-3)
        assert 0 < float(line["level_mass"]) <= 1
    assert not steps[-1]["ce_description"]
    assert [line["stage"] for line in lines if line["eval_srocc"]] == ["mat", "sot"]
    assert [0 < float(line["eval_level_mass"]) <= 1 for line in lines if line["eval_srocc"]] == [True, True]


def test_the_level_words_are_raised_at_the_end_and_nothing_else_differs_from_the_papers_form(finished, data, tmp_path):
    paper = train(load_config(config_file(tmp_path, data, loss={"preset": "paper"})))
    record = json.loads((finished / "training.json").read_text())["level_mass"]
    assert record["before"] < 0.9 < 0.95 <= record["after"] and record["reason"] is None
    assert f"level words: {record['after']:.3f} of the probability, " in "\n".join(RunSummary.load(finished).lines())
    assert paper.level_mass is RunSummary.load(paper.output).level_mass is None
    raised, trained = weights(finished), weights(paper.output)
    assert raised.keys() == trained.keys()
    (head,) = [name for name in raised if not torch.equal(raised[name], trained[name])]
    assert head.endswith("lm_head.weight")
    assert (raised[head] != trained[head]).any(dim=1).sum() == 5
    scores = [
        [result.score for result in ArtQuantScorer.from_pretrained(str(folder), device="cpu").score(pictures(3))]
        for folder in (finished, paper.output)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_the_record_tells_what_was_trained_with_what(finished, data):
    record = json.loads((finished / "training.json").read_text())
    assert record["config"]["data"] == [{"name": str(data), "weight": 1.0}]
    assert set(record["data"]) == {"small"}
    assert {"torch", "transformers", "python"} <= set(record["versions"])
    assert set(record["data"]["small"]) == {"dataset.json", "train.jsonl", "validation.jsonl"}
    assert record["data"]["small"]["train.jsonl"] == sha256_file(data / "train.jsonl")
    assert record["evaluate"].startswith(f"lmms-eval --model artquant --model_args pretrained={finished} --tasks ")
    assert set(record["stages"]) == {"mat", "sot"}
    assert record["trained"]["vision"]["trained"] == record["trained"]["vision"]["all"] > 0
    again = load_config(finished / "config.train.yaml")
    assert again.model_dump(mode="json") == record["config"]


@pytest.mark.parametrize("start", [train, partial(dry_run, say=print)], ids=["train", "dry_run"])
def test_several_gpus_in_one_process_are_refused_before_anything_is_loaded(start, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    path = config_file(tmp_path, tmp_path / "no data")
    with pytest.raises(ArtQuantError, match=r"sees 2 GPUs, and a process trains on one; .*--nproc_per_node 2"):
        start(load_config(path))


def test_one_gpu_for_each_process_is_what_is_asked_for():
    check_gpus(1, DistributedType.NO)
    check_gpus(8, DistributedType.MULTI_GPU)


def test_a_finished_run_is_not_trained_over_unless_asked(finished, data, tmp_path):
    path = config_file(tmp_path, data, output=str(finished))
    with pytest.raises(ArtQuantError, match="holds a finished checkpoint; pass --overwrite, or --set output=FOLDER"):
        train(load_config(path))


@pytest.mark.slow
def test_training_over_a_checkpoint_that_fails_leaves_it_and_every_other_file(data, tmp_path):
    output = train(load_config(config_file(tmp_path, data))).output
    (output / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}
    path = config_file(tmp_path, data, train={"learning_rate": 1e30, "per_device_train_batch_size": 2})
    with pytest.raises(ArtQuantError, match="the loss became"):
        train(load_config(path), overwrite=True)
    assert {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()} == before
    train(load_config(config_file(tmp_path, data, seed=1)), overwrite=True)
    assert (output / "notes.txt").read_text() == "mine"
    assert json.loads((output / "training.json").read_text())["config"]["seed"] == 1
    assert (output / "model.safetensors").read_bytes() != before["model.safetensors"]


def test_the_same_seed_gives_the_same_weights(finished, data, tmp_path):
    assert same(train(load_config(config_file(tmp_path, data))).output, finished)


def test_training_goes_on_from_a_checkpoint(finished, data, tmp_path):
    path = config_file(
        tmp_path,
        data,
        model={"pretrained": str(finished)},
        stages=[{"name": "sot", "samples": ["score"], "epochs": 1}],
    )
    scores = [
        ArtQuantScorer.from_pretrained(str(folder), device="cpu").score(pictures(1))[0].score
        for folder in (finished, train(load_config(path)).output)
    ]
    assert math.isfinite(scores[1])
    assert scores[0] != scores[1]


def test_a_loss_that_is_not_finite_stops_the_run(data, tmp_path):
    path = config_file(tmp_path, data, train={"learning_rate": 1e30, "per_device_train_batch_size": 2})
    with pytest.raises(ArtQuantError, match="the loss became .* lower train.learning_rate"):
        train(load_config(path))
    assert not (tmp_path / "run" / "artquant.json").exists()


def test_descriptions_that_are_not_there_are_missed_at_once(data, tmp_path):
    bare = tmp_path / "bare"
    rows = [Painting("0", "0.png", "", 5.0)]
    write_dataset(
        bare, name="bare", score_range=(0, 10), splits={"train": rows}, image_root=str(data), source="", license=""
    )
    with pytest.raises(ArtQuantError, match="has no descriptions; import it again with --descriptions") as raised:
        train(load_config(config_file(tmp_path, bare)))
    remedy = re.search(r"or train on scores alone with --set '(stages=.*)'$", str(raised.value))
    train(load_config(config_file(tmp_path, bare), [remedy[1]]))  # it is of use as it stands


def test_scores_outside_the_levels_are_refused_before_training(data, tmp_path):
    path = config_file(tmp_path, data, levels={"values": [5, 4, 3, 2, 1]})
    with pytest.raises(ArtQuantError, match=r"outside the levels' range \[1, 5\]"):
        train(load_config(path))


def test_the_curves_are_drawn(finished):
    from PIL import Image

    with Image.open(finished / "training-curves.png") as image:
        assert image.size == (1350, 1143)  # 9 × 7.62 inches of 150 pixels: loss, agreement, level mass
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50


def test_the_log_tells_speed_and_memory(finished):
    with (finished / "training-curves.csv").open(newline="") as file:
        steps = [line for line in csv.DictReader(file) if line["loss"]]
    for line in steps:
        assert float(line["samples_per_second"]) > 0
        # An image of 16 tokens, and the question: more than 30 tokens a sample.
        assert float(line["tokens_per_second"]) > 30 * float(line["samples_per_second"])
        assert 0.05 < float(line["memory_gib"]) < 64


def scored(folder: Path, data: Path) -> float:
    """SROCC of a checkpoint on the validation split."""
    dataset = Dataset.load(data)
    paintings = dataset.split("validation")
    results = ArtQuantScorer.from_pretrained(str(folder), device="cpu", batch_size=8).score(
        [dataset.image_path(painting) for painting in paintings]
    )
    return srocc([result.score for result in results], [painting.score for painting in paintings])


@pytest.mark.parametrize("trained", [{}, LORA])
def test_the_best_weights_by_srocc_are_kept_or_the_last(trained, data, base, tmp_path):
    """A rate this high makes SROCC jump, so that the best evaluation is not the last one."""
    stages = [{"name": "only", "samples": ["score"], "epochs": 8}]
    options = {"learning_rate": 2e-2, "lr_scheduler_type": "constant"}
    for keep in ("best", "last"):
        config = config_file(
            tmp_path / keep,
            data,
            stages=stages,
            trained=trained,
            model={"pretrained": str(base)},
            train={**options, "keep": keep},
        )
        summary = train(load_config(config))
        with (summary.output / "training-curves.csv").open(newline="") as file:
            values = [float(line["eval_srocc"]) for line in csv.DictReader(file) if line["eval_srocc"]]
        assert max(values) > values[-1]
        expected = max(values) if keep == "best" else values[-1]
        assert dict(summary.stages)["only"]["eval_srocc"] == pytest.approx(expected, abs=1e-12)
        assert scored(summary.output, data) == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def base(data, tmp_path_factory) -> Path:
    stages = [{"name": "none", "samples": ["describe", "score"], "epochs": 0.25}]
    return train(load_config(config_file(tmp_path_factory.mktemp("base"), data, stages=stages))).output


def test_a_stage_ends_early_when_srocc_no_longer_improves(data, tmp_path):
    stages = [{"name": "only", "samples": ["score"], "epochs": 40}]
    options = {"learning_rate": 2e-2, "lr_scheduler_type": "constant", "early_stopping_patience": 2}
    summary = train(load_config(config_file(tmp_path, data, stages=stages, train=options)))
    with (summary.output / "training-curves.csv").open(newline="") as file:
        values = [float(line["eval_srocc"]) for line in csv.DictReader(file) if line["eval_srocc"]]
    assert 3 <= len(values) < 40
    assert max(values) == values[-3]
    assert max(values[:-3], default=-1) < values[-3]


def test_evaluation_every_few_steps(data, tmp_path):
    summary = train(load_config(config_file(tmp_path, data, train={"eval_steps": 3, "save_steps": 2})))
    with (summary.output / "training-curves.csv").open(newline="") as file:
        places = [(line["stage"], line["step"]) for line in csv.DictReader(file) if line["eval_srocc"]]
    assert places == [("mat", "3"), ("mat", "4"), ("sot", "2")]  # of 4 and 2 steps; the last is always evaluated


def test_without_a_validation_split_the_last_weights_are_kept(tmp_path):
    data = write_small(tmp_path / "data", count=8, validation=0)
    summary = train(load_config(config_file(tmp_path, data)))
    assert summary.stages == (("mat", {}), ("sot", {}))
    assert (summary.output / "model.safetensors").is_file()


def test_gradient_checkpointing_changes_memory_and_no_weight(base, data, tmp_path):
    outputs = [
        train(
            load_config(
                config_file(
                    tmp_path / str(on),
                    data,
                    model={"pretrained": str(base)},
                    trained=LORA,
                    train={"gradient_checkpointing": on},
                )
            )
        ).output
        for on in (False, True)
    ]
    before, after = (weights(output) for output in outputs)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_bfloat16_trains_beside_narrow_frozen_weights(base, data, tmp_path):
    config = config_file(
        tmp_path,
        data,
        model={"pretrained": str(base), "dtype": "bfloat16"},
        trained=LORA,
        train={"bf16": True, "eval_steps": 1},
    )
    summary = train(load_config(config))
    assert all(-1 <= value <= 1 for _, metrics in summary.stages for value in metrics.values())
    assert {value.dtype for value in weights(summary.output).values()} == {torch.float32}
    result = ArtQuantScorer.from_pretrained(str(summary.output), device="cpu").score(pictures(1))[0]
    assert 1 <= result.score <= 10


@pytest.mark.slow
def test_an_output_that_was_written_over_holds_no_file_of_the_other_kind(base, data, tmp_path):
    full = config_file(tmp_path, data)
    train(load_config(full))
    adapter = config_file(tmp_path, data, model={"pretrained": str(base)}, trained=LORA)
    output = train(load_config(adapter), overwrite=True).output
    assert not (output / "model.safetensors").exists() and not (output / "config.json").exists()
    train(load_config(config_file(tmp_path, data)), overwrite=True)
    assert not list(output.glob("adapter*")) and not (output / "extra_weights.safetensors").exists()
    assert 1 <= ArtQuantScorer.from_pretrained(str(output), device="cpu").score(pictures(1))[0].score <= 10


def test_a_tracker_that_is_not_there_is_one_line(data, tmp_path):
    with pytest.raises(ArtQuantError, match=r"train.report_to nonsense: .*; install the tracker or leave it out"):
        train(load_config(config_file(tmp_path, data, train={"report_to": ["nonsense"]})))


def test_tensorboard_gets_the_log(data, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    output = train(load_config(config_file(tmp_path, data, train={"report_to": ["tensorboard"]}))).output
    log = events.EventAccumulator(str(output / "tensorboard" / "mat"))
    log.Reload()
    tags = set(log.Tags()["scalars"])
    assert {"train/loss", "train/kl", "train/ce_description", "train/samples_per_second", "eval/srocc"} <= tags
