"""Training on `datasets` objects: as on dataset folders, from streams, with adapters, and what is refused."""

import math
import re
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint import load_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train import ArtQuantConfig, ArtQuantTrainer
from artquant_plugin.train.config import load_config
from artquant_plugin.train.parts import find_parts
from artquant_plugin.train.run import train
from tests.paths import ROOT
from tests.tiny import pictures
from tests.train.runs import same, weights, write_config, write_small

STAGES = [{"name": "mat", "samples": ["describe", "score"], "epochs": 2}]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def base(data, tmp_path_factory) -> Path:
    """A checkpoint to start from."""
    stages = [{"name": "none", "samples": ["describe", "score"], "epochs": 0.25}]
    return train(load_config(write_config(tmp_path_factory.mktemp("base"), data, stages=stages))).output


@pytest.fixture(scope="module")
def table(data) -> datasets.Dataset:
    return rows(data, "train")


@pytest.fixture(scope="module")
def validation(data) -> datasets.Dataset:
    return rows(data, "validation")


def rows(data: Path, split: str) -> datasets.Dataset:
    """A split as a table whose images are an `Image` column."""
    dataset = Dataset.load(data)
    paintings = dataset.split(split)
    content = {
        "id": [painting.id for painting in paintings],
        "image": [str(dataset.image_path(painting)) for painting in paintings],
        "score": [painting.score for painting in paintings],
        "description": [painting.description for painting in paintings],
    }
    return datasets.Dataset.from_dict(content).cast_column("image", datasets.Image())


def config(folder: Path, **options) -> ArtQuantConfig:
    given = {"per_device_train_batch_size": 4, "learning_rate": 1e-3, "logging_steps": 1, "save_strategy": "no"}
    return ArtQuantConfig(output_dir=str(folder), report_to="none", disable_tqdm=True, **given | options)


def losses(trainer: ArtQuantTrainer) -> list[float]:
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def test_a_table_trains_as_the_dataset_folder_does_bit_for_bit(data, base, table, validation, tmp_path):
    # A run raises the level words' probability at its end; the trainer leaves the weights as they are trained.
    run = write_config(tmp_path, data, stages=STAGES, model={"pretrained": str(base)}, loss={"level_mass": 0})
    output = train(load_config(run)).output
    options = {"num_train_epochs": 2, "eval_strategy": "epoch", "seed": 0, "per_device_eval_batch_size": 8}
    own = table.with_format("torch")  # as a user may have set it, for work of their own
    trainer = ArtQuantTrainer(str(base), config(tmp_path / "table", **options), own, validation)
    trainer.train()
    trainer.save_model()
    assert same(tmp_path / "table", output)
    again = ArtQuantScorer.from_pretrained(str(tmp_path / "table"), device="cpu").score(pictures(1))[0]
    assert 1 <= again.score <= 10


