"""Writes a run or a dataset as label files, in the form in which the paper's authors published RAD.

`artquant_plugin.data.importers.rad` describes the form and reads it.
"""

import bisect
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_folder, atomic_write
from artquant_plugin.common.machine import machine_faults
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.importers.rad import ANSWERED, ASKED, DESCRIPTION, IMAGE_TOKEN
from artquant_plugin.data.paintings import Painting
from artquant_plugin.prompting.levels import ANSWER_PREFIX, LevelScale
from artquant_plugin.prompting.questions import DESCRIBE_QUESTION, SCORE_QUESTION, join_description
from artquant_plugin.train.rad.export import only_exporter
from artquant_plugin.train.rad.table import RadRun, survey

PAINTINGS_AT_ONCE = 1000
Label = dict[str, Any]


def write_label_files(source: RadRun | Dataset, out: Path, values: Sequence[float] | None = None) -> dict[str, int]:
    """Write SPLIT_score.json and, where there are descriptions, SPLIT_description.json.

    Args:
        source: a run, whose accepted descriptions are written, or a dataset that has descriptions itself.
        out: the folder to make, which must not exist.
        values: the level values for ``level_probs``, best first; None for the dataset's, or else the default values.

    Returns:
        Number of records by file.

    Raises:
        ArtQuantError: the folder is there already, or another process writes it; a score is outside the level values.
        MachineError: the folder cannot be written, such as on a full disk.
    """
    info = (source.dataset if isinstance(source, RadRun) else source).info
    chosen = values or info.level_values
    scale = LevelScale() if chosen is None else LevelScale(values=tuple(chosen))
    with machine_faults(f"'{out}' cannot be written"), only_exporter(out):
        if out.exists():
            raise ArtQuantError(f"'{out}' exists; remove it, or pass another --out")
        return _write_files(source, out, scale)


def _write_files(source: RadRun | Dataset, out: Path, scale: LevelScale) -> dict[str, int]:
    counts: Counter[str] = Counter()
    with atomic_folder(out) as part, ExitStack() as stack:
        files: dict[str, Any] = {}
        for name, record in _records(source, scale):
            if name not in files:
                files[name] = stack.enter_context(atomic_write(part / name))
                stack.callback(files[name].write, "\n]\n")  # the stack calls this before it closes the file
            files[name].write(("[\n" if not counts[name] else ",\n") + json.dumps(record, ensure_ascii=False))
            counts[name] += 1
    return dict(counts)


def _records(source: RadRun | Dataset, scale: LevelScale) -> Iterator[tuple[str, Label]]:
    """Yield every record with the name of the file that it belongs to."""
    stream = _paintings_of_run(source) if isinstance(source, RadRun) else _paintings_of_dataset(source)
    while some := list(islice(stream, PAINTINGS_AT_ONCE)):
        labels = scale.soft_labels([painting.score for _, painting in some])
        for (split, painting), label in zip(some, labels, strict=True):
            yield f"{split}_score.json", score_record(painting, label.tolist(), scale)
            if painting.description is not None:
                yield f"{split}_description.json", description_record(painting)


def _paintings_of_run(run: RadRun) -> Iterator[tuple[str, Painting]]:
    absent = {item.id for item in survey(run).left_out}
    for painting, result in run.paintings():
        if painting.id not in absent:
            yield result.split, replace(painting, description=result.description)


def _paintings_of_dataset(dataset: Dataset) -> Iterator[tuple[str, Painting]]:
    for split in dataset.info.splits:
        for painting in dataset.each(split):
            yield split, painting


def score_record(painting: Painting, probabilities: Sequence[float], scale: LevelScale) -> Label:
    """Make a record that asks for a score; its answer names the lowest level whose value is not below the score.

    Args:
        painting: the painting with its score.
        probabilities: probability of each level, best first; they sum to 1.
        scale: the levels' words and values.
    """
    ascending = scale.values[::-1]
    word = scale.names[::-1][min(bisect.bisect_left(ascending, painting.score), len(ascending) - 1)]
    return {
        "id": f"{painting.image}->{painting.score}",
        "image": painting.image,
        "gt_score": painting.score,
        "level_probs": list(probabilities),
        "conversations": _conversation(SCORE_QUESTION, f"{ANSWER_PREFIX} {word}."),
    }


def description_record(painting: Painting) -> Label:
    """Make a record that asks for a description.

    Args:
        painting: the painting, which has a description.
    """
    assert painting.description is not None
    return {
        "id": painting.image,
        "image": painting.image,
        "task_type": DESCRIPTION,
        "conversations": _conversation(DESCRIBE_QUESTION, join_description(painting.description)),
    }


def _conversation(question: str, answer: str) -> list[dict[str, str]]:
    asked = {"from": ASKED, "value": f"{question}\n{IMAGE_TOKEN}"}
    return [asked, {"from": ANSWERED, "value": answer}]
