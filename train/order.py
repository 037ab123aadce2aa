"""The order of an epoch's samples."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch.utils.data import Sampler

from artquant_plugin.train.data import KINDS, MixedSamples, Sample

WINDOW = 32  # batches over which answers are sorted by length


class PaintingOrder(Sampler[int]):
    """A random order that brings the two samples of a painting into one batch of an even size.

    Paintings that have one sample only stand two by two among the pairs, so that no pair is cut by a batch's border.
    The order of an epoch follows from the seed and the epoch's number alone.

    Args:
        samples: The samples of all paintings.
        seed: Seed from which, with the epoch's number, the order follows.

    Example:
        >>> from pathlib import Path
        >>> samples = [Sample(kind, name, Path(name)) for kind in ("score", "describe") for name in "abc"]
        >>> order = list(PaintingOrder(samples, seed=0))
        >>> [samples[index].painting_id for index in order]
        ['c', 'c', 'a', 'a', 'b', 'b']
    """

    def __init__(self, samples: Sequence[Sample], seed: int) -> None:
        self.seed = seed
        self.epoch = 0
        of_image: dict[object, list[int]] = {}
        for index, sample in enumerate(samples):
            of_image.setdefault(sample.image, []).append(index)
        self.pairs: list[tuple[int, ...]] = []
        self.singles: list[int] = []
        for of_one in of_image.values():
            indices = [index for index in of_one if samples[index].attribute is None]
            self.singles.extend(index for index in of_one if samples[index].attribute is not None)
            if len(indices) == 2 and samples[indices[0]].kind != samples[indices[1]].kind:
                self.pairs.append(tuple(indices))
            else:
                self.singles.extend(indices)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return 2 * len(self.pairs) + len(self.singles)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        singles = [self.singles[place] for place in torch.randperm(len(self.singles), generator=generator).tolist()]
        odd = [singles.pop()] if len(singles) % 2 else []
        units = [*self.pairs, *zip(singles[::2], singles[1::2], strict=True)]
        for place in torch.randperm(len(units), generator=generator).tolist():
            yield from units[place]
        yield from odd


class EpochSampler(Sampler[int]):
    """The order of a stage's samples; it depends on seed and epoch alone, so that a run that goes on finds it again.

    It is random, unless asked otherwise.

    Args:
        samples: What is trained on, as drawn for the epoch.
        seed: Seed from which, with the epoch's number, the order follows.
        batch_size: Samples of an optimisation step over all processes; it matters when grouping by length alone.
        length: Length of a sample's answer in tokens; given when the samples of one kind within a batch are to be of
            like length.
        share_images: Whether a painting's two samples meet in a batch, in the order of `PaintingOrder`.
    """

    def __init__(
        self,
        samples: MixedSamples,
        seed: int,
        *,
        batch_size: int = 1,
        length: Callable[[Sample], int] | None = None,
        share_images: bool = False,
    ) -> None:
        self._samples = samples
        self._seed = seed
        self._batch_size = batch_size
        self._length = length
        self._share_images = share_images
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is given next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[int]:
        if self._share_images:
            paired = PaintingOrder(self._samples.samples, self._seed)
            paired.set_epoch(self._epoch)
            return iter(paired)
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        order = torch.randperm(len(self), generator=generator).tolist()
        return iter(order if self._length is None else self._grouped(order, self._length, generator))

    def _grouped(self, order: list[int], length: Callable[[Sample], int], generator: torch.Generator) -> list[int]:
        batches = []
        window = WINDOW * self._batch_size
        samples = self._samples.samples
        for start in range(0, len(order), window):
            drawn = order[start : start + window]
            longest = sorted(drawn, key=lambda index: length(samples[index]), reverse=True)
            of_kind = {kind: [index for index in longest if samples[index].kind == kind] for kind in KINDS}
            left = {kind: iter(indices) for kind, indices in of_kind.items()}
            # A place keeps its kind, or a step would hold scores or descriptions alone, and lack a term of the loss.
            part = [next(left[samples[index].kind]) for index in drawn]
            batches += [part[at : at + self._batch_size] for at in range(0, len(part), self._batch_size)]
        last = [batches.pop()] if len(batches[-1]) < self._batch_size else []  # a short one stays at the end
        shuffled = torch.randperm(len(batches), generator=generator).tolist()
        return [index for batch in [*(batches[number] for number in shuffled), *last] for index in batch]