def test_a_resumed_training_ends_with_the_weights_of_one_that_was_not_cut(base, table, validation, tmp_path):
    options = {"num_train_epochs": 2, "eval_strategy": "epoch", "save_strategy": "steps", "save_steps": 5}
    options["save_total_limit"] = None
    whole = ArtQuantTrainer(str(base), config(tmp_path / "whole", **options), table, validation)
    whole.train()
    whole.save_model()
    cut = ArtQuantTrainer(str(base), config(tmp_path / "whole", **options), table, validation)
    cut.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-10"))  # of 16 steps
    cut.save_model(str(tmp_path / "cut"))
    assert same(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_trains_on_its_rows_in_order_and_starts_over(workers, base, table, validation, tmp_path):
    """16 rows of two samples in batches of 4: the ninth step begins the second pass."""
    seen = []

    class Watching(ArtQuantTrainer):
        def training_step(self, model, inputs, *args, **options):
            seen.append(inputs["paintings"])
            return super().training_step(model, inputs, *args, **options)

    options = {"max_steps": 9, "dataloader_num_workers": workers, "eval_strategy": "steps", "eval_steps": 9}
    trainer = Watching(str(base), config(tmp_path, **options), table.to_iterable_dataset(), validation)
    trainer.train()
    ids = [name for name in table["id"] for _ in range(2)]
    assert sum(seen, []) == ids + ids[:4]
    assert all(math.isfinite(loss) for loss in losses(trainer)) and len(losses(trainer)) == 9
    assert -1 <= trainer.evaluate()["eval_srocc"] <= 1


def test_a_resumed_training_on_a_stream_ends_with_the_weights_of_one_that_was_not_cut(base, table, tmp_path):
    """In its second pass over a shuffled stream, and again from the last step, after which nothing is left."""
    options = {"max_steps": 12, "save_strategy": "steps", "save_steps": 10, "save_total_limit": None}
    stream = table.to_iterable_dataset().shuffle(seed=3, buffer_size=8)
    whole = ArtQuantTrainer(str(base), config(tmp_path / "whole", **options), stream)
    whole.train()
    whole.save_model()
    for step in (10, 12):
        cut = ArtQuantTrainer(str(base), config(tmp_path / "whole", **options), stream)
        cut.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert cut.state.global_step == 12
        cut.save_model(str(tmp_path / f"cut-{step}"))
        assert same(tmp_path / f"cut-{step}", tmp_path / "whole")


def test_a_stream_of_pictures_without_declared_columns_trains(base, tmp_path):
    def paintings():
        for index, image in enumerate(pictures(4)):
            yield {"image": image, "score": np.float32(2.0 + index)}

    stream = datasets.IterableDataset.from_generator(paintings)
    trainer = ArtQuantTrainer(str(base), config(tmp_path, max_steps=2), stream, list_of(paintings))
    trainer.train()
    assert len(losses(trainer)) == 2
    assert trainer.evaluate().keys() == {"eval_srocc", "eval_plcc", "eval_level_mass"}


def test_an_empty_stream_is_one_line(base, table, tmp_path):
    stream = table.to_iterable_dataset().filter(lambda row: False)
    with pytest.raises(ArtQuantError, match="train_dataset gives no sample"):
        ArtQuantTrainer(str(base), config(tmp_path, max_steps=2), stream).train()


def test_a_loaded_model_finds_its_processor_or_says_what_is_missing(base, table, tmp_path):
    loaded = load_checkpoint(str(base))
    trainer = ArtQuantTrainer(loaded.model, config(tmp_path, activation_checkpointing=True, max_steps=1), table)
    assert trainer.prompter.level_ids == ArtQuantTrainer(str(base), config(tmp_path), table).prompter.level_ids
    trainer.train()
    loaded.model.config._name_or_path = ""
    with pytest.raises(ArtQuantError, match="does not say where its processor is; pass processing_class"):
        ArtQuantTrainer(loaded.model, config(tmp_path), table)


def list_of(make) -> datasets.Dataset:
    return datasets.Dataset.from_list(list(make()))


def test_an_adapter_is_trained_beside_the_parts_that_are_named(base, table, tmp_path):
    peft_config = LoraConfig(r=2, lora_alpha=4)
    trainer = ArtQuantTrainer(
        str(base), config(tmp_path, max_steps=2, full_parts=["projector"]), table, peft_config=peft_config
    )
    model, parts = trainer.model, find_parts(trainer.model)
    assert isinstance(model, PeftModel) and peft_config.target_modules is None  # the user's own stays as it is
    for name, parameter in core(model).named_parameters():
        assert parameter.requires_grad == (".lora_" in name or parts.of(name) == "projector"), name
        assert ".lora_" not in name or parts.of(name) == "language"
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer.train()
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert any(".lora_B" in name for name in moved) and any("projector" in name for name in moved)
    trainer.save_model()
    assert (tmp_path / "extra_weights.safetensors").is_file()
    assert isinstance(load_checkpoint(str(tmp_path)).model, PeftModel)


def test_the_same_seed_makes_the_same_adapter(base, table, tmp_path):
    for name in ("a", "b"):
        torch.manual_seed(ord(name))  # what was drawn before does not matter
        trainer = ArtQuantTrainer(
            str(base), config(tmp_path / name, max_steps=2), table, peft_config=LoraConfig(r=2, lora_dropout=0.1)
        )
        trainer.train()
        trainer.save_model()
    assert same(tmp_path / "a", tmp_path / "b")
    assert weights(tmp_path / "a")


def test_training_ends_with_the_best_weights_or_the_last(base, table, validation, tmp_path):
    """A rate this high makes SROCC jump, so that the best evaluation is not the last one."""
    options = {"num_train_epochs": 8, "eval_strategy": "epoch", "learning_rate": 2e-2, "lr_scheduler_type": "constant"}
    for keep in ("best", "last"):
        args = config(tmp_path / keep, keep=keep, sample_kinds=["score"], seed=0, **options)
        trainer = ArtQuantTrainer(str(base), args, table, validation)
        trainer.train()
        values = [line["eval_srocc"] for line in trainer.state.log_history if "eval_srocc" in line]
        assert max(values) > values[-1]
        expected = max(values) if keep == "best" else values[-1]
        assert trainer.evaluate()["eval_srocc"] == pytest.approx(expected, abs=1e-12)


def test_an_image_that_cannot_be_read_is_named_by_its_row(base, table, tmp_path):
    broken = table.to_list()
    broken[3]["image"] = {"bytes": b"no image", "path": None}
    features = table.features.copy()
    spoiled = datasets.Dataset.from_list(broken, features=features)
    trainer = ArtQuantTrainer(str(base), config(tmp_path), spoiled)
    with pytest.raises(
        ArtQuantError,
        match=r"sample (score|describe) 3: .*is no image.*; or leave such images out with on_bad_sample='skip'",
    ):
        trainer.train()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda table: table.rename_column("score", "mos"), {}, "has no column 'score', only id, image, mos"),
        (lambda table: table.select([]), {}, "train_dataset has no row"),
        (lambda table: table.to_iterable_dataset(), {}, "a stream does not tell its length; set max_steps"),
        (lambda table: table, {"levels": {"values": [5, 4, 3, 2, 1]}}, "outside the levels' range"),
        (lambda table: list(table), {}, "train_dataset is a list; give a datasets.Dataset"),
        (
            lambda table: table.map(lambda row: {"score": math.nan}),
            {"sample_kinds": ["score"]},
            "row 0 has the score nan, which is no number",
        ),
        (
            lambda table: table.remove_columns("description"),
            {"sample_kinds": ["describe"]},
            "has no column 'description'",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(change, options, message, base, table, tmp_path):
    with pytest.raises(ArtQuantError, match=message) as raised:
        ArtQuantTrainer(str(base), config(tmp_path, **options), change(table))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"load_best_model_at_end": True}, "load_best_model_at_end True has no effect here: `keep` says"),
        ({"train_sampling_strategy": "group_by_length"}, "`group_by_length` groups descriptions"),
        ({"keep": "first"}, "keep is 'first'; it must be 'best' or 'last'"),
        ({"full_parts": ["visoin"]}, "full_parts names 'visoin'; did you mean 'vision'"),
        ({"part_learning_rates": {"text": 1e-5}}, "part_learning_rates names 'text'; known: language, vision, projec"),
        ({"sample_kinds": ["scores"]}, "sample_kinds names 'scores'; did you mean 'score'"),
        ({"loss": {"preset": "papr"}}, "loss: preset: .*'paper' or 'released'"),
        ({"levels": {"value": [1]}}, "levels: unknown key 'value'; did you mean 'values'"),
        ({"share_images": True, "per_device_train_batch_size": 3}, "per_device_train_batch_size 3 is odd"),
        ({"warmup_steps": 10, "warmup_ratio": 0.1}, "warmup_steps and warmup_ratio both say"),
    ],
)
def test_arguments_that_the_trainer_would_not_follow_are_refused(options, message, tmp_path):
    with pytest.raises(ArtQuantError, match=message):
        config(tmp_path, **options)


