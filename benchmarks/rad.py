"""What `artquant rad generate` costs besides the models: throughput, memory, resuming, faults.

The endpoints are processes of their own that answer at once or after a second. Printed are the requests per second
of the bare client and of the pipeline on the same requests, the pipeline's memory, the share of the ideal rate at
a latency of one second, how long a finished run takes to find that it is finished, and the state of a run that was
killed five times while its endpoint failed.
"""

import argparse
import asyncio
import base64
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openai
from _endpoint import fixed_endpoint
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the drill's endpoint is the tests' own

from artquant_plugin.common.config import read_config  # noqa: E402
from artquant_plugin.common.hashes import sha256_file  # noqa: E402
from artquant_plugin.data.dataset import Painting, write_dataset  # noqa: E402
from artquant_plugin.train.rad.config import RadConfig  # noqa: E402
from artquant_plugin.train.rad.live import after  # noqa: E402
from artquant_plugin.train.rad.pictures import data_uri  # noqa: E402
from artquant_plugin.train.rad.plan import plan  # noqa: E402
from artquant_plugin.train.rad.store import STORE_FILE, RunStore  # noqa: E402
from artquant_plugin.train.rad.store_rows import Change  # noqa: E402
from tests.peers.llm_answers import Answer, Fails, Says  # noqa: E402
from tests.peers.local_llm import LocalLLM  # noqa: E402

LEVELS = ("perception", "cognition", "emotion")
ROW = 50  # widths of paintings; in the drill, width and height tell a painting's number


def dataset(folder: Path, count: int) -> Path:
    """Write a dataset of small paintings, JPEG files of about 1 KB with `ROW` different widths."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    paintings = []
    for number in range(count):
        path = folder / "images" / f"{number:06}.jpg"
        colours = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        size = 32 + number % ROW, 32 + number // ROW % ROW
        colours.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
        score = float(np.clip(rng.normal(5.5, 1.2), 0, 10))
        paintings.append(Painting(f"{number:06}", path.name, sha256_file(path), score, category="oil painting"))
    splits = {"train": paintings}
    write_dataset(
        folder, name="bench", score_range=(0, 10), splits=splits, image_root="images", source="made", license="CC0"
    )
    return folder


def overrides(url: str, concurrency: int) -> list[str]:
    """Overrides that have generator and judge use one endpoint, without keys and without limits of the rate."""
    both = (f"base_url={url}", "api_key_env=null", f"concurrency={concurrency}")
    caps = ("requests_per_minute=null", "tokens_per_minute=null")
    return [f"{side}.{key}" for side in ("generator", "judge") for key in (*both, *caps)]


def start(data: Path, run: Path, settings: Sequence[str], *options: str) -> subprocess.Popen[str]:
    """Start `artquant rad generate` in a process of its own."""
    sets = [part for setting in settings for part in ("--set", setting)]
    return subprocess.Popen(
        [sys.executable, "-m", "artquant_plugin.cli", "rad", "generate", "--data", str(data), "--out", str(run)]
        + [*sets, *options],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[float, str]:
    """Wait for a run to end; return its requests per second, 0 where it sent none, and what it printed."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}: {output}")
    rate = re.search(r"\(([\d.]+) requests/s\)", output)
    return float(rate[1]) if rate else 0.0, output


def memory(process: subprocess.Popen[str]) -> float:
    """The resident memory of a process now, in MiB; 0 when it has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0.0
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(resident[1]) / 1024 if resident else 0.0


def bodies(data: Path, settings: Sequence[str]) -> list[dict[str, Any]]:
    """The bodies of a painting's two requests, to the generator and to the judge, as the pipeline sends them."""
    planned = plan(str(data), read_config(RadConfig, Path("rad.yaml"), settings))
    item = planned.items()[0]
    picture = data_uri(planned.data.image_root / item.image, item.sha256, planned.config.images)
    judged = after(
        item, Change(0, "refining", 1, draft=dict.fromkeys(LEVELS, "Warm ochres lean on a cool ground. " * 8))
    )
    return [
        planned.steps.request(item, form="schema", picture=picture).body,
        planned.steps.request(judged, form="text").body,
    ]


async def bare(url: str, requests: int, concurrency: int, kinds: list[dict[str, Any]], *, aiohttp: bool) -> float:
    """Measure the requests per second of the client without the pipeline.

    Args:
        url: the base address of the endpoint.
        requests: the number of requests to send.
        concurrency: the number of requests at once.
        kinds: the two bodies, which are sent by turns.
        aiohttp: whether the client uses aiohttp instead of its default transport.
    """
    client = openai.AsyncOpenAI(
        base_url=url, api_key="none", http_client=openai.DefaultAioHttpClient() if aiohttp else None
    )
    numbers = iter(range(requests))

    async def work() -> None:
        for number in numbers:
            completion = await client.chat.completions.create(**kinds[number % 2])
            assert completion.choices[0].message.content

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    seconds = time.perf_counter() - started
    await client.close()
    return requests / seconds


