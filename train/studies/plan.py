"""The trials of a study: which runs it consists of, each with its own resolved configuration and folder.

Trials that are alike have the same folder, whichever study asks for them: the run with all three levels of the
descriptions is the last row of `hierarchy`, a row of `mat` and `labels`, and the point at 100 % of `sufficiency`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.find import find_dataset
from artquant_plugin.train.config import TrainConfig, load_config
from artquant_plugin.train.sections import StageSection
from artquant_plugin.train.studies.config import StudiesConfig, StudyDataset
from artquant_plugin.train.studies.derived import DerivedDataset

FINAL, FIRST = "model", "first-stage"  # folders of a trial's trainings


@dataclass(frozen=True, slots=True)
class ScoredSplit:
    """The paintings that a trial's checkpoint scores.

    Args:
        name: Name of the dataset in the configuration of the studies.
        folder: Folder of the dataset with the split.
        split: Name of the split that is scored.
    """

    name: str
    folder: Path
    split: str


@dataclass(frozen=True, slots=True)
class Variant:
    """How a trial differs from the dataset's own training configuration.

    Args:
        name: Name of its folder, which says what differs; variants of one name are the same.
        overrides: Changes of the training configuration, ``section.key=value`` each.
        length: Share of each description's words that is trained on, in percent.
        first: Changes of a training of its own that comes first; the trial's last training starts from its
            checkpoint. None where there is one training alone.
    """

    name: str
    overrides: tuple[str, ...] = ()
    length: int = 100
    first: tuple[str, ...] | None = None


BASE = Variant("base")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a study: a training, or two that follow each other, and the scores of its checkpoint.

    Args:
        name: Dataset, variant and seed, which together name its folder.
        folder: Folder of everything that the trial writes.
        trainings: Configurations of the trainings; the last one's checkpoint is scored.
        tests: Paintings that the checkpoint scores.
        derived: Datasets that have to be made before the trial: parts of others, or others with shorter texts.
    """

    name: str
    folder: Path
    trainings: tuple[TrainConfig, ...]
    tests: tuple[ScoredSplit, ...]
    derived: tuple[DerivedDataset, ...]

    def scores(self, test: ScoredSplit) -> Path:
        """Folder of the scores of a test set's paintings, which `artquant metrics` reads, too."""
        return self.folder / "scores" / test.name

    @property
    def description_loss(self) -> Path:
        """File with the loss of held-out descriptions after the first training."""
        return self.folder / "description-loss.json"


class Grid:
    """Makes the trials of one configuration.

    Args:
        config: The configuration of the studies.
    """

    def __init__(self, config: StudiesConfig) -> None:
        self.config = config
        self._bases: dict[str, TrainConfig] = {}

    def base(self, dataset: StudyDataset) -> TrainConfig:
        """The training configuration that all runs on a dataset begin from.

        Raises:
            ArtQuantError: The training configuration is wrong, or names several datasets.
        """
        if dataset.name not in self._bases:
            self._bases[dataset.name] = config = load_config(dataset.train, dataset.set)
            if len(config.data) > 1:
                names = ", ".join(section.name for section in config.data)
                raise ArtQuantError(
                    f"datasets.{dataset.name} trains on {len(config.data)} datasets ({names}), and a study's dataset "
                    "is one; give each an entry of its own"
                )
        return self._bases[dataset.name]

    def source(self, dataset: StudyDataset) -> Path:
        """Folder of the dataset as it was imported.

        Raises:
            ArtQuantError: It is not there; the message has the command that makes it.
        """
        return find_dataset(self.base(dataset).data[0].name)

    def derived(self, dataset: StudyDataset, length: int = 100) -> DerivedDataset | None:
        """The dataset that is trained on, where it is not the imported one itself.

        Args:
            dataset: The dataset of the configuration.
            length: Share of each description's words that is kept, in percent.
        """
        if dataset.category is None and length == 100:
            return None
        name = dataset.name if length == 100 else f"{dataset.name}-text-{length}"
        folder = self.config.output.expanduser() / "data" / name
        return DerivedDataset(self.source(dataset), folder, dataset.category, length)

    def test(self, dataset: StudyDataset) -> ScoredSplit:
        """The paintings of a dataset that checkpoints score."""
        part = self.derived(dataset)
        return ScoredSplit(dataset.name, self.source(dataset) if part is None else part.folder, dataset.split)

    def trial(
        self, dataset: StudyDataset, variant: Variant, seed: int, tests: Sequence[StudyDataset] | None = None
    ) -> Trial:
        """One trial.

        Args:
            dataset: The dataset that is trained on.
            variant: What differs from the dataset's training configuration.
            seed: Seed of the weights, of the order of the samples and of dropout.
            tests: Datasets whose paintings are scored; None for the trained one alone.
        """
        folder = self.config.output.expanduser() / "runs" / dataset.name / variant.name / f"seed-{seed}"
        tested = [dataset] if tests is None else tests
        trained = self.derived(dataset, variant.length)
        every = [trained, *(self.derived(each) for each in tested)]
        data = str(self.source(dataset) if trained is None else trained.folder)
        common = (*dataset.set, f"data=[{json.dumps(data)}]", f"seed={seed}")
        trainings = []
        overrides = variant.overrides
        if variant.first is not None:
            first = folder / FIRST
            trainings.append(load_config(dataset.train, (*common, *variant.first, _output(first))))
            start = {"pretrained": str(first), "tiny": None, "base": None}
            overrides = (*overrides, *(f"model.{key}={json.dumps(value)}" for key, value in start.items()))
        trainings.append(load_config(dataset.train, (*common, *overrides, _output(folder / FINAL))))
        return Trial(
            name=f"{dataset.name}/{variant.name}/seed-{seed}",
            folder=folder,
            trainings=tuple(trainings),
            tests=tuple(self.test(each) for each in tested),
            derived=tuple(dict.fromkeys(each for each in every if each is not None)),
        )

    def trials(
        self,
        datasets: Iterable[StudyDataset],
        variants: Iterable[Variant],
        tests: Sequence[StudyDataset] | None = None,
    ) -> list[Trial]:
        """The trials of every dataset, variant and seed, in this order.

        Args:
            datasets: The datasets that are trained on.
            variants: The variants, the same for each dataset.
            tests: Datasets whose paintings are scored; None for the trained one alone.
        """
        chosen = tuple(variants)
        return [
            self.trial(dataset, variant, seed, tests)
            for dataset in datasets
            for variant in chosen
            for seed in self.config.seeds
        ]


