"""The configuration of studies: the datasets, the seeds, and what each study varies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from artquant_plugin.common.config import Section, read_config
from artquant_plugin.common.text import did_you_mean, listed


class StudyDataset(Section):
    """A dataset that is trained on, with the training configuration that every run on it begins from.

    Args:
        name: Name in tables and of the folder of its runs: lower-case letters, digits, ``_`` and ``-``.
        train: Training configurations, later ones over earlier ones, as `artquant train` takes them. Together they
            name one dataset and have the paper's stages.
        set: What is changed in them for all runs, ``section.key=value`` each, as ``--set`` takes it.
        category: Take the paintings of this category alone, in every split; None for all paintings.
        split: The split that is scored after a training, and never trained on.
    """

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    train: tuple[Path, ...] = Field(min_length=1)
    set: tuple[str, ...] = ()
    category: str | None = None
    split: Literal["validation", "test"] = "test"


class StudySection(Section):
    """What all studies can be told.

    Args:
        datasets: Names of the datasets that the study uses; None for all of them.
    """

    datasets: tuple[str, ...] | None = None


class HierarchySection(StudySection):
    """The study `hierarchy`.

    Args:
        reference: What the three rows with descriptions are compared with: ``comment`` trains on the raters' comments
            in the place of descriptions, as the paper does; ``scores`` trains on no text, where there are no comments.
    """

    reference: Literal["comment", "scores"] = "comment"


class LabelsSection(StudySection):
    """The study `labels`.

    Args:
        deviation: The raters' standard deviation of the Gaussian labels, above 0 and in the unit of the dataset; or
            the name of the attribute that holds each painting's.
    """

    deviation: float | str = 1.0


class SufficiencySection(StudySection):
    """The study `sufficiency`.

    Args:
        lengths: Shares of each description's words that are trained on, in percent, from 1 to 100; two or more.
    """

    lengths: tuple[int, ...] = (10, 25, 50, 75, 100)

    @field_validator("lengths")
    @classmethod
    def _shares(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        return _checked_shares(given, "lengths")


class GenerationSection(StudySection):
    """The study `generation`.

    Args:
        progress: Shares of the first stage's epochs, in percent, from 1 to 100; two or more.
    """

    progress: tuple[int, ...] = (10, 25, 50, 75, 100)

    @field_validator("progress")
    @classmethod
    def _shares(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        return _checked_shares(given, "progress")


class EntropySection(StudySection):
    """The study `entropy`.

    Args:
        rejected: Descriptions that a judge rejected, from 0 to `judged`.
        judged: Descriptions that a judge decided on, from 0; 0 where nobody judged, which leaves epsilon at 0.
    """

    rejected: int = Field(0, ge=0)
    judged: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _counted(self) -> "EntropySection":
        if self.rejected > self.judged:
            raise ValueError(f"{self.rejected} descriptions rejected of {self.judged} judged; swap or mend the counts")
        return self


class StudiesConfig(Section):
    """All studies of one folder.

    Args:
        output: Folder of the runs, the tables, the figures and the page.
        seeds: Seeds of the runs; each row of a table is trained once with each. Two or more.
        datasets: The datasets, at least one, each with a name of its own.
        run_gigabytes: Room on the disk that the files of one finished run take, above 0, in 10**9 bytes; None to
            estimate it.
        hierarchy: What is described: human comments, or one, two and three levels (Table 2).
        mat: With and without the multi-task stage (Table 3).
        labels: How scores become soft labels.
        sufficiency: The length of descriptions against the agreement with people (Figure 4, left).
        generation: The loss of descriptions against the agreement with people (Figure 4, right).
        entropy: The entropies of Theorems 1 to 3.
        transfer: Every training set against every test set.
    """

    output: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    datasets: tuple[StudyDataset, ...] = Field(min_length=1)
    run_gigabytes: float | None = Field(None, gt=0)
    hierarchy: HierarchySection = HierarchySection()
    mat: StudySection = StudySection()
    labels: LabelsSection = LabelsSection()
    sufficiency: SufficiencySection = SufficiencySection()
    generation: GenerationSection = GenerationSection()
    entropy: EntropySection = EntropySection()
    transfer: StudySection = StudySection()

    @model_validator(mode="after")
    def _whole(self) -> "StudiesConfig":
        if len(self.seeds) < 2 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"seeds {list(self.seeds)} give no standard deviation, which takes two different seeds or more; set "
                "seeds to [0, 1, 2], for example"
            )
        names = [dataset.name for dataset in self.datasets]
        if len(set(names)) < len(names):
            raise ValueError(f"datasets {', '.join(names)} repeat a name, which names a folder; rename one of them")
        sections = ("hierarchy", "mat", "labels", "sufficiency", "generation", "entropy", "transfer")
        for section in sections:
            for name in getattr(self, section).datasets or ():
                if name not in names:
                    known = f"; {did_you_mean(name, names) or f'the names are {listed(names)}'}"
                    raise ValueError(f"{section}.datasets names {name!r}, which is none of the datasets{known}")
        return self

    def chosen(self, section: StudySection) -> tuple[StudyDataset, ...]:
        """The datasets that a study uses, in the order of the configuration.

        Args:
            section: The section of the study.
        """
        return tuple(each for each in self.datasets if section.datasets is None or each.name in section.datasets)


def load_studies(paths: Path | Sequence[Path], overrides: Sequence[str] = ()) -> StudiesConfig:
    """Read a configuration of studies.

    Args:
        paths: One YAML file or several, later ones over earlier ones; those that ship are found by their name.
        overrides: ``section.key=value`` each, the value in YAML; they come last.

    Raises:
        ArtQuantError: There is no such file, it is no YAML, a key is unknown (the nearest known one is named), or a
            value is of the wrong kind.
    """
    return read_config(StudiesConfig, paths, overrides)


def _checked_shares(given: tuple[int, ...], name: str) -> tuple[int, ...]:
    if len(set(given)) < 2 or len(set(given)) < len(given) or not all(1 <= share <= 100 for share in given):
        raise ValueError(
            f"{name} {list(given)} are not two or more different percentages from 1 to 100, through which a line can "
            "be drawn; change the list"
        )
    return tuple(sorted(given))
