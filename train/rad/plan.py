"""A RAD run before it begins: dataset, prompts and configuration, read and checked."""

from dataclasses import dataclass, field

from artquant_plugin.data.dataset import Dataset, Painting
from artquant_plugin.data.find import find_dataset
from artquant_plugin.train.rad.config import RadConfig
from artquant_plugin.train.rad.prompts import Prompts
from artquant_plugin.train.rad.record import RunRecord, describe_data, new_record
from artquant_plugin.train.rad.rows import Item
from artquant_plugin.train.rad.statistics import statistics_by_split
from artquant_plugin.train.rad.steps import Steps


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, read and checked, before it touches the run directory.

    Args:
        data: the dataset.
        splits: all of its paintings.
        config: of the run.
        steps: the rules.
        record: what the run is made from.
    """

    data: Dataset
    splits: dict[str, list[Painting]] = field(repr=False)
    config: RadConfig
    steps: Steps
    record: RunRecord

    def items(self) -> list[Item]:
        """All paintings, as new work."""
        rows = [(split, painting) for split, paintings in self.splits.items() for painting in paintings]
        return [
            Item(position, p.id, split, p.image, p.sha256, p.score, p.category)
            for position, (split, p) in enumerate(rows)
        ]


def plan(data: str, config: RadConfig) -> Plan:
    """Read dataset and prompts.

    Args:
        data: name or folder of a dataset.
        config: of the run.

    Raises:
        ArtQuantError: either is not of its form, or there are no paintings.
    """
    dataset = Dataset.load(find_dataset(data))
    splits = {split: dataset.split(split) for split in dataset.info.splits}
    prompts = Prompts.read(config.prompts, dataset.info, statistics_by_split(splits, config.statistics))
    record = new_record(
        describe_data(dataset.folder, dataset.info, splits),
        prompts.hashes,
        config.models,
        config.identity,
        config.model_dump(mode="json"),
    )
    return Plan(dataset, splits, config, Steps(config, dataset.info, prompts), record)
