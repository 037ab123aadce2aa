"""Checks before the first step: the data, what is trained, memory and time."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from artquant_plugin.common.device import GIB, peak_memory
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import ImageError, open_image
from artquant_plugin.prompting.prompter import Prompter
from artquant_plugin.train.config import TrainConfig, accumulation_steps
from artquant_plugin.train.data import TrainingData, describe_data, image_source
from artquant_plugin.train.parts import PARTS, count_trained, trained_bytes
from artquant_plugin.train.trainer import ArtQuantTrainer

IMAGES = 32  # how many are opened


@dataclass(frozen=True, slots=True)
class StageTrial:
    """A forward and backward pass on a stage's first batch; no weight changes.

    Args:
        stage: Name of the stage that was tried.
        steps: Optimisation steps of the stage.
        seconds: Duration of one optimisation step without the optimizer; None where it cannot be tried, because the
            weights are spread over processes.
    """

    stage: str
    steps: int
    seconds: float | None


def check_data(config: TrainConfig, data: TrainingData) -> list[str]:
    """What is there to train on, whether its images can be opened, and where the scores are.

    Args:
        config: Configuration of the run, which says what is to happen to images that cannot be read.
        data: Datasets and samples of the run, of whose images some are opened.

    Raises:
        ArtQuantError: an image of the sample cannot be opened, unless such images are to be left out.
    """
    lines = describe_data(config.data, data)
    paths = list(
        dict.fromkeys(
            [sample.image for groups in data.samples.values() for group in groups for sample in group]
            + [painting.image for paintings in data.validation for painting in paintings]
        )
    )
    chosen = paths[:: max(len(paths) // IMAGES, 1)][:IMAGES]
    bad = 0
    started = time.perf_counter()
    for path in chosen:
        try:
            open_image(image_source(path))
        except ImageError as error:
            if config.train.on_bad_sample == "stop":
                raise ArtQuantError(f"{error}; or leave such images out with train.on_bad_sample=skip") from error
            bad += 1
    seconds = (time.perf_counter() - started) / max(len(chosen), 1)
    unread = f", {bad} of them cannot be read and will be left out" if bad else ""
    lines.append(f"images: {len(chosen)} of {len(paths):,} opened, {1000 * seconds:.0f} ms each{unread}")
    scores = [p.score for dataset in data.datasets for p in dataset.split("train")]
    scale = config.levels.scale()
    lines.append(
        f"labels: {config.levels.method}; scores from {min(scores):g} to {max(scores):g}, levels' range "
        f"[{scale.low:g}, {scale.high:g}]"
    )
    return lines


def describe_batch(config: TrainConfig, processes: int) -> str:
    """How the samples of an optimisation step are put together.

    Args:
        config: Configuration of the run, which holds the batch sizes.
        processes: Number of processes that train.

    Raises:
        ArtQuantError: The global batch does not divide among the processes.
    """
    size = config.train.per_device_train_batch_size
    accumulated = accumulation_steps(dict(config.train), processes)
    shares = f"{processes} process{'' if processes == 1 else 'es'} × {accumulated} micro-batches of {size}"
    return f"batch: {size * accumulated * processes} samples in an optimisation step: {shares}"


def check_model(model: Any, prompter: Prompter) -> list[str]:
    """What of the model is trained, which tokens tell the levels, and the memory that is needed whatever the batch.

    Args:
        model: The model, with what is trained chosen.
        prompter: Writes its prompts and answers.
    """
    lines = []
    counts = count_trained(model)
    for part in PARTS:
        if part in counts:
            trained, total = counts[part]
            lines.append(f"{part}: {trained:,} of {total:,} weights trained")
    tokenizer = prompter.processor.tokenizer
    shown = ", ".join(
        f"{name} {tokenizer.decode([token])!r}"
        for name, token in zip(prompter.scale.names, prompter.level_ids, strict=True)
    )
    lines.append(f"level tokens: {shown}")
    weights, moments = trained_bytes(model)
    lines.append(
        f"memory: {_size(weights)} of weights, {_size(moments)} of gradients and Adam's moments, and activations"
    )
    return lines


def try_stage(trainer: ArtQuantTrainer, name: str, steps: int) -> StageTrial:
    """Time a stage's first batch.

    Args:
        trainer: Trainer of the stage, before its first step.
        name: Name of the stage, for the result.
        steps: Optimisation steps of the stage.

    Raises:
        ArtQuantError: The memory does not suffice, or an image of the batch cannot be read.
    """
    if trainer.is_sharded:  # weights are spread by the first step
        return StageTrial(name, steps, None)
    return StageTrial(name, steps, trainer.rehearse() * trainer.args.gradient_accumulation_steps)


def describe_trials(trials: Sequence[StageTrial]) -> list[str]:
    """Steps and time of the stages, and the memory so far; the time counts neither evaluation nor saving.

    Args:
        trials: The trial of each stage; without their seconds no time is told.
    """
    lines = []
    for trial in trials:
        speed = "" if trial.seconds is None else f", {trial.seconds:.2f} s each"
        lines.append(f"stage {trial.stage}: {trial.steps:,} steps{speed}")
    if all(trial.seconds is not None for trial in trials):
        total = sum(trial.steps * (trial.seconds or 0.0) for trial in trials)
        lines.append(f"in all: {sum(trial.steps for trial in trials):,} steps, about {_duration(total)}")
        lines.append(f"memory so far, of a step without the optimizer: {_size(round(peak_memory() * GIB))} at most")
    return lines


def _size(count: int) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / 2**20:.1f} MiB"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def show_batch(batch: dict[str, Any], prompter: Prompter) -> list[str]:
    """A batch as text, its supervised tokens in double brackets, those that tell the level in braces.

    Args:
        batch: A batch as `GuardedCollator` makes it.
        prompter: Writes the prompts and answers of its samples.
    """
    decode: Callable[[list[int]], str] = prompter.processor.tokenizer.decode
    lines = []
    for part in batch["parts"]:
        levels = iter(part["is_level"].tolist())
        for ids, mask, supervised in zip(
            part["inputs"]["input_ids"].tolist(),
            part["inputs"]["attention_mask"].tolist(),
            part["supervised"].tolist(),
            strict=True,
        ):
            kinds = ["plain"]  # a position is supervised when the token behind it is
            kinds += [("level" if next(levels) else "answer") if asked else "plain" for asked in supervised[:-1]]
            length = sum(mask)
            answered = sum(kind != "plain" for kind in kinds)
            lines.append(f"--- {length} tokens, {answered} of them supervised")
            pieces = []
            tokens = zip(kinds[:length], ids[:length], strict=True)
            for kind, group in itertools.groupby(tokens, key=lambda pair: pair[0]):
                text = _with_runs([token for _, token in group], decode)
                pieces.append({"plain": text, "answer": f"[[{text}]]", "level": f"{{{{{text}}}}}"}[kind])
            lines.append("".join(pieces))
    return lines


def _with_runs(ids: list[int], decode: Callable[[list[int]], str]) -> str:
    """Decoded text in which a token that stands many times in a row, as an image's do, is counted."""
    pieces: list[str] = []
    waiting: list[int] = []
    for token, group in itertools.groupby(ids):
        times = len(list(group))
        if times < 4:
            waiting += [token] * times
            continue
        pieces += [decode(waiting), f"{decode([token])}×{times}"]
        waiting = []
    return "".join([*pieces, decode(waiting)])
