"""One row of benchmarks/peer.py: score files as the ten lines of Q-ReAlign's README do, in a process of its own."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from _machine import peak
from _models import SHAPES, random_checkpoint
from PIL import Image

from artquant_plugin.prompting.levels import LEVEL_NAMES


def main() -> None:
    """Measure and print JSON: images per second, and the peak of matrix products in float32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("images", type=Path, help="folder")
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    checkpoint = random_checkpoint(args.shape, device="cpu", dtype=torch.float32)
    files = sorted(args.images.iterdir())
    score(checkpoint.model, checkpoint.processor, files[0])
    peaks = [peak(torch.device("cpu"), torch.float32)]
    started = time.perf_counter()
    for file in files:
        score(checkpoint.model, checkpoint.processor, file)
    seconds = time.perf_counter() - started
    peaks.append(peak(torch.device("cpu"), torch.float32))
    print(json.dumps({"rate": len(files) / seconds, "peak": max(peaks)}))


@torch.inference_mode()
def score(model: Any, processor: Any, file: Path) -> float:
    """The score of one image, from the model's own logits, one image at a time (Q-Future/Q-ReAlign @ 0d111e4)."""
    content = [{"type": "image"}, {"type": "text", "text": "How would you rate the quality of this image?"}]
    chat = [{"role": "user", "content": content}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True) + "The quality of the image is"
    inputs = processor(text=[text], images=[Image.open(file).convert("RGB")], return_tensors="pt")
    ids = [processor.tokenizer(f" {word}", add_special_tokens=False).input_ids[0] for word in LEVEL_NAMES]
    probabilities = model(**inputs).logits[0, -1, ids].softmax(-1)
    return float(probabilities @ torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]))


if __name__ == "__main__":
    main()
