"""Scores from vLLM on a GPU of this machine: one process, which reads the prompt and generates one token."""

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from artquant_plugin.bulk.checkpoint_engine import CheckpointEngine
from artquant_plugin.bulk.rows import ScoreColumns
from artquant_plugin.checkpoint import OWN
from artquant_plugin.checkpoint.library_errors import library_errors_in_one_line
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE, locate
from artquant_plugin.checkpoint.processor import load_processor
from artquant_plugin.common.device import default_device
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line
from artquant_plugin.data.images import open_image
from artquant_plugin.prompting.chat import adds_special_tokens, takes_answer_as_suffix
from artquant_plugin.prompting.levels import entropy
from artquant_plugin.prompting.prompter import Prompter
from artquant_plugin.scoring.scorer import score_inputs

# The first release whose Python interface was read and tested, and the first that was not.
OLDEST, NEWEST = "0.32", "0.34"
REQUIREMENT = f"vllm>={OLDEST},<{NEWEST}"
BATCH = 64  # pictures per call, which vLLM divides as its memory allows; those of two calls are held in memory
THREADS = 4  # open the pictures of the next call; decoding releases the interpreter's lock
WORKER = Path(__file__).with_name("vllm_worker.py")


@dataclass
class VllmEngine:
    """A checkpoint that vLLM loads when the first image comes.

    Args:
        model: a full checkpoint's folder or Hub id.
        scoring: the name of a preset or a scoring file; None for what the checkpoint itself says.
        dtype: the type of the weights: auto, which keeps the checkpoint's own, float32, bfloat16 or float16.
        device: cuda or cuda:N; cpu for a vLLM that is built for CPUs; None takes the GPU.
        python: the Python of the environment that has vLLM; None for the one that runs this.
        batch_size: images per call of vLLM, from 1; ``auto`` for `BATCH`.
        compile: whether vLLM compiles the model and captures CUDA graphs, which takes minutes at the start.
    """

    model: str
    scoring: str | None = None
    dtype: str = "auto"
    device: str | None = None
    python: str | None = None
    batch_size: int | str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        self._checkpoint = CheckpointEngine(self.model, scoring=self.scoring, dtype=self.dtype)

    @property
    def columns(self) -> ScoreColumns:
        """The columns of its rows, those of the local engine."""
        return self._checkpoint.columns

    @property
    def options(self) -> dict[str, Any]:
        """What changes scores beyond rounding."""
        spec = self._checkpoint.spec
        options: dict[str, Any] = {"engine": "vllm", "dtype": self.dtype}
        return options if spec.name == OWN else options | {"scoring": spec.name, **spec.content}

    def identity(self) -> dict[str, Any]:
        """The model's name, and a key of each file that it is loaded from."""
        return self._checkpoint.identity()

    def results(self, images: Iterable[Path | bytes]) -> Iterator[dict[str, Any] | ArtQuantError]:
        """Start vLLM with the checkpoint, then score the images in batches, while the next ones are opened.

        Args:
            images: files, or the contents of files.

        Yields:
            For each image, in order, its score, levels, entropy and extras, or the reason why it has no score.

        Raises:
            ArtQuantError: vLLM or the GPU is not there, or vLLM does not load the checkpoint, makes other tokens of
                its prompt than the checkpoint's processor does, or ends.
            MachineError: this machine does not let an image be read.
        """
        kind = self._check_device()
        folder = self._full_checkpoint()
        size = BATCH if self.batch_size == "auto" else int(self.batch_size)
        with VllmProcess(self.python or sys.executable, self._environment()) as process:
            process.check(kind, self.model, _architecture(folder))
            prompter = self._prompter(folder)
            process.load(folder, self._dtype(folder), prompter.level_ids, compile=self.compile)
            scored = _BatchScorer(process, prompter)
            with ThreadPoolExecutor(THREADS, thread_name_prefix="artquant-images") as pool:
                ahead: deque[list[Future[Image.Image | ArtQuantError]]] = deque()
                stream = iter(images)
                while batch := list(islice(stream, size)):
                    ahead.append([pool.submit(self._opened, image) for image in batch])
                    if len(ahead) > 1:
                        yield from scored([opened.result() for opened in ahead.popleft()])
                for futures in ahead:
                    yield from scored([opened.result() for opened in futures])

    def _opened(self, image: Path | bytes) -> Image.Image | ArtQuantError:
        try:
            return open_image(image, handling=self._checkpoint.spec.images)
        except ArtQuantError as error:
            return error

    def _check_device(self) -> str:
        """The kind of device that vLLM must be built for, cuda or cpu."""
        kind = (self.device or default_device()).partition(":")[0]
        if kind == "cuda" and default_device() == "cuda":
            return kind
        if kind == "cpu" and self.device is not None:
            return kind
        raise ArtQuantError(
            "--engine vllm needs an NVIDIA or AMD GPU, and torch finds none; leave --engine out, or pass --device cpu "
            "with a vLLM that is built for CPUs"
        )

    def _environment(self) -> dict[str, str]:
        """The process's environment: its one GPU, and a vLLM that is quiet, in one process and reports to nobody."""
        environment = os.environ | {
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_NO_USAGE_STATS": "1",
        }
        _, _, index = (self.device or "").partition(":")
        if index:
            visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
            environment["CUDA_VISIBLE_DEVICES"] = visible[int(index)] if int(index) < len(visible) else index
        return environment

    def _full_checkpoint(self) -> Path:
        """The checkpoint's folder, which must hold a whole model."""
        folder = locate(self.model)
        if (folder / ADAPTER_CONFIG_FILE).is_file():
            raise ArtQuantError(
                f"{self.model!r} is an adapter, and --engine vllm loads whole models, since vLLM puts adapters on a "
                "part of the layers alone; merge it with `artquant publish model --merge`, or leave --engine out"
            )
        return folder

    def _prompter(self, folder: Path) -> Prompter:
        spec = self._checkpoint.spec
        processor = load_processor(folder, folder, self.model, False)
        if spec.chat_template is not None:
            processor.chat_template = spec.chat_template
        if takes_answer_as_suffix(processor):
            raise ArtQuantError(
                f"{type(processor).__name__} tells the model where the answer begins, which --engine vllm cannot; "
                "leave --engine out"
            )
        return Prompter(processor, spec.prompt, spec.scale)

    def _dtype(self, folder: Path) -> str:
        """The type that vLLM is told; its own ``auto`` makes float16 of float32."""
        if self.dtype != "auto":
            return self.dtype
        dtype = _config(folder).dtype
        if dtype is None:
            raise ArtQuantError(f"the config.json of {self.model!r} names no dtype; pass --dtype")
        return str(dtype).removeprefix("torch.")


