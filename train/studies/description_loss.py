"""The generation loss of a checkpoint: how surprised it is by descriptions of paintings that it was not trained on."""

import gc
from collections.abc import Sequence
from pathlib import Path

import torch

from artquant_plugin.checkpoint import load_checkpoint
from artquant_plugin.common.device import default_device
from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.run_record import read_record, write_record
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.prompting.prompter import Prompter
from artquant_plugin.train.collate import AnswerCollator
from artquant_plugin.train.data import SampleDataset, description_samples
from artquant_plugin.train.losses import per_token


def description_loss(checkpoint: Path, data: Path, split: str, *, batch_size: int, dtype: str = "float32") -> float:
    """The mean negative log-likelihood of a description's token, the paper's L_CE (Eq. 2) on held-out paintings.

    Args:
        checkpoint: Folder of the checkpoint that is measured.
        data: Folder of the dataset, whose split has descriptions.
        split: The split, which should not be one that was trained on.
        batch_size: Paintings per forward pass, from 1; it changes nothing but memory and time.
        dtype: Data type of the weights.

    Returns:
        The loss in nats per token, at least 0; every token of every description counts alike.

    Raises:
        ArtQuantError: The split has no descriptions, or an image cannot be read.
    """
    loaded = load_checkpoint(str(checkpoint), dtype=dtype, device=default_device())
    prompter = Prompter(loaded.processor, loaded.spec.prompt, loaded.spec.scale)
    collator = AnswerCollator(prompter)
    dataset = Dataset.load(data)
    samples = SampleDataset(description_samples(dataset, dataset.split(split)))
    model = loaded.model.eval()
    total, tokens = 0.0, 0
    for start in range(0, len(samples), batch_size):
        found, count = _batch_loss(model, collator, samples, range(start, min(start + batch_size, len(samples))))
        total, tokens = total + found, tokens + count
    del model, loaded
    gc.collect()
    return total / tokens


def _batch_loss(
    model: torch.nn.Module, collator: AnswerCollator, samples: SampleDataset, indices: Sequence[int]
) -> tuple[float, int]:
    """Sum of the tokens' negative log-likelihoods in a batch, in nats, and their number."""
    items = samples.__getitems__(indices)
    for item in items:
        if "error" in item:
            raise (MachineError if "fault" in item else ArtQuantError)(item["error"])
    part = collator.part(items)
    device, dtype = next(model.parameters()).device, next(model.parameters()).dtype
    inputs = {
        name: value.to(device, dtype if value.is_floating_point() else value.dtype)
        if isinstance(value, torch.Tensor)
        else value
        for name, value in part["inputs"].items()
    }
    with torch.inference_mode():
        logits = model(**inputs, use_cache=False).logits[part["supervised"].to(device)]
    losses = per_token(logits, part["next_ids"].to(device))
    return float(losses.double().sum()), len(losses)


def kept_description_loss(path: Path, checkpoint: Path, data: Path, split: str, *, batch_size: int) -> float:
    """The generation loss, computed once and kept in a file.

    Args:
        path: The file, which is written when it is not there.
        checkpoint: Folder of the checkpoint that is measured.
        data: Folder of the dataset with the descriptions.
        split: The split whose descriptions are read.
        batch_size: Paintings per forward pass, from 1.

    Raises:
        ArtQuantError: The file is no such record, or the loss cannot be computed.
    """
    record = read_record(path, kind="record of a loss", remedy="remove it", fields=("nats_per_token",))
    if record is not None:
        return float(record["nats_per_token"])
    loss = description_loss(checkpoint, data, split, batch_size=batch_size)
    write_record(path, {"data": str(data), "split": split, "nats_per_token": loss})
    return loss
