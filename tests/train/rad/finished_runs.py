"""Finished runs without a model: a dataset of pictures and a store as the engine leaves it."""

import json
import random
from pathlib import Path

from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Dataset, Painting, write_dataset
from artquant_plugin.train.rad.record import describe_data, new_record
from artquant_plugin.train.rad.store import STORE_FILE, Change, Exchange, RunStore, WorkItem
from tests.tiny import pictures

FRAME = json.dumps({"model": "writer-1"})
WORDS = "warm cool broad thin quiet restless balanced open dark bright strokes layers figures water sky hands".split()


def levels(number: int) -> dict[str, str]:
    """Three texts that differ from painting to painting."""
    rng = random.Random(number)
    return {
        name: " ".join([f"{name} {number}:", *rng.choices(WORDS, k=12)]) + "."
        for name in ("perception", "cognition", "emotion")
    }


def write_data(folder: Path, splits: dict[str, int] | None = None, **more) -> Dataset:
    """A dataset of small pictures; scores run from 1 to 9, every other painting has attributes and a comment."""
    folder.mkdir(parents=True)
    sizes = splits or {"train": 6, "validation": 2, "test": 4}
    images = iter(pictures(sum(sizes.values())))
    rows: dict[str, list[Painting]] = {}
    number = 0
    for split, count in sizes.items():
        for _ in range(count):
            path = folder / "pictures" / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            next(images).save(path)
            extra = {"attributes": {"Color": 7.0}, "comment": "A fine <b>sky</b>."} if number % 2 else {}
            rows.setdefault(split, []).append(
                Painting(f"p{number}", path.name, sha256_file(path), 1.0 + number % 9, category="oil", **extra)
            )
            number += 1
    options = {"name": "small", "score_range": (0, 10), "source": "made up", "license": "CC BY-NC-ND 4.0"}
    return write_dataset(folder, splits=rows, image_root="pictures", **options | more)


def write_run(folder: Path, data: Dataset, changes: dict[int, Change] | None = None) -> Path:
    """A run's folder. Of every five paintings four are accepted, one of them in round two, and one is judged away.

    Args:
        folder: of the run.
        data: its dataset.
        changes: by position, in the place of these.
    """
    folder.mkdir(parents=True)
    splits = {split: data.split(split) for split in data.info.splits}
    prompts = {"generator": "a" * 64, "judge": "b" * 64}
    models = {"generator": "writer-1", "judge": "critic-1"}
    config = {"generator": {"model": "writer-1"}, "judge": {"model": "critic-1", "mode": "blind"}}
    record = new_record(describe_data(data.folder, data.info, splits), prompts, models, {"mode": "blind"}, config)
    record.write(folder)
    with RunStore(folder / STORE_FILE) as store:
        paintings = [(split, painting) for split, rows in splits.items() for painting in rows]
        store.fill(
            WorkItem(position, p.id, split, p.image, p.sha256, p.score, p.category)
            for position, (split, p) in enumerate(paintings)
        )
        for position, (_, painting) in enumerate(paintings):
            change = (changes or {}).get(position) or outcome(position, painting.score)
            estimate = json.dumps({"score": first_estimate(position, painting.score), "reason": "so"})
            store.write([exchange(position, "generator", "{}"), exchange(position, "judge", estimate)], [change])
    return folder


def outcome(position: int, score: float) -> Change:
    """What becomes of a painting."""
    if position % 5 == 4:
        last = min(score + 3, 10.0)
        return Change(position, "failed", 3, "judge_rejected", "too kind", judge_score=last, judge_reason="too kind")
    rounds = 2 if position % 5 == 3 else 1
    return Change(
        position, "accepted", rounds, description=levels(position), judge_score=score + 0.5, judge_reason="fits"
    )


def first_estimate(position: int, score: float) -> float:
    """What the judge says before the generator was told anything: what needs a second round is two points off."""
    if position % 5 == 3:
        return max(score - 2, 0.0)
    return min(score + 3, 10.0) if position % 5 == 4 else score + 0.5


def exchange(position: int, side: str, reply: str) -> Exchange:
    return Exchange(position, side, 1, "ok", FRAME, "[]", reply, 100, 50, 0.002, 0.1, 1.7e9 + position)