def joined(trials: Iterable[Trial]) -> list[Trial]:
    """The trials of several studies, each of them once, with the test sets of all studies that ask for it.

    Args:
        trials: Trials, of which those with the same name are the same run.
    """
    found: dict[str, Trial] = {}
    for trial in trials:
        earlier = found.get(trial.name)
        if earlier is None:
            found[trial.name] = trial
            continue
        tests = tuple(dict.fromkeys((*earlier.tests, *trial.tests)))
        derived = tuple(dict.fromkeys((*earlier.derived, *trial.derived)))
        found[trial.name] = replace(earlier, tests=tests, derived=derived)
    return list(found.values())


def stages_override(stages: Sequence[StageSection]) -> str:
    """Stages as a change of a training configuration."""
    return f"stages={json.dumps([stage.model_dump(mode='json') for stage in stages])}"


def score_stages(base: TrainConfig, dataset: StudyDataset, study: str) -> list[StageSection]:
    """The stages of a configuration that train on scores alone: the paper's second stage.

    Args:
        base: The training configuration that runs on the dataset begin from.
        dataset: The dataset, named in the message.
        study: Name of the study that needs such a stage, for the message.

    Raises:
        ArtQuantError: There is no such stage.
    """
    found = [stage for stage in base.stages if tuple(stage.samples) == ("score",)]
    return _needed(found, base, dataset, study, "a stage with samples [score]")


def described_stages(base: TrainConfig, dataset: StudyDataset, study: str) -> list[StageSection]:
    """The stages of a configuration that train on descriptions: the paper's first stage.

    Args:
        base: The training configuration that runs on the dataset begin from.
        dataset: The dataset, named in the message.
        study: Name of the study that needs such a stage, for the message.

    Raises:
        ArtQuantError: There is no such stage.
    """
    found = [stage for stage in base.stages if "describe" in stage.samples]
    return _needed(found, base, dataset, study, "a stage with samples [describe, score]")


def _needed(
    found: list[StageSection], base: TrainConfig, dataset: StudyDataset, study: str, what: str
) -> list[StageSection]:
    if not found:
        kinds: list[Any] = [list(stage.samples) for stage in base.stages]
        raise ArtQuantError(
            f"study {study} needs {what} in the training configuration of datasets.{dataset.name}, whose stages have "
            f"the samples {json.dumps(kinds)}; add it to the stages"
        )
    return found


def _output(folder: Path) -> str:
    return f"output={json.dumps(str(folder))}"
