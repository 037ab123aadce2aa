"""What a line of the training's log tells since the line before it: the speed, and the mean of each loss term."""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import TrainingArguments

from artquant_plugin.common.device import peak_memory
from artquant_plugin.train.losses import LOGGED, TERMS, LossTerms


class Speed:
    """Samples and tokens per second since the last line of the log, over all processes."""

    def __init__(self) -> None:
        self._samples = self._tokens = 0
        self._since = time.perf_counter()

    def count(self, samples: int, tokens: int) -> None:
        """Count a batch of this process.

        Args:
            samples: Number of samples in the batch.
            tokens: Tokens that are not padding.
        """
        self._samples += samples
        self._tokens += tokens

    def take(self, args: TrainingArguments) -> dict[str, float]:
        """The speed since the last call, over all processes, each of which has to call; counting begins anew.

        Args:
            args: Arguments of the training, which know the number of processes.

        Returns:
            ``samples_per_second``, ``tokens_per_second``, and ``memory_gib``, the largest memory of this process so
            far in GiB.
        """
        counts = torch.tensor([self._samples, self._tokens], dtype=torch.float64, device="cpu")
        if args.world_size > 1:
            counts = counts.float().to(args.device)
            torch.distributed.all_reduce(counts)
        samples, tokens = counts.tolist()
        seconds = max(time.perf_counter() - self._since, 1e-9)
        self._samples = self._tokens = 0
        self._since = time.perf_counter()
        return {
            "samples_per_second": round(samples / seconds, 3),
            "tokens_per_second": round(tokens / seconds, 1),
            "memory_gib": round(peak_memory(), 3),
        }


class LossMeans:
    """The mean of each logged figure of the loss over the steps since the last line of the log."""

    def __init__(self) -> None:
        self._sums, self._steps = torch.zeros(len(LOGGED)), torch.zeros(len(TERMS))

    def count_step(self, counts: Tensor) -> None:
        """Count an optimisation step for each term that it has samples of.

        Args:
            counts: samples or tokens of each term in the whole step, shape (4,), in the order of `TERMS`.
        """
        self._steps += (counts > 0).cpu()

    def add(self, terms: LossTerms) -> None:
        """Add a micro-batch of this process.

        Args:
            terms: its share of the step's terms, times the number of processes.
        """
        self._sums += terms.stacked().cpu()

    def take(self, over_processes: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The means since the last call, by the names of `LOGGED`; adding begins anew.

        Args:
            over_processes: gives the mean over all processes of a tensor of shape (6,), and is called once.

        Returns:
            A mean for each figure whose term any of the steps had.
        """
        totals = over_processes(self._sums).tolist()
        means = {
            name: total / steps
            for (name, term), total in zip(LOGGED.items(), totals, strict=True)
            if (steps := self._steps[term].item())
        }
        self._sums.zero_()
        self._steps.zero_()
        return means
