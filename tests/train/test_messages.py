"""Training says what is wrong before anything is loaded, and in the words of whoever started it."""

import json
import os
import resource
import shutil
import time
from pathlib import Path

import datasets
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from artquant_plugin.checkpoint import load_checkpoint
from artquant_plugin.checkpoint.patterns import check_patterns
from artquant_plugin.checkpoint.quantization import stored_quantization
from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train import ArtQuantConfig, ArtQuantTrainer
from artquant_plugin.train.collate import REPORT, AnswerCollator, GuardedCollator
from artquant_plugin.train.config import TrainSection, load_config
from artquant_plugin.train.data import TableImage, opened_or_error
from artquant_plugin.train.faults import SettingNames, raise_if_memory
from artquant_plugin.train.run import train
from artquant_plugin.train.sections import ORDINARY_TRAIN_KEYS
from artquant_plugin.train.stages import StageFolder
from tests.tiny import pictures
from tests.train.runs import LORA, write_config, write_small

STAGES = [{"name": "sot", "samples": ["score"], "epochs": 1}]
ADAPTER_ALONE = {"language": "lora", "vision": "frozen", "projector": "frozen", "lora": {"rank": 2, "alpha": 4}}
ENDLESS = r"(\w+\.?)+!"  # tries every way to cut a name into pieces
STORED = {
    "bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "gptq": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    "fp8": {"quantization_config": {"quant_method": "fp8"}},
    "awq": {"text_config": {"quantization_config": {"quant_method": "awq"}}},
    "compressed-tensors": {"compression_config": {"quant_method": "compressed-tensors"}},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def base(data, tmp_path_factory) -> Path:
    return train(load_config(write_config(tmp_path_factory.mktemp("base"), data, stages=STAGES))).output


@pytest.fixture
def table() -> datasets.Dataset:
    rows = {"image": pictures(4), "score": [2.0, 4.0, 6.0, 8.0]}
    return datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())


def arguments(folder: Path, **options) -> ArtQuantConfig:
    return ArtQuantConfig(output_dir=str(folder), report_to="none", disable_tqdm=True, use_cpu=True, **options)


def copied(base: Path, folder: Path, **settings) -> Path:
    """A copy of a checkpoint with other settings in its config.json."""
    shutil.copytree(base, folder)
    content = json.loads((folder / "config.json").read_text())
    for key, value in settings.items():
        content[key] = content[key] | value if isinstance(content.get(key), dict) else value
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def with_nan(base: Path, folder: Path) -> Path:
    """A copy of a checkpoint of which one weight is NaN."""
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("model.norm.weight"))
    weights[name][0] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("method", STORED)
@pytest.mark.parametrize("trained", [{}, LORA, ADAPTER_ALONE | {"projector": "full"}])
def test_a_part_of_a_quantised_base_is_not_trained_in_full(method, trained, base, data, tmp_path):
    stored = copied(base, tmp_path / "base", **STORED[method])
    (stored / "model.safetensors").unlink()  # nothing of it is read
    config = write_config(tmp_path, data, stages=STAGES, model={"pretrained": str(stored)}, trained=trained)
    with pytest.raises(
        ArtQuantError, match=rf"trained.\w+ is full, but model .*/base' is stored quantised \({method}\)"
    ):
        train(load_config(config))


def test_a_quantised_base_of_an_adapter_counts_too_and_is_not_quantised_again(base, data, tmp_path):
    stored = copied(base, tmp_path / "base", **STORED["gptq"])
    adapter = write_config(
        tmp_path / "adapter", data, stages=STAGES, model={"pretrained": str(base)}, trained=ADAPTER_ALONE
    )
    model = {"pretrained": str(train(load_config(adapter)).output), "base": str(stored)}
    config = write_config(tmp_path, data, stages=STAGES, model=model, trained=LORA)
    with pytest.raises(ArtQuantError, match=r"trained.vision is full, but the base of model .* is stored quantised"):
        train(load_config(config))
    model = {"pretrained": str(stored), "quantization": "4bit"}
    config = write_config(tmp_path, data, stages=STAGES, model=model, trained=ADAPTER_ALONE)
    with pytest.raises(ArtQuantError, match=r"is stored quantised already \(gptq\); leave model.quantization out"):
        train(load_config(config))


