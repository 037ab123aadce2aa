"""A training run: load or build the model, run the stages, write one checkpoint and its record."""

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import TrainingArguments, set_seed

from artquant_plugin.checkpoint import SCORING_FILE, ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.dataset import PUBLISHED, Dataset, Painting, find_dataset
from artquant_plugin.errors import ArtQuantError
from artquant_plugin.files import atomic_files, atomic_write
from artquant_plugin.images import sha256_file
from artquant_plugin.prompting import Prompter
from artquant_plugin.provenance import git_commit, versions
from artquant_plugin.train.collate import AnswerCollator
from artquant_plugin.train.config import StageSection, TrainConfig
from artquant_plugin.train.samples import Sample, SampleDataset, description_samples, score_samples
from artquant_plugin.train.tiny import build_tiny_model
from artquant_plugin.train.trainer import AestheticTrainer

TASKS = (*PUBLISHED, "artquant_demo")  # datasets that have a task of their name
RECORD_FILE = "training.json"
CURVES_FILE = "training-curves.csv"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run left behind.

    Args:
        output: the checkpoint's folder.
        datasets: names of what it was trained on.
        stages: name and last validation metrics of each stage.
        seconds: of the whole run.
    """

    output: Path
    datasets: tuple[str, ...]
    stages: tuple[tuple[str, dict[str, float]], ...]
    seconds: float

    def lines(self) -> list[str]:
        """The run in a few lines for a terminal."""
        lines = []
        for name, metrics in self.stages:
            values = ", ".join(f"{key.removeprefix('eval_').upper()} {value:.3f}" for key, value in metrics.items())
            lines.append(f"stage {name}: validation {values}")
        lines.append(f"checkpoint {self.output} after {self.seconds:.0f} s; evaluate it with")
        tasks = [name for name in self.datasets if name in TASKS] or ["artquant"]
        lines.append(f"  lmms-eval --model artquant --model_args pretrained={self.output} --tasks {','.join(tasks)}")
        return lines


def train(config: TrainConfig, *, overwrite: bool = False) -> Summary:
    """Run all stages.

    Args:
        config: checked configuration.
        overwrite: replace a finished checkpoint in the output folder.

    Raises:
        ArtQuantError: data or model are missing or do not fit; the output holds a finished checkpoint.
    """
    started = time.monotonic()
    if (config.output / SCORING_FILE).exists() and not overwrite:
        raise ArtQuantError(f"{config.output} holds a finished checkpoint; pass --overwrite or another output")
    datasets = [Dataset.load(find_dataset(name)) for name in config.data]
    training = [(dataset, dataset.split("train")) for dataset in datasets]
    validation = [
        (dataset, painting)
        for dataset in datasets
        if "validation" in dataset.info.splits
        for painting in dataset.split("validation")
    ]
    scale = config.levels.scale()
    spec = ScoringSpec(scale=scale, prompt=config.prompt.spec())
    samples = {
        "score": [
            sample
            for dataset, paintings in training
            for sample in score_samples(dataset, paintings, scale, config.levels.sigma)
        ]
    }
    if any("describe" in stage.samples for stage in config.stages):
        samples["describe"] = [
            sample for dataset, paintings in training for sample in description_samples(dataset, paintings)
        ]
    set_seed(config.seed)
    model, processor = _model(config, spec, samples)
    prompter = Prompter(processor, spec.prompt, scale)

    config.output.mkdir(parents=True, exist_ok=True)
    results: list[tuple[str, dict[str, float]]] = []
    curves: list[dict[str, Any]] = []
    for stage in config.stages:
        trainer = _trainer(config, stage, model, processor, prompter, spec, samples, validation)
        trainer.train()
        model = trainer.accelerator.unwrap_model(trainer.model)
        evaluations = [line for line in trainer.state.log_history if "eval_srocc" in line]
        metrics = {key: evaluations[-1][key] for key in ("eval_srocc", "eval_plcc")} if evaluations else {}
        results.append((stage.name, metrics))
        curves.extend({"stage": stage.name, **line} for line in trainer.state.log_history)

    summary = Summary(
        output=config.output,
        datasets=tuple(dataset.info.name for dataset in datasets),
        stages=tuple(results),
        seconds=time.monotonic() - started,
    )
    with atomic_files(config.output, last="config.json") as part:  # a checkpoint and its own record, or neither
        _write_curves(part / CURVES_FILE, curves)
        _write_record(part, config, datasets, summary)
        save_checkpoint(part, model, processor, spec)
    return summary


def _model(config: TrainConfig, spec: ScoringSpec, samples: dict[str, list[Sample]]) -> tuple[Any, Any]:
    if config.model.pretrained is not None:
        checkpoint = load_checkpoint(config.model.pretrained, dtype="float32", attn=config.model.attn)
        return checkpoint.model, checkpoint.processor
    assert config.model.tiny is not None
    answers = [f"{spec.prompt.answer_prefix} {name}." for name in spec.scale.names]
    descriptions = [sample.description for sample in samples.get("describe", []) if sample.description]
    # Each prompt stands as often as its samples, or the merges would know the descriptions alone.
    texts = [spec.prompt.question, spec.prompt.describe_question, *answers] * max(len(descriptions), 1)
    return build_tiny_model(config.model.tiny, [*texts, *descriptions], config.seed)


def _trainer(
    config: TrainConfig,
    stage: StageSection,
    model: Any,
    processor: Any,
    prompter: Prompter,
    spec: ScoringSpec,
    samples: dict[str, list[Sample]],
    validation: Sequence[tuple[Dataset, Painting]],
) -> AestheticTrainer:
    options = config.train.model_dump()
    share_images = options.pop("share_images")
    if stage.learning_rate is not None:
        options["learning_rate"] = stage.learning_rate
    chosen = [sample for kind in stage.samples for sample in samples[kind]]
    steps = len(chosen) / (options["per_device_train_batch_size"] * options["gradient_accumulation_steps"])
    options["warmup_steps"] = round(options.pop("warmup_ratio") * steps * stage.epochs)
    arguments = TrainingArguments(
        output_dir=str(config.output / f"stage-{stage.name}"),
        num_train_epochs=stage.epochs,
        seed=config.seed,
        eval_strategy="epoch" if validation else "no",
        save_strategy="no",
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        **options,
    )
    return AestheticTrainer(
        model=model,
        args=arguments,
        train_dataset=SampleDataset(chosen),
        eval_dataset=SampleDataset([]) if validation else None,
        data_collator=AnswerCollator(prompter, share_images=share_images),
        processing_class=processor,
        level_ids=prompter.level_ids,
        loss_weights=config.loss,
        spec=spec,
        validation=validation,
        score_batch_size=config.score_batch_size,
        share_images=share_images,
    )


def _write_curves(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for line in lines for key in line))
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(lines)


def _write_record(folder: Path, config: TrainConfig, datasets: Sequence[Dataset], summary: Summary) -> None:
    record = {
        "config": config.model_dump(mode="json"),
        "data": {dataset.info.name: sha256_file(dataset.folder / "dataset.json") for dataset in datasets},
        "stages": dict(summary.stages),
        "seconds": round(summary.seconds, 1),
        "git_commit": git_commit(),
        "versions": versions(),
    }
    with atomic_write(folder / RECORD_FILE) as file:
        file.write(json.dumps(record, indent=2) + "\n")
    with atomic_write(folder / "config.train.yaml") as file:
        file.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
