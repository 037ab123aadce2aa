"""Speed of training, from JPEG files to a step of the optimiser, for the paper's architecture with random weights.

A step has two score and two description samples (about 180 words each). LoRA (r = 128) on `q_proj` and the images'
`v_proj`, the ViT and the abstractor in full, AdamW. For each shape and way, in a process of its own: samples and
tokens per second; seconds of the best step; its CPU time divided by the threads, which is less where others use the
machine; peak memory of the process; the fraction of this machine's matrix-product peak (2048³, best of the same run),
the arithmetic counted by formula, without padding and what is computed again.

Ways: ``plain`` keeps all activations; ``language`` and ``all`` compute those of the language model or of the image's
encoders, too, again; ``single`` accumulates the gradients of one sample after the other, or of a painting's two, which
is the same step; with ``-shared``, the samples are of two paintings instead of four, whose images are encoded once.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _machine import memory, paintings, peak
from _models import SHAPES, Owl, random_checkpoint, training_arithmetic
from peft import LoraConfig, get_peft_model
from transformers import TrainingArguments

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint import Checkpoint
from artquant_plugin.levels import LevelScale
from artquant_plugin.prompting import Prompter, PromptSpec
from artquant_plugin.train.collate import AnswerCollator, count_terms, count_tokens
from artquant_plugin.train.config import LossSection
from artquant_plugin.train.samples import Sample, SampleDataset
from artquant_plugin.train.trainer import AestheticTrainer

RANK = 128
TARGETS = r".*\.layers\.\d+\.self_attn\.(q_proj|v_proj\.multiway\.1)"
# 50 tokens beside the image: about as many as the original's system sentence and question have.
QUESTION = " ".join(["How would you rate the quality of this painting?"] * 3)
WORDS = "The quality of the painting is good".split()
TOKENS_PER_WORD = 1.35  # of LLaMA-2's vocabulary in prose; these words are tokens of their own
DESCRIPTION_WORDS = (190, 170)
WAYS = ("plain", "language", "all", "single", "single-language", "plain-shared", "single-shared")
HEADER = (
    f"{'shape':<8}{'way':<17}{'samples/s':>10}{'tokens/s':>10}{'s/step':>8}{'CPU s':>8}{'GFLOP/step':>12}"
    f"{'of peak':>9}{'peak GFLOP/s':>14}{'memory MiB':>12}"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shapes", nargs="+", choices=[n for n in SHAPES if "qwen" not in n], default=["h512", "ratio"]
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=5, help="per row, after a first one (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default: %(default)s)")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)  # one row, as JSON, for the caller
    args = parser.parse_args()
    if args.row:
        print(json.dumps(measure(args.shapes[0], args.ways[0], args.steps, args.threads)))
        return
    print(f"load before: {os.getloadavg()[0]:.2f}")
    print(HEADER, flush=True)
    for shape in args.shapes:
        for way in args.ways:
            command = [sys.executable, __file__, "--row", "--shapes", shape, "--ways", way]
            command += ["--steps", str(args.steps), "--threads", str(args.threads)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            print(line(json.loads(done.stdout.splitlines()[-1])), flush=True)


def measure(shape: str, way: str, steps: int, threads: int) -> dict[str, Any]:
    """One row; the peak is taken before and after."""
    torch.set_num_threads(threads)
    sizes = SHAPES[shape]
    assert isinstance(sizes, Owl)
    share_images = way.endswith("-shared")
    checkpoint = random_checkpoint(shape, device="cpu", dtype=torch.float32)
    model = trainable(checkpoint.model, way)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build(checkpoint, model, samples(Path(folder), share_images), share_images, folder)
        optimizer = trainer.create_optimizer()
        device, peaks, seconds, cpu = torch.device("cpu"), [], [], []
        peaks.append(peak(device, torch.float32))
        for _ in range(1 + steps):
            started, started_cpu = time.perf_counter(), time.process_time()
            batches = [
                trainer.data_collator(trainer.train_dataset.__getitems__(indices))
                for indices in micro_batches(way, share_images)
            ]
            counts = torch.stack([count_terms(batch) for batch in batches]).sum(dim=0)
            for batch in batches:
                trainer.training_step(model, batch, counts)
            optimizer.step()
            model.zero_grad()
            seconds.append(time.perf_counter() - started)
            cpu.append((time.process_time() - started_cpu) / threads)
        used = memory(device)
        peaks.append(peak(device, torch.float32))
    parts = [part for batch in batches for part in batch["parts"]]
    lengths = [int(length) for part in parts for length in part["inputs"]["attention_mask"].sum(dim=1)]
    images = sum(len(part["inputs"]["pixel_values"]) for part in parts if not part["reuses_images"])
    supervised = sum(len(part["next_ids"]) for part in parts)
    return {
        "shape": shape,
        "way": way,
        "samples": len(lengths),
        "tokens": sum(count_tokens(batch) for batch in batches),
        "seconds": min(seconds[1:]),
        "cpu": min(cpu[1:]),
        "work": training_arithmetic(sizes, images, lengths, supervised, RANK),
        "peak": max(peaks),
        "memory": used,
    }


def micro_batches(way: str, share_images: bool) -> list[list[int]]:
    """Which of the four samples go together: scores are 0 and 1, descriptions 2 and 3 in the same order."""
    if not way.startswith("single"):
        return [[0, 1, 2, 3]]
    return [[0, 2], [1, 3]] if share_images else [[0], [1], [2], [3]]


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    seconds = row["seconds"]
    return (
        f"{row['shape']:<8}{row['way']:<17}{row['samples'] / seconds:>10.2f}{row['tokens'] / seconds:>10.0f}"
        f"{seconds:>8.2f}{row['cpu']:>8.2f}{row['work'] / 1e9:>12,.0f}{row['work'] / seconds / row['peak']:>9.1%}"
        f"{row['peak'] / 1e9:>14,.0f}{row['memory'] / 2**20:>12,.0f}"
    )


def trainable(model: Any, way: str) -> Any:
    """The model with LoRA, its encoders trained, and what is computed again chosen."""
    adapted = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.05, target_modules=TARGETS))
    encoders = (core(adapted).model.vision_model, core(adapted).model.visual_abstractor)
    for encoder in encoders:
        encoder.requires_grad_(True)
    if "language" in way or way == "all":
        core(adapted).activation_checkpointing_enable()
        for encoder in encoders if "language" in way else ():
            encoder.activation_checkpointing_disable()
    return adapted


def samples(folder: Path, share_images: bool) -> list[Sample]:
    """Two score and two description samples, of two or of four paintings."""
    files = paintings(folder, 2 if share_images else 4, 1024)
    labels = LevelScale().soft_labels([6.4, 8.1])
    texts = [
        " ".join(WORDS[place % len(WORDS)] for place in range(round(count * TOKENS_PER_WORD)))
        for count in DESCRIPTION_WORDS
    ]
    scores = [
        Sample("score", str(i), file, label=label) for i, (file, label) in enumerate(zip(files, labels, strict=False))
    ]
    return scores + [
        Sample("describe", str(i), file, description=text)
        for i, (file, text) in enumerate(zip(files[-2:], texts, strict=True))
    ]


def build(
    checkpoint: Checkpoint, model: Any, chosen: list[Sample], share_images: bool, folder: str
) -> AestheticTrainer:
    """The trainer of a run, whose steps are taken by hand."""
    spec = PromptSpec(question=QUESTION, describe_question=QUESTION)
    prompter = Prompter(checkpoint.processor, spec, LevelScale())
    return AestheticTrainer(
        model=model,
        args=TrainingArguments(output_dir=folder, report_to="none", use_cpu=True, remove_unused_columns=False),
        train_dataset=SampleDataset(chosen),
        data_collator=AnswerCollator(prompter, share_images=share_images),
        processing_class=checkpoint.processor,
        level_ids=prompter.level_ids,
        loss_weights=LossSection(),
        spec=checkpoint.spec,
        validation=[],
        score_batch_size=4,
        share_images=share_images,
    )


if __name__ == "__main__":
    main()