def test_a_configuration_that_quantises_nothing_is_no_quantisation(base, tmp_path):
    section = {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": False}
    assert stored_quantization(copied(base, tmp_path / "a", quantization_config=section)) is None
    assert stored_quantization(copied(base, tmp_path / "b", quantization_config=None)) is None


def test_weights_that_are_no_numbers_are_named_as_the_cause(base, data, table, tmp_path):
    broken = with_nan(base, tmp_path / "base")
    said = r"numbers in its weight \S*language_model.norm.weight\S* are NaN or infinite, .* or fetch it again"
    config = write_config(tmp_path, data, stages=STAGES, model={"pretrained": str(broken)})
    with pytest.raises(ArtQuantError, match=rf"the loss became nan at step 0 .*{said}"):
        train(load_config(config))
    trainer = ArtQuantTrainer(str(broken), arguments(tmp_path), table, table)
    with pytest.raises(ArtQuantError, match=f"nothing can be scored at step 0: .*{said}"):
        trainer.evaluate()
    with pytest.raises(ArtQuantError, match=said):
        ArtQuantScorer.from_pretrained(str(broken), device="cpu").score(pictures(1))


def test_python_users_are_told_fields_and_arguments_not_keys_of_a_file(base, table, tmp_path):
    options = {"learning_rate": 1e30, "per_device_train_batch_size": 2, "save_strategy": "no"}
    with pytest.raises(ArtQuantError, match=r"; lower learning_rate$"):
        ArtQuantTrainer(str(base), arguments(tmp_path, **options), table).train()
    with pytest.raises(ArtQuantError, match="; lower per_device_train_batch_size .* model_dtype='bfloat16'"):
        raise_if_memory(MemoryError(), SettingNames(in_run=False))
    broken = table.cast_column("image", datasets.Image(decode=False)).map(
        lambda row: {"image": {"bytes": row["image"]["bytes"][:100], "path": None}}
    )
    with pytest.raises(ArtQuantError, match="or leave such images out with on_bad_sample='skip'"):
        ArtQuantTrainer(str(base), arguments(tmp_path, save_strategy="no"), broken).train()
    (tmp_path / "file").touch()
    trainer = ArtQuantTrainer(str(base), arguments(tmp_path / "out", max_steps=1), table)
    (tmp_path / "out" / "checkpoint-1").parent.mkdir(exist_ok=True)
    (tmp_path / "out").chmod(0o500)
    try:
        if not _can_write(tmp_path / "out"):
            with pytest.raises(ArtQuantError, match=r"no earlier one: mend that and go on with train\(\)"):
                trainer.train()
    finally:
        (tmp_path / "out").chmod(0o700)


def _can_write(folder: Path) -> bool:
    """Whether a folder can be written to although its mode forbids it, as root can."""
    try:
        (folder / "probe").touch()
    except PermissionError:
        return False
    return True


def test_a_new_training_does_not_mix_with_the_checkpoints_of_an_earlier_one(base, table, tmp_path):
    options = {"max_steps": 1, "save_strategy": "steps", "save_steps": 1, "per_device_train_batch_size": 2}
    ArtQuantTrainer(str(base), arguments(tmp_path, **options), table).train()
    again = ArtQuantTrainer(str(base), arguments(tmp_path, **options), table)
    with pytest.raises(
        ArtQuantError, match=r"holds checkpoint-1 of an earlier training; .*resume_from_checkpoint=True"
    ):
        again.train()
    assert again.train(resume_from_checkpoint=True).global_step == 1  # transformers would make a second step


def test_a_regular_expression_that_never_ends_is_refused(base, table, tmp_path):
    config = LoraConfig(target_modules=ENDLESS)
    names = ["model.language_model.layers.0.self_attn.q_proj"]
    began = time.monotonic()
    with pytest.raises(ArtQuantError, match=r"here: target_modules .* takes more than 1 s .*; write a simpler"):
        check_patterns(config, names, "here", seconds=1)
    assert time.monotonic() - began < 10
    check_patterns(LoraConfig(target_modules=r".*\.q_proj"), names, "here", seconds=60)
    check_patterns(LoraConfig(target_modules=["q_proj", "((("]), names, "here", seconds=60)  # names, no expressions
    with pytest.raises(ArtQuantError, match=r"peft_config: target_modules '\(' is no regular expression \(missing \)"):
        ArtQuantTrainer(str(base), arguments(tmp_path), table, peft_config=LoraConfig(target_modules="("))


@pytest.mark.parametrize(
    ("field", "value"), [("exclude_modules", "("), ("rank_pattern", {"(": 4}), ("modules_to_save", ["("])]
)
def test_other_regular_expressions_of_an_adapter_are_tried_too(field, value, base, data, tmp_path):
    adapter = write_config(tmp_path, data, stages=STAGES, model={"pretrained": str(base)}, trained=ADAPTER_ALONE)
    output = train(load_config(adapter)).output
    path = output / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ArtQuantError, match=rf"adapter_config.json: {field} '\(' is no regular expression"):
        load_checkpoint(str(output))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("levels.method=nonsense", "levels.method"),
        ("modle.tiny={}", "unknown key 'modle'; did you mean 'model'"),
        ("train.learning_rat=1", "unknown key 'train.learning_rat'; did you mean 'learning_rate'"),
        ("stages.0=1", "stages"),
        ("seed=0", "dataset 'nowhere' is not in"),
        ("train.max_steps=3", "dataset 'nowhere' is not in"),
    ],
)
def test_a_wrong_key_is_told_before_a_missing_dataset(change, said, tmp_path, capsys):
    config = write_config(tmp_path, tmp_path / "unused", data=["nowhere"])
    assert main(["train", str(config), "--set", change]) == 2
    assert said in capsys.readouterr().err


