"""The prompt templates for generator and judge, and the statistics of the scores that the prompts tell."""

import functools
import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import StrictUndefined, Template, TemplateError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field, field_validator

from artquant_plugin.common.config import Section, find_shipped, read_config
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import DatasetInfo, Painting
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS, join_description
from artquant_plugin.train.rad.store_rows import WorkItem

Scope = Literal["train", "split", "dataset"]

# Variables that templates may use: about the dataset, and about the painting's score.
_DATA_VARIABLES = {"dataset", "category", "low", "high", "n", "mean", "median", "variance", "deviation", "levels"}
_SCORE_VARIABLES = {"score", "percentile", "standing"}


@dataclass(frozen=True, slots=True)
class Statistics:
    """The distribution of the scores with which the prompts compare a painting's score.

    Args:
        scores: all scores in ascending order; there is one at least.
        mean: arithmetic mean of the scores.
        median: median of the scores; of an even number, the mean of the two in the middle.
        variance: population variance of the scores: the mean squared distance from the mean.
    """

    scores: tuple[float, ...]
    mean: float
    median: float
    variance: float

    @classmethod
    def of(cls, scores: Sequence[float]) -> "Statistics":
        """Compute the statistics of some scores.

        Args:
            scores: one or more, in any order.
        """
        values = np.array(scores, dtype=np.float64)
        return cls(
            tuple(sorted(map(float, scores))), float(values.mean()), float(np.median(values)), float(values.var())
        )

    @property
    def deviation(self) -> float:
        """Standard deviation of the scores: the square root of the variance."""
        return self.variance**0.5

    def percentile(self, score: float) -> float:
        """Percentage, from 0 to 100, of the scores that are lower; of equal scores one half counts.

        Args:
            score: any number; it need not be one of the scores.

        Example:
            >>> Statistics.of([1, 2, 2, 3]).percentile(2)
            50.0
        """
        return 50.0 * (bisect_left(self.scores, score) + bisect_right(self.scores, score)) / len(self.scores)


def statistics_by_split(splits: Mapping[str, Sequence[Painting]], scope: Scope) -> dict[str, Statistics]:
    """Compute, for each split, the statistics that the prompts about its paintings tell.

    Args:
        splits: the dataset's paintings, by split.
        scope: whose scores count: ``train`` those of the training split for all paintings (of the whole dataset where
            there is no such split), ``split`` those of the painting's own split, ``dataset`` those of all splits.

    Raises:
        ArtQuantError: the dataset has no painting at all.
    """
    everything = [painting.score for paintings in splits.values() for painting in paintings]
    if not everything:
        raise ArtQuantError("the dataset has no paintings; import it again, or name another with --data")
    if scope == "split":
        return {split: Statistics.of([p.score for p in paintings]) for split, paintings in splits.items() if paintings}
    training = [painting.score for painting in splits.get("train", ())]
    shared = Statistics.of(training if scope == "train" and training else everything)
    return dict.fromkeys(splits, shared)


class RequestTemplate(Section):
    """The templates of a request's two messages.

    Args:
        system: the system message's template, filled once for all paintings of a split and category.
        user: the user message's template, filled for each painting.
    """

    system: str
    user: str


class RankPhrase(Section):
    """Words for a painting's rank among the others.

    Args:
        below: the upper end, above 0, of the percentiles that these words describe; it is not included.
        words: words that describe such a rank, such as "well below the average".
    """

    below: float = Field(gt=0)
    words: str


class Feedback(Section):
    """Templates of what generator or judge is told about its last reply.

    Args:
        judged: told to the generator when a consistency judge rejects its description.
        too_favourable: told to the generator when a blind judge's estimate is too high.
        too_critical: told to the generator when a blind judge's estimate is too low.
        leaked_score: told to the generator when its description gives the score away.
        malformed: told to the generator when its reply is no description.
        no_verdict: told to the judge, at the end of its user message, when its own last reply is no verdict.
    """

    judged: str
    too_favourable: str
    too_critical: str
    leaked_score: str
    malformed: str
    no_verdict: str


