"""The order in which samples are trained on, where it decides which of them share a batch."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from artquant_plugin.train.samples import Sample


class PaintingOrder(Sampler[int]):
    """A random order that brings the two samples of a painting into one batch of an even size.

    Paintings that have one sample only stand two by two among the pairs, so that no pair is cut by a batch's border.
    The order of an epoch follows from the seed and the epoch's number alone.

    Args:
        samples: of all paintings.
        seed: of the order.

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
        for indices in of_image.values():
            if len(indices) == 2 and samples[indices[0]].kind != samples[indices[1]].kind:
                self.pairs.append(tuple(indices))
            else:
                self.singles.extend(indices)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; the trainer calls it."""
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
