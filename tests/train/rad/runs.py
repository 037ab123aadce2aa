"""Runs on loopback: paintings whose score an answer can read off the request, and a configuration for them."""

import base64
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from artquant_plugin.common.config import read_config
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.train.rad.config import RadConfig
from artquant_plugin.train.rad.plan import plan
from artquant_plugin.train.rad.run import generate
from artquant_plugin.train.rad.store import STORE_FILE, PaintingResult, RunStore
from tests.peers.llm_answers import Answer

LEVELS = ("perception", "cognition", "emotion")


def dataset(folder: Path, count: int = 6, *, test: int = 0) -> Path:
    """Grey paintings of width 8 + their number, scored 1.25, 2.25, … (modulo 8), the last `test` of them in test."""
    paintings = []
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        path = folder / "images" / f"{number}.jpg"
        Image.new("RGB", (8 + number, 8), (number % 256,) * 3).save(path, quality=95)
        category = "oil painting" if number % 2 else None
        paintings.append(
            Painting(f"p{number}", path.name, sha256_file(path), number % 8 + 1.25, category=category)
        )  # fmt: skip
    splits = {"train": paintings[: count - test]} | ({"test": paintings[count - test :]} if test else {})
    write_dataset(
        folder, name="greys", score_range=(0, 10), splits=splits, image_root="images", source="made", license="CC0"
    )
    return folder


def config(url: str, *overrides: str) -> RadConfig:
    """The shipped configuration on a loopback endpoint; 1,000 tokens of a prompt cost 1, as does one of a reply."""
    everything = [
        *(f"{side}.{key}" for side in ("generator", "judge") for key in (f"base_url={url}", "api_key_env=null")),
        *(f"{side}.price={{input: 1000, output: 1000000}}" for side in ("generator", "judge")),
        "generator.requests_per_minute=null",
        "generator.tokens_per_minute=null",
        "batch.poll_seconds=0.01",
        *overrides,
    ]
    return read_config(RadConfig, Path("rad.yaml"), everything)


def rad(data: Path, run: Path, url: str, *overrides: str, **options: Any) -> Any:
    """Generate; the summary."""
    return generate(plan(str(data), config(url, *overrides)), run, **options)


def results(run: Path) -> list[PaintingResult]:
    """What the store holds."""
    with RunStore(run / STORE_FILE, readonly=True) as store:
        return list(store.results())


def exchanges(run: Path, side: str | None = None) -> list[Any]:
    """Requests and replies."""
    with RunStore(run / STORE_FILE, readonly=True) as store:
        return list(store.exchanges(side))


def is_generator(body: dict[str, Any]) -> bool:
    """Whether the request carries a picture."""
    return isinstance(body["messages"][-1]["content"], list)


def words(body: dict[str, Any]) -> str:
    """The painting's own message."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def picture(body: dict[str, Any]) -> Image.Image:
    """The picture in a request."""
    url = body["messages"][-1]["content"][0]["image_url"]["url"]
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def number(body: dict[str, Any]) -> int:
    """Which painting a request is about: by its width, or by the word that `levels` wrote."""
    if is_generator(body):
        return picture(body).width - 8
    found = re.search(r"painting-(\d+)-", words(body))
    assert found, words(body)
    return int(found[1])


def levels(body: dict[str, Any], text: str = "Calm ground.") -> str:
    """A description that says which painting it is about."""
    return json.dumps({level: f"{text} See painting-{number(body)}-." for level in LEVELS})


CONSENT = json.dumps({"consistent": True, "reason": "fits"})


def script(
    generator: Callable[[dict[str, Any]], Answer] = levels,
    judge: Callable[[dict[str, Any]], Answer] = lambda _: CONSENT,
) -> Callable[[dict[str, Any]], Answer]:
    """An answer for both sides."""
    return lambda body: generator(body) if is_generator(body) else judge(body)


def in_turn(*answers: Answer | Callable[[dict[str, Any]], Answer]) -> Callable[[dict[str, Any]], Answer]:
    """For each painting its first, second, … answer; the last one from then on."""
    asked: dict[int, int] = {}

    def answer(body: dict[str, Any]) -> Answer:
        which = number(body)
        asked[which] = asked.get(which, 0) + 1
        chosen = answers[min(asked[which], len(answers)) - 1]
        return chosen(body) if callable(chosen) else chosen

    return answer


def count(bodies: Sequence[tuple[float, dict[str, Any]]], side: str) -> int:
    """Requests of one side."""
    return sum(is_generator(body) == (side == "generator") for _, body in bodies)