class PromptFile(Section):
    """The content of a file of prompts; the head of the one that ships says which variables templates may use.

    Args:
        levels: what each of the three levels is about, by level, in the levels' order.
        standing: words for a score's rank among the others, by rising percentile; the last bound is above 100.
        generator: the messages that ask for a description.
        consistency: the messages that ask a judge that is told the score whether a description agrees with it.
        blind: the messages that ask a judge that is not told the score to estimate it.
        feedback: texts about a description that was sent back, or about a verdict that could not be read.
    """

    levels: dict[str, str]
    standing: tuple[RankPhrase, ...]
    generator: RequestTemplate
    consistency: RequestTemplate
    blind: RequestTemplate
    feedback: Feedback

    @field_validator("levels")
    @classmethod
    def _levels_in_order(cls, levels: dict[str, str]) -> dict[str, str]:
        if tuple(levels) != DESCRIPTION_LEVELS:
            raise ValueError(f"these must be {', '.join(DESCRIPTION_LEVELS)}, in this order")
        return levels

    @field_validator("standing")
    @classmethod
    def _up_to_the_top(cls, standing: tuple[RankPhrase, ...]) -> tuple[RankPhrase, ...]:
        bounds = [item.below for item in standing]
        if not bounds or bounds != sorted(set(bounds)) or bounds[-1] <= 100:
            raise ValueError("`below` must rise, and the last one must be above 100")
        return standing


_ALLOWED_VARIABLES = {
    "generator": _DATA_VARIABLES | _SCORE_VARIABLES | {"feedback"},
    "consistency": _DATA_VARIABLES | _SCORE_VARIABLES | {"text"},
    "blind": _DATA_VARIABLES | {"text"},  # a judge that was told the score could repeat it
    "feedback": _DATA_VARIABLES | _SCORE_VARIABLES | {"reason", "text", "found", "problem"},
}


