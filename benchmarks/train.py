"""Speed of training, from JPEG files to a step of the optimiser, for the paper's architecture with random weights.

A step has as many score samples as description samples (about 180 words each): two of each, or eight on a GPU.
LoRA (r = 128) is on `q_proj` and the images' `v_proj`, ViT and abstractor are trained in full, and the optimiser
is AdamW. Each shape and way is a row, measured in a process of its own: samples and tokens per second; seconds of
the best step; its CPU time divided by the threads, which is less than the seconds where others use the machine;
the share of the steps' time that goes to waiting for images, which worker processes prepare ahead where there are any;
peak memory of the process, or of the GPU; which fraction of this machine's matrix-product peak (2048³, or 8192³ on
a GPU; best of the same run) the operations of the model are, which a formula counts without padding and recomputed
activations; and the hours that BAID's two stages (50,737 paintings: described and scored once, scored once more)
take at this rate, without evaluation.

The ways: ``plain`` keeps all activations; ``language`` recomputes those of the language model, and ``all`` those
of the image's encoders, too; ``single`` accumulates the gradients of one sample after the other, or of a
painting's two, for the same step; with ``-shared``, each painting has both samples and its image is encoded once.
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
from _machine import memory, paintings, peak, synchronize
from _models import SHAPES, Owl, random_checkpoint, training_arithmetic
from torch.utils.data import DataLoader

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint import Checkpoint
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.train.collate import count_terms, count_tokens
from artquant_plugin.train.config import ArtQuantConfig
from artquant_plugin.train.data import MixedSamples, Sample
from artquant_plugin.train.parts import choose_trained
from artquant_plugin.train.sections import LoraSection, PartSection, TrainedSection
from artquant_plugin.train.trainer import ArtQuantTrainer

RANK = 128
TRAINED = TrainedSection(
    language=PartSection(method="lora"), lora=LoraSection(targets="original", rank=RANK, alpha=2 * RANK, dropout=0.05)
)
BAID_PAINTINGS = 50_737  # in the training split of BAID
# 50 tokens beside the image: about as many as the original's system sentence and question have.
QUESTION = " ".join(["How would you rate the quality of this painting?"] * 3)
WORDS = "The quality of the painting is good".split()
TOKENS_PER_WORD = 1.35  # of LLaMA-2's vocabulary in prose; these words are tokens of their own
DESCRIPTION_WORDS = (190, 170)
WAYS = ("plain", "language", "all", "single", "single-language", "plain-shared", "single-shared")
HEADER = (
    f"{'shape':<8}{'way':<17}{'samples/s':>10}{'tokens/s':>10}{'s/step':>8}{'CPU s':>8}{'GFLOP/step':>12}"
    f"{'of peak':>9}{'peak GFLOP/s':>14}{'waiting':>9}{'memory MiB':>12}{'BAID h':>8}"
)


def main() -> None:
    """Measure each shape and way, and print the table."""
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shapes",
        nargs="+",
        choices=[name for name, sizes in SHAPES.items() if isinstance(sizes, Owl)],
        default=["7b"] if on_gpu else ["h512", "ratio"],
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=5, help="per row, after a first one (default: %(default)s)")
    parser.add_argument(
        "--pairs", type=int, default=8 if on_gpu else 2, help="score samples per step, and descriptions"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="bfloat16" if on_gpu else "float32",
        help="of the computation and of frozen weights; trained ones are float32 (default: %(default)s)",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if on_gpu else "cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=8 if on_gpu else 0, help="processes that prepare images (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print each row as a JSON object, without the table")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)  # one row, as JSON, for the caller
    args = parser.parse_args()
    if args.row:
        print(json.dumps(measure(args, args.shapes[0], args.ways[0])))
        return
    if not args.json:
        print(f"load before: {os.getloadavg()[0]:.2f}")
        print(HEADER, flush=True)
    for shape in args.shapes:
        for way in args.ways:
            command = [sys.executable, __file__, "--row", "--shapes", shape, "--ways", way]
            for name in ("steps", "pairs", "dtype", "device", "threads", "workers"):
                command += [f"--{name}", str(getattr(args, name))]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
            print(json.dumps(row) if args.json else table_row(row), flush=True)


def measure(args: argparse.Namespace, shape: str, way: str) -> dict[str, Any]:
    """Measure one row; the peak of matrix products is measured before and after, and the better one counts."""
    torch.set_num_threads(args.threads)
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    sizes = SHAPES[shape]
    assert isinstance(sizes, Owl)
    share_images = way.endswith("-shared")
    peaks = [peak(device, dtype)]
    checkpoint = random_checkpoint(shape, device=args.device, dtype=dtype)
    model = trainable(checkpoint.model, way)
    seconds, cpu, waited = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        trainer = build(checkpoint, model, samples(Path(folder), args.pairs, share_images), share_images, folder, args)
        optimizer = trainer.create_optimizer()
        of_step = micro_batches(way, args.pairs, share_images)
        ahead = iter(
            DataLoader(
                trainer.train_dataset,
                batch_sampler=of_step * (1 + args.steps),
                collate_fn=trainer.data_collator,
                num_workers=args.workers,
                pin_memory=device.type == "cuda",
            )
        )
        for _ in range(1 + args.steps):
            synchronize(device)
            started, started_cpu = time.perf_counter(), time.process_time()
            batches = [next(ahead) for _ in of_step]
            waited.append(time.perf_counter() - started)
            counts = torch.stack([count_terms(batch) for batch in batches]).sum(dim=0)
            for batch in batches:
                trainer.training_step(model, batch, counts)
            optimizer.step()
            model.zero_grad()
            synchronize(device)
            seconds.append(time.perf_counter() - started)
            cpu.append((time.process_time() - started_cpu) / args.threads)
        used = memory(device)
    peaks.append(peak(device, dtype))
    parts = [part for batch in batches for part in batch["parts"]]
    lengths = [int(length) for part in parts for length in part["inputs"]["attention_mask"].sum(dim=1)]
    images = sum(len(part["inputs"]["pixel_values"]) for part in parts if not part["reuses_images"])
    supervised = sum(len(part["next_ids"]) for part in parts)
    work = training_arithmetic(sizes, images, lengths, supervised, RANK)
    answers = sum(len(part["next_ids"]) for part in parts if part["is_level"].any()) // args.pairs
    scored = training_arithmetic(sizes, 1, [min(lengths)], answers, RANK)
    return {
        "shape": shape,
        "way": way,
        "samples": len(lengths),
        "tokens": sum(count_tokens(batch) for batch in batches),
        "seconds": min(seconds[1:]),
        "cpu": min(cpu[1:]),
        "waiting": sum(waited[1:]) / sum(seconds[1:]),
        "work": work,
        "baid": BAID_PAINTINGS * (work / args.pairs + scored),
        "peak": max(peaks),
        "memory": used,
    }


def micro_batches(way: str, pairs: int, share_images: bool) -> list[list[int]]:
    """Indices of the samples of each micro-batch; all score samples come before the description samples."""
    if not way.startswith("single"):
        return [list(range(2 * pairs))]
    return [[i, i + pairs] for i in range(pairs)] if share_images else [[i] for i in range(2 * pairs)]


def table_row(row: dict[str, Any]) -> str:
    """A row of the table as text."""
    seconds = row["seconds"]
    rate = row["work"] / seconds
    return (
        f"{row['shape']:<8}{row['way']:<17}{row['samples'] / seconds:>10.2f}{row['tokens'] / seconds:>10.0f}"
        f"{seconds:>8.2f}{row['cpu']:>8.2f}{row['work'] / 1e9:>12,.0f}{rate / row['peak']:>9.1%}"
        f"{row['peak'] / 1e9:>14,.0f}{row['waiting']:>9.1%}{row['memory'] / 2**20:>12,.0f}"
        f"{row['baid'] / rate / 3600:>8.1f}"
    )


def trainable(model: Any, way: str) -> Any:
    """Add LoRA to a model, have its encoders trained, and choose which activations are recomputed."""
    adapted = choose_trained(model, TRAINED)
    if "language" in way or way == "all":
        inner = core(adapted)
        inner.activation_checkpointing_enable()
        for encoder in (inner.model.vision_model, inner.model.visual_abstractor) if "language" in way else ():
            encoder.activation_checkpointing_disable()
    return adapted


def samples(folder: Path, pairs: int, share_images: bool) -> list[Sample]:
    """As many score samples as description samples; with shared images, both kinds have the same paintings."""
    files = paintings(folder, pairs if share_images else 2 * pairs, 1024)
    labels = LevelScale().soft_labels([6.4, 8.1])
    texts = [
        " ".join(WORDS[place % len(WORDS)] for place in range(round(count * TOKENS_PER_WORD)))
        for count in DESCRIPTION_WORDS
    ]
    scores = [Sample("score", str(i), file, label=labels[i % 2]) for i, file in enumerate(files[:pairs])]
    return scores + [
        Sample("describe", str(i), file, description=texts[i % 2]) for i, file in enumerate(files[-pairs:])
    ]


def build(
    checkpoint: Checkpoint,
    model: Any,
    training_samples: list[Sample],
    share_images: bool,
    folder: str,
    args: argparse.Namespace,
) -> ArtQuantTrainer:
    """The trainer of a run; the caller takes its steps one by one."""
    return ArtQuantTrainer(
        model,
        ArtQuantConfig(
            output_dir=folder,
            report_to="none",
            use_cpu=args.device == "cpu",
            bf16=args.dtype == "bfloat16",
            prompt={"question": QUESTION, "describe_question": QUESTION},
            share_images=share_images,
        ),
        MixedSamples([(training_samples, 1.0)], seed=0),
        processing_class=checkpoint.processor,
    )


if __name__ == "__main__":
    main()
