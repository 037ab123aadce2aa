"""The section `train` takes every argument of `TrainingArguments` that the run does not own."""

import csv
import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from transformers import HfArgumentParser, TrainingArguments

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train.config import OWNED_BY_RUN, ArtQuantConfig, TrainSection, load_config, stage_arguments
from artquant_plugin.train.run import train
from tests.train.runs import write_config, write_small

ONE_STAGE = [{"name": "only", "samples": ["score"], "epochs": 1}]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small")


def steps(output: Path) -> list[dict[str, str]]:
    """The lines of a run's curves that have a loss."""
    with (output / "training-curves.csv").open(newline="") as file:
        return [line for line in csv.DictReader(file) if line["loss"]]


def test_every_argument_is_a_key_or_is_refused_with_a_reason():
    names = {each.name for each in fields(TrainingArguments) if each.init}
    assert names <= set(TrainSection.model_fields) | set(OWNED_BY_RUN)
    assert not set(TrainSection.model_fields) & set(OWNED_BY_RUN)


@pytest.mark.parametrize("name", OWNED_BY_RUN)
def test_what_the_run_owns_is_refused_by_name(name, data, tmp_path):
    with pytest.raises(ArtQuantError) as raised:
        load_config(write_config(tmp_path, data, train={name: 1}))
    assert f"train: {name} is not a key of this section: {OWNED_BY_RUN[name]}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_docstring_lists_every_default_that_differs(tmp_path):
    def defaults(kind: type) -> dict:
        made = kind(output_dir=str(tmp_path))
        return {name: getattr(made, name) for name in {each.name for each in fields(TrainingArguments) if each.init}}

    own, theirs = defaults(ArtQuantConfig), defaults(TrainingArguments)
    different = {name for name in own if own[name] != theirs[name]}
    # The device and the memory for it depend on this machine; the old names of checkpointing follow the new ones.
    different -= {"gradient_checkpointing_kwargs"}
    listed = ArtQuantConfig.__doc__.partition("Defaults that differ")[2].partition("Raises:")[0]
    assert different >= {"learning_rate", "lr_scheduler_type", "logging_steps"}
    assert all(name in listed for name in different), different
    own_names = {each.name for each in fields(ArtQuantConfig)} - {each.name for each in fields(TrainingArguments)}
    assert all(f"\n        {name}: " in ArtQuantConfig.__doc__ for name in own_names)


def test_a_command_line_parser_of_transformers_takes_the_arguments(tmp_path):
    words = ["--output_dir", str(tmp_path), "--keep", "last", "--loss", '{"k_asl": 0.5}', "--full_parts", "vision"]
    (args,) = HfArgumentParser(ArtQuantConfig).parse_args_into_dataclasses(words)
    assert (args.keep, args.loss["k_asl"], args.full_parts) == ("last", 0.5, ["vision"])
    json.loads(args.to_json_string())


def test_optimizer_schedule_steps_and_loader_are_what_the_file_says(data, tmp_path):
    options = {
        "optim": "adafactor",
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.5},
        "warmup_ratio": 0,
        "max_steps": 3,
        "logging_first_step": True,
        "dataloader_num_workers": 1,
        "dataloader_prefetch_factor": 3,
        "dataloader_persistent_workers": True,
        "adam_epsilon": 1e-6,
        "eval_strategy": "no",
    }
    lines: list[str] = []
    summary = train(load_config(write_config(tmp_path, data, stages=ONE_STAGE, train=options)), say=lines.append)
    assert any(line.startswith("stage only: 3 steps") for line in lines)
    rates = [float(line["learning_rate"]) for line in steps(summary.output)]
    # The rate of the step that is logged, (1 + cos(pi * step / 3)) / 2 scaled to [0.5, 1], of 1e-3.
    assert rates == pytest.approx([1e-3, 0.875e-3, 0.625e-3])
    assert summary.stages == (("only", {}),)


@pytest.mark.slow
def test_a_compiled_model_trains_as_one_that_is_not(data, tmp_path):
    found = []
    for compiled in (False, True):
        options = {"torch_compile": compiled, "torch_compile_backend": "eager" if compiled else None, "max_steps": 3}
        config = write_config(tmp_path / str(compiled), data, stages=ONE_STAGE, train=options)
        found.append([float(line["loss"]) for line in steps(train(load_config(config)).output)])
    torch._dynamo.reset()
    assert len(found[0]) == 3
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_float16_without_a_gpu_is_refused_before_the_model_is_loaded(data, tmp_path):
    """accelerate would compute in float32 and say nothing."""
    options = {"fp16": True, "use_cpu": True}
    config = write_config(tmp_path, data, train=options, model={"pretrained": str(tmp_path / "no model")})
    with pytest.raises(ArtQuantError, match="fp16 needs a GPU, and this training is on the CPU; take bf16"):
        train(load_config(config))


def test_arguments_that_do_not_go_together_are_refused_before_the_model_is_loaded(data, tmp_path):
    options = {"fp16": True, "bf16": True}
    config = write_config(tmp_path, data, train=options, model={"pretrained": str(tmp_path / "no model")})
    with pytest.raises(ArtQuantError, match="^train: At most one of fp16 and bf16 can be True"):
        train(load_config(config))


@pytest.mark.parametrize(
    ("push", "repository"),
    [
        ({}, None),
        ({"push_to_hub": "me/x"}, "me/x"),
        ({"push_to_hub": True, "hub_model_id": "me/y"}, "me/y"),
        ({"push_to_hub": False, "hub_model_id": "me/y"}, None),
    ],
)
def test_the_hub_is_named_in_either_way(push, repository, data, tmp_path):
    config = load_config(write_config(tmp_path, data, stages=ONE_STAGE, train=push))
    assert config.repository == repository
    args = stage_arguments(config, config.stages[0], tmp_path / "stage", validated=True, push=True)
    assert (args.push_to_hub, args.hub_model_id) == (repository is not None, repository)
    assert args.hub_private_repo


def test_pushing_without_a_name_is_one_line(data, tmp_path):
    config = load_config(write_config(tmp_path, data, stages=ONE_STAGE, train={"push_to_hub": True}))
    with pytest.raises(ArtQuantError, match="push_to_hub is true and names no repository; set it to NAMESPACE/NAME"):
        train(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optim": "adamw_torch_fuse"}, "train.optim: .*'adamw_torch_fused'"),
        ({"eval_strategy": "sometimes"}, "train.eval_strategy: .*'no', 'steps' or 'epoch', not 'sometimes'"),
        ({"load_best_model_at_end": True}, "load_best_model_at_end True has no effect here"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor 0.1 has no effect here: labels are soft already"),
        ({"max_step": 3}, "unknown key 'train.max_step'; did you mean 'max_steps'"),
    ],
)
def test_a_wrong_argument_is_one_line(options, message, data, tmp_path):
    with pytest.raises(ArtQuantError, match=message) as raised:
        load_config(write_config(tmp_path, data, train=options))
    assert "\n" not in str(raised.value)