class Prompts:
    """The compiled templates of a file, which it fills for paintings of one dataset.

    Args:
        file: the templates, as read from a file of prompts.
        info: the content of the dataset's dataset.json.
        statistics: the statistics that the prompts tell, by split, from `statistics_by_split`.

    Raises:
        ArtQuantError: a template is not valid Jinja2, or uses a variable that it must not use.
    """

    def __init__(self, file: PromptFile, info: DatasetInfo, statistics: Mapping[str, Statistics]) -> None:
        self.file = file
        self.info = info
        self.statistics = statistics
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
        )
        self._templates = {
            (section, name): _compile(environment, section, name, text)
            for section, names in _templates_by_section(file)
            for name, text in names.items()
        }
        self._shared_system = functools.lru_cache(maxsize=4096)(self._fill_system)

    @classmethod
    def read(cls, path: Path, info: DatasetInfo, statistics: Mapping[str, Statistics]) -> "Prompts":
        """Read a file of prompts.

        Args:
            path: path of the file; a file that ships with this package is found by its name.
            info: the content of the dataset's dataset.json.
            statistics: the statistics that the prompts tell, by split, from `statistics_by_split`.

        Raises:
            ArtQuantError: there is no such file, or it is not of this form.
        """
        return cls(read_config(PromptFile, find_shipped(path)), info, statistics)

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 in hexadecimal digits of ``levels``, ``standing`` and every template, such as ``generator.user``."""
        content: dict[str, Any] = {"standing": self.file.model_dump()["standing"], "levels": self.file.levels}
        for section, names in _templates_by_section(self.file):
            content |= {f"{section}.{name}": text for name, text in names.items()}
        return {place: hashlib.sha256(json.dumps(value).encode()).hexdigest() for place, value in content.items()}

    def generate(self, item: WorkItem) -> tuple[str, str]:
        """Fill the messages that ask for a description.

        Args:
            item: the painting that is to be described.

        Returns:
            The system message and the user message.
        """
        user = self._fill("generator", "user", item, feedback=item.feedback)
        return self._shared_system("generator", item.split, item.category), user

    def judge(self, mode: str, item: WorkItem) -> tuple[str, str]:
        """Fill the messages that ask for a verdict.

        Args:
            mode: ``consistency`` or ``blind``, as the configuration says.
            item: the painting whose draft is to be judged; it has one.

        Returns:
            The system message and the user message. If the judge's last reply to this draft was no verdict, the user
            message ends with what was wrong with it.
        """
        assert item.draft is not None
        user = self._fill(mode, "user", item, text=join_description(item.draft))
        if item.feedback:
            user = f"{user}\n\n{item.feedback}"
        return self._shared_system(mode, item.split, item.category), user

    def feedback(self, name: str, item: WorkItem, *, reason: str = "", found: str = "", problem: str = "") -> str:
        """Fill a feedback template: the text that tells generator or judge what was wrong with its last reply.

        Args:
            name: name of the template: a field of `Feedback`.
            item: the painting whose description was sent back.
            reason: the judge's reason for its verdict; empty where no judge was asked.
            found: the words of the description that give the score away; empty when it does not.
            problem: why a reply is no description or no verdict; empty when it is one.
        """
        text = join_description(item.draft) if item.draft else ""
        return self._fill("feedback", name, item, reason=reason, text=text, found=found, problem=problem)

    def standing(self, percentile: float) -> str:
        """Choose the words for a rank among the other scores.

        Args:
            percentile: share of the scores that are lower, from 0 to 100.
        """
        return next(item.words for item in self.file.standing if percentile < item.below)

    def _fill_system(self, section: str, split: str, category: str | None) -> str:
        """Fill a system message; it depends on split and category only, so that many paintings share one."""
        return _render(self._templates[section, "system"], section, "system", self._data_values(split, category))

    def _fill(self, section: str, name: str, item: WorkItem, **more: str | None) -> str:
        values = self._data_values(item.split, item.category) | more
        if section != "blind":
            percentile = self.statistics[item.split].percentile(item.score)
            values |= {"score": item.score, "percentile": percentile, "standing": self.standing(percentile)}
        return _render(self._templates[section, name], section, name, values)

    def _data_values(self, split: str, category: str | None) -> dict[str, Any]:
        statistics = self.statistics[split]
        low, high = self.info.score_range
        return {
            "dataset": self.info.name,
            "category": category,
            "low": low,
            "high": high,
            "n": len(statistics.scores),
            "mean": statistics.mean,
            "median": statistics.median,
            "variance": statistics.variance,
            "deviation": statistics.deviation,
            "levels": self.file.levels,
        }


def _templates_by_section(file: PromptFile) -> list[tuple[str, dict[str, str]]]:
    return [(name, getattr(file, name).model_dump()) for name in ("generator", "consistency", "blind", "feedback")]


def _compile(environment: ImmutableSandboxedEnvironment, section: str, name: str, text: str) -> Template:
    allowed = _DATA_VARIABLES if name == "system" else _ALLOWED_VARIABLES[section]
    try:
        used = meta.find_undeclared_variables(environment.parse(text))
        template = environment.from_string(text)
    except TemplateError as error:
        raise ArtQuantError(f"the prompt {section}.{name} is no Jinja2 template: {error}; mend it") from error
    if used - allowed:
        raise ArtQuantError(
            f"the prompt {section}.{name} uses {sorted(used - allowed)[0]!r}; it may use {', '.join(sorted(allowed))}"
        )
    return template


def _render(template: Template, section: str, name: str, values: dict[str, Any]) -> str:
    try:
        return template.render(values).strip()
    except (UndefinedError, TemplateError, TypeError, ValueError) as error:
        raise ArtQuantError(f"the prompt {section}.{name} cannot be filled: {error}; mend it") from error
