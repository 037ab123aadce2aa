"""A RAD run before it begins: dataset, prompts and configuration, read and checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset, Painting
from artquant_plugin.data.find import find_dataset
from artquant_plugin.train.rad.config import RadConfig
from artquant_plugin.train.rad.limits import check_budget
from artquant_plugin.train.rad.prompts import Prompts, statistics_by_split
from artquant_plugin.train.rad.record import RunRecord, describe_data, new_record
from artquant_plugin.train.rad.steps import Steps
from artquant_plugin.train.rad.store_rows import WorkItem


@dataclass(frozen=True, slots=True)
class RadPlan:
    """A run, read and checked, before it touches the run directory.

    Args:
        data: the dataset whose paintings are described.
        splits: every painting of the dataset, by split.
        config: the run's configuration, files and overrides merged.
        steps: makes requests and reads replies by this configuration and these prompts.
        record: the content of the run's run.json, which says what the run is made from.
    """

    data: Dataset
    splits: dict[str, list[Painting]] = field(repr=False)
    config: RadConfig
    steps: Steps
    record: RunRecord

    def items(self) -> list[WorkItem]:
        """Return every painting of the dataset in the state in which a new run begins."""
        rows = [(split, painting) for split, paintings in self.splits.items() for painting in paintings]
        return [
            WorkItem(position, p.id, split, p.image, p.sha256, p.score, p.category)
            for position, (split, p) in enumerate(rows)
        ]


def plan(data: str, config: RadConfig) -> RadPlan:
    """Read the dataset and the prompts, and put them together with the configuration.

    Args:
        data: name of an imported dataset, or its folder.
        config: the run's configuration, files and overrides merged.

    Raises:
        ArtQuantError: there is no such dataset, it has no paintings, or one of the files is not of its form.
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
    return RadPlan(dataset, splits, config, Steps(config, dataset.info, prompts), record)


def check_options(planned: RadPlan, splits: Sequence[str] | None, limit: int | None, max_cost: float | None) -> None:
    """Check the options of `generate` before anything is written or sent.

    Args:
        planned: the run that the options are for.
        splits: names of splits; None for all.
        limit: number of paintings; None for all.
        max_cost: the most that may be spent, in the configuration's currency; None for no limit.

    Raises:
        ArtQuantError: the dataset has no such split, `limit` or `max_cost` is not positive, or the worst case of a
            request is not known, so that `max_cost` could not be kept.
    """
    check_budget(max_cost, {"generator": planned.config.generator, "judge": planned.config.judge})
    if limit is not None and limit < 1:
        raise ArtQuantError(f"--limit {limit} is not positive; leave it out for all paintings")
    for split in splits or ():
        if split not in planned.splits:
            raise ArtQuantError(f"the dataset has no split {split!r}; it has {', '.join(planned.splits)}")