def throughput(folder: Path, paintings: int, requests: int, concurrency: int) -> Path:
    """Print the rates of bare client and pipeline at the same endpoint, and the time to resume the finished run."""
    data, run = dataset(folder / "data", paintings), folder / "run"
    with fixed_endpoint() as url:
        settings = overrides(url, concurrency // 2)
        kinds = bodies(data, settings)
        rates = {
            name: asyncio.run(bare(url, requests, concurrency, kinds, aiohttp=name == "aiohttp"))
            for name in ("default transport", "aiohttp")
        }
        for name, rate in rates.items():
            print(f"bare client, {name}: {rate:.0f} requests/s ({requests:,} requests, {concurrency} at once)")
        process = start(data, run, settings)
        early = late = 0.0
        mark = paintings * 2 // 7
        while process.poll() is None:
            time.sleep(1.0)
            now = memory(process)
            if late or _done(run) >= mark:
                late = max(late, now)
            else:
                early = max(early, now)
        rate, _ = finish(process)
    shares = ", ".join(f"{rate / other:.0%} of the bare client with {name}" for name, other in rates.items())
    print(
        f"pipeline: {rate:.0f} requests/s ({paintings:,} paintings, {paintings * 2:,} requests): {shares}", flush=True
    )
    print(f"its memory: {early:.0f} MiB at most up to {mark:,} paintings, {late:.0f} MiB after", flush=True)
    started = time.perf_counter()
    finish(start(data, run, settings))
    print(f"resuming the finished run: {time.perf_counter() - started:.1f} s", flush=True)
    return data


def _done(run: Path) -> int:
    """The number of paintings that a run has accepted or given up."""
    if not (run / STORE_FILE).exists():
        return 0
    with RunStore(run / STORE_FILE, readonly=True) as store:
        counts = store.counts()
        return counts["accepted"] + counts["failed"]


def latency(folder: Path, data: Path, paintings: int, concurrency: int) -> None:
    """Print the pipeline's share of the ideal rate when every answer takes a second."""
    with fixed_endpoint(latency=1.0) as url:
        settings = overrides(url, concurrency // 2)
        rate, _ = finish(start(data, folder / "slow", settings, "--limit", str(paintings)))
    print(
        f"1 s latency, {concurrency} at once: {rate:.1f} requests/s, {rate / concurrency:.0%} of the ideal", flush=True
    )


def drill(folder: Path, paintings: int, kills: int) -> None:
    """Kill a run several times while its endpoint fails, and check that every painting ends once in the store."""
    data, run = dataset(folder / "drill-data", paintings), folder / "drill"
    chance = random.Random(0)
    asked: list[tuple[float, int]] = []

    def answer(body: dict[str, Any]) -> Answer:
        content = body["messages"][1]["content"]
        text = content if isinstance(content, str) else _size_as_text(content[0]["image_url"]["url"])
        number = int(re.findall(r"painting-(\d+)-", text)[-1])
        asked.append((time.time(), number))
        luck = chance.random()
        if luck < 0.10:
            return Fails(429, {"retry-after": "0.05"})
        if luck < 0.15:
            return Fails(500)
        if luck < 0.20:
            return '{"perception": "cut'
        if luck < 0.22:
            return Says(None, refusal="I will not.")
        if isinstance(content, str):
            return json.dumps({"consistent": chance.random() < 0.8, "reason": "as it is"})
        return json.dumps(dict.fromkeys(LEVELS, f"Calm. painting-{number}-"))

    killed = 0
    with LocalLLM(answer) as llm:
        process = start(data, run, overrides(llm.url, 16))
        while process.poll() is None:
            time.sleep(0.02)
            if killed < kills and len(asked) > (killed + 1) * 1.5 * paintings / kills:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
                process = start(data, run, overrides(llm.url, 16))
        finish(process)
    with RunStore(run / STORE_FILE, readonly=True) as store:
        counts, reasons = store.counts(), store.reasons()
        accepted = {index for index, result in enumerate(store.results()) if result.state == "accepted"}
        ended = {e.position: e.at for e in store.exchanges("judge") if e.position in accepted}
        ids = [result.id for result in store.results()]
    again = sum(at > ended[number] for at, number in asked if number in ended)
    print(f"drill: {paintings:,} paintings, {killed} SIGKILLs, {len(asked):,} requests")
    print(
        f"  accepted {counts['accepted']:,} + failed {counts['failed']:,} = {counts['accepted'] + counts['failed']:,}"
    )
    print(
        f"  failed by reason: {reasons}; {len(set(ids)):,} different paintings; {again} requests about accepted ones"
    )
    if counts["accepted"] + counts["failed"] != paintings or len(set(ids)) != paintings or again:
        raise SystemExit("the drill failed")


def _size_as_text(url: str) -> str:
    """The mark of a painting, which is computed from the size of its picture in a data URI."""
    width, height = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size
    return f"painting-{width - 32 + (height - 32) * ROW}-"


def main() -> None:
    """Measure what the options ask for, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paintings", type=int, default=70_000)
    parser.add_argument("--bare", type=int, help="requests of the bare client (default: as many as the pipeline's)")
    parser.add_argument("--concurrency", type=int, default=16, help="of both sides together (default: %(default)s)")
    parser.add_argument("--slow-paintings", type=int, default=5_000, help="at 1 s latency (default: %(default)s)")
    parser.add_argument("--drill", type=int, default=2_000, help="paintings of the drill (default: %(default)s)")
    parser.add_argument("--only", choices=("throughput", "drill"), help="a part of it alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.only != "drill":
            data = throughput(folder, args.paintings, args.bare or 2 * args.paintings, args.concurrency)
            if args.slow_paintings:
                latency(folder, data, args.slow_paintings, 128)
        if args.only != "throughput":
            drill(folder, args.drill, 5)


if __name__ == "__main__":
    main()