class VllmProcess:
    """The process that runs vLLM, ended with the block that it is used in.

    Args:
        python: the Python of the environment that has vLLM.
        environment: the environment variables of the process.
    """

    def __init__(self, python: str, environment: dict[str, str]) -> None:
        self.python = python
        self._messages = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                # -P keeps this folder out of the import path, where our modules' names would hide others.
                [python, "-P", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                env=environment,
            )
        except OSError as error:
            raise ArtQuantError(
                f"--vllm-python {python!r} is no Python that runs ({one_line(error)}); name the one of an environment "
                "with vLLM"
            ) from error

    def __enter__(self) -> "VllmProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._messages):
            try:
                stream.close()  # type: ignore[union-attr]
            except BrokenPipeError:  # what was left of a request
                pass

    def check(self, kind: str, name: str, architecture: str) -> None:
        """Refuse a vLLM that is not there, was not tested, is for another device or does not know the architecture.

        Args:
            kind: the device that the vLLM must be built for, cuda or cpu.
            name: what the user typed for the checkpoint.
            architecture: the name of the model's class in its config.json.

        Raises:
            ArtQuantError: one of these is the case.
        """
        from packaging.specifiers import SpecifierSet

        found = self._answer("vLLM does not start")
        if "failure" in found:
            what = "has no vLLM" if found["missing"] else "cannot import vLLM"
            raise ArtQuantError(
                f"{self.python!r} {what} ({found['failure']}); install it into an environment of its own, since it "
                f"asks for an older transformers: `python3 -m venv vllm && vllm/bin/pip install '{REQUIREMENT}'`, and "
                "pass --vllm-python vllm/bin/python"
            )
        if not SpecifierSet(f">={OLDEST},<{NEWEST}").contains(found["version"], prereleases=True):
            raise ArtQuantError(
                f"vLLM {found['version']} is outside >={OLDEST},<{NEWEST}, the versions that are known; "
                f"`{self.python} -m pip install '{REQUIREMENT}'`"
            )
        if found["device"] != kind:
            raise ArtQuantError(
                f"the vLLM of {self.python!r} is built for {found['device']}, and the device is {kind}; pass "
                f"--device {found['device']}, or name another with --vllm-python"
            )
        if architecture not in found["architectures"]:
            raise ArtQuantError(
                f"vLLM {found['version']} does not serve {architecture}, the architecture of {name!r}; leave --engine "
                "out"
            )

    def load(self, folder: Path, dtype: str, level_ids: Sequence[int], *, compile: bool) -> None:
        """Have vLLM load a model.

        Args:
            folder: the local folder of the whole model.
            dtype: the type of the weights: float32, bfloat16 or float16.
            level_ids: the K tokens whose log-probabilities are asked for, best level first.
            compile: whether vLLM compiles the model and captures CUDA graphs.

        Raises:
            ArtQuantError: vLLM cannot load it.
        """
        setup = {"model": str(folder), "dtype": dtype, "level_ids": list(level_ids), "compile": compile}
        self._send(setup, [])
        found = self._answer("vLLM ended while it loaded the checkpoint")
        if "failure" in found:
            raise ArtQuantError(
                f"vLLM cannot load '{folder}' ({found['failure']}); leave --engine out, or pass another --dtype"
            )

    def score(self, ids: Sequence[int], images: Sequence[Image.Image]) -> list[dict[str, Any]]:
        """Score pictures with one prompt.

        Args:
            ids: the prompt up to the position that is read, with one token in the place of the picture.
            images: RGB pictures, at least one.

        Returns:
            For each picture ``logprobs``, the natural log-probability of each level token among all tokens, and
            ``prompt_ids``, the ids of the prompt as the model got them; or ``error``, a line.

        Raises:
            ArtQuantError: the process ended.
        """
        header = {"ids": list(ids), "sizes": [image.size for image in images]}
        self._send(header, [image.tobytes() for image in images])
        results: list[dict[str, Any]] = self._answer("vLLM ended")["results"]
        return results

    def _send(self, header: dict[str, Any], pixels: Sequence[bytes]) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            stream.write(json.dumps(header).encode() + b"\n")
            for each in pixels:
                stream.write(each)
            stream.flush()
        except BrokenPipeError:
            pass  # the process ended, which `_answer` tells

    def _answer(self, ended: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        code = self._process.wait()
        self._messages.seek(0)
        lines = [text.strip() for text in self._messages.read().decode(errors="replace").splitlines()]
        said = next((text for text in reversed(lines) if text), f"exit code {code}")
        raise ArtQuantError(f"{ended} ({said}); run again to go on, or leave --engine out")


class _BatchScorer:
    """Scores batches of opened images; compares the prompt of the first one with that of the local scorer.

    Args:
        process: the process, with its model loaded.
        prompter: the prompter of the checkpoint's processor.
    """

    def __init__(self, process: VllmProcess, prompter: Prompter) -> None:
        self.process = process
        self.prompter = prompter
        self.ids = request_ids(prompter)
        self.compared = False

    def __call__(self, opened: Sequence[Image.Image | ArtQuantError]) -> Iterator[dict[str, Any] | ArtQuantError]:
        images = [image for image in opened if isinstance(image, Image.Image)]
        results = iter(self.process.score(self.ids, images) if images else [])
        for image in opened:
            if isinstance(image, ArtQuantError):
                yield image
                continue
            result = next(results)
            if "error" in result:
                yield ArtQuantError(f"vLLM does not score the picture ({result['error']}); scale it down")
                continue
            if not self.compared:
                self._compare(image, result["prompt_ids"])
            yield self._score(result["logprobs"])

    def _compare(self, image: Image.Image, theirs: list[int]) -> None:
        ours = score_inputs(self.prompter, [image])["input_ids"][0].tolist()
        if ours != theirs:
            raise ArtQuantError(
                f"vLLM makes {len(theirs)} tokens of the prompt and the picture, and the checkpoint's processor other "
                f"{len(ours)}, so that scores would differ; leave --engine out"
            )
        self.compared = True

    def _score(self, logprobs: list[float]) -> dict[str, Any] | ArtQuantError:
        values = np.asarray(logprobs, dtype=np.float64)
        if not np.isfinite(values).all():
            return ArtQuantError("vLLM's log-probabilities of the level words are not finite; pass --dtype float32")
        weights = np.exp(values - values.max())
        row = weights / weights.sum()
        scale = self.prompter.scale
        return {
            "score": float(scale.expectation(row)),
            "levels": dict(zip(scale.names, row.tolist(), strict=True)),
            "entropy": float(entropy(row)),
            "extras": {},
        }


def request_ids(prompter: Prompter) -> list[int]:
    """The prompt up to the position that is read, with one token in the place of the picture.

    Args:
        prompter: the prompter of a processor whose picture is one token of the rendered text, which vLLM replaces by
            as many as the picture has.
    """
    request = prompter.score_request
    assert request.level is not None
    processor = prompter.processor
    special = adds_special_tokens(processor, request.text)
    ids: list[int] = processor.tokenizer(request.text, add_special_tokens=special)["input_ids"]
    return ids[: len(ids) - len(request.ids) + request.level]


def _config(folder: Path) -> Any:
    from transformers import AutoConfig

    with library_errors_in_one_line(f"the config.json of '{folder}'", "save or fetch the checkpoint again"):
        return AutoConfig.from_pretrained(folder)


def _architecture(folder: Path) -> str:
    """The name of the model's class, as config.json has it."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(content["architectures"][0])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ArtQuantError(
            f"the config.json of '{folder}' names no architecture ({one_line(error)}); save or fetch it again"
        ) from error