def test_the_keys_that_are_known_without_imports_are_keys():
    assert ORDINARY_TRAIN_KEYS <= set(TrainSection.model_fields)


def test_a_fault_of_the_machine_ends_training_although_bad_images_are_left_out(base, table, tmp_path):
    """The limit of open files is reached when the image is to be opened."""
    path = tmp_path / "a.png"
    pictures(1)[0].save(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    cell = {"bytes": None, "path": path.resolve().as_uri()}
    opened_or_error(TableImage([{"image": cell}], 0))  # fsspec imports what it needs
    lowest = os.open(path, os.O_RDONLY)  # the number that the next file would get
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        found = opened_or_error(TableImage([{"image": cell}], 0))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Too many open files" in found["fault"]
    trainer = ArtQuantTrainer(str(base), arguments(tmp_path, on_bad_sample="skip"), table)
    collator = GuardedCollator(AnswerCollator(trainer.prompter))
    samples = trainer.train_dataset.samples
    batch = collator([{"sample": samples[0], **found}, trainer.train_dataset[1]])
    assert batch[REPORT].fault == found["fault"]
    with pytest.raises(MachineError, match="Too many open files; raise the limit of open files"):
        trainer.get_batch_samples(iter([batch]), 1, torch.device("cpu"))


def test_an_image_that_is_not_there_is_its_own_fault(tmp_path):
    found = opened_or_error(TableImage([{"image": {"bytes": None, "path": (tmp_path / "no").as_uri()}}], 0))
    assert "fault" not in found and "cannot be read" in found["error"]


@pytest.mark.parametrize("content", ["", "[1]", '{"metrics": {}}'])
def test_a_stage_whose_result_cannot_be_read_is_one_line(tmp_path, content):
    (tmp_path / "done.json").write_text(content)
    with pytest.raises(
        ArtQuantError, match=r"done\.json' is no result of a stage \(.*\); begin anew with --overwrite"
    ):
        StageFolder(tmp_path).result()