def test_an_optimizer_that_groups_weights_itself_takes_no_rates_by_part(base, table, tmp_path):
    class Grouping(ArtQuantTrainer):
        @staticmethod
        def get_optimizer_cls_and_kwargs(args, model=None):
            return torch.optim.SGD, {"params": list(model.parameters()), "lr": 0.0}

    args = config(tmp_path, max_steps=1, part_learning_rates={"vision": 1e-5})
    with pytest.raises(ArtQuantError, match="groups the weights itself and knows no learning rate by part"):
        Grouping(str(base), args, table).train()
    Grouping(str(base), config(tmp_path, max_steps=1), table).train()


def test_the_example_of_the_manual_runs(base, table, validation, tmp_path, monkeypatch, capsys):
    section = (ROOT / "docs" / "training.md").read_text().partition("## From Python")[2]
    example = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    for split, rows_of in (("train", table), ("validation", validation)):
        rows_of.to_parquet(tmp_path / "paintings" / f"{split}-00000-of-00001.parquet")
    pictures(1)[0].save(tmp_path / "painting.jpg")
    for asked, given in {
        '"Qwen/Qwen3.5-0.8B"': f'"{base}"',
        '"me/paintings"': f'"{tmp_path / "paintings"}"',
        '"max_steps": 200': '"max_steps": 4',
        '"eval_steps": 50': '"eval_steps": 2',
    }.items():
        assert example.count(asked) == 1
        example = example.replace(asked, given)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    exec(compile(example, "training.md", "exec"), {})
    *_, metrics, raised, score = capsys.readouterr().out.splitlines()
    assert "eval_srocc" in metrics and "eval_plcc" in metrics
    assert raised.startswith("level words: 0.9")
    assert 1 <= float(score) <= 10
    assert (tmp_path / "runs" / "mine" / "final" / "adapter_config.json").is_file()
