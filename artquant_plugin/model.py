"""The lmms-eval model `artquant`: the harness's requests -> scoring -> JSON text."""

import json
from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from tqdm import tqdm

from artquant_plugin.errors import ArtQuantError
from artquant_plugin.generation import generate
from artquant_plugin.scoring import ArtQuantScorer, Score

SCORE_REQUEST = "score"  # a task's metadata `artquant: score` asks for a score, not for free text
AUTO_BATCH_SIZE = 16


class ArtQuant(lmms):
    """Scores paintings, and answers any other task by generating text.

    Args:
        pretrained: checkpoint folder or Hub id with an optional ``@revision``.
        batch_size: images per forward pass; ``auto`` is 16.
        max_batch_size: upper bound of the batch size.
        device: ``cuda``, ``cuda:1``, ``cpu``; the process's own GPU, or the CPU, when left out.
        dtype: ``auto`` (the checkpoint's own), ``float32``, ``bfloat16``, ``float16``.
        attn: ``sdpa``, ``eager`` or ``flash_attention_2``.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
        dtype: str = "auto",
        attn: str = "sdpa",
    ) -> None:
        super().__init__()
        accelerator = Accelerator()
        self._rank = accelerator.process_index
        self._world_size = accelerator.num_processes
        if accelerator.num_processes > 1 or device is None:
            device = str(accelerator.device)
        elif torch.device(device).type == "cuda" and not torch.cuda.is_available():
            device = "cpu"  # the harness passes its default, cuda:0, on machines without a GPU, too
        size = AUTO_BATCH_SIZE if str(batch_size).startswith("auto") else int(batch_size)
        self.batch_size_per_gpu = min(size, int(max_batch_size)) if max_batch_size else size
        self._scorer = ArtQuantScorer.from_pretrained(
            pretrained, dtype=dtype, device=device, attn=attn, batch_size=self.batch_size_per_gpu
        )
        self._device = torch.device(device)

    @property
    def batch_size(self) -> int:
        """Images per forward pass."""
        return self.batch_size_per_gpu

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._device

    def clean(self) -> None:
        """Let go of the model: the harness asks for it after the last request, before it computes metrics."""
        self.__dict__.pop("_scorer", None)
        super().clean()

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answer requests in their order: JSON text for scores, generated text otherwise."""
        answers: dict[int, str] = {}
        scores = [index for index, request in enumerate(requests) if _wants_score(request)]
        others = [index for index, request in enumerate(requests) if not _wants_score(request)]
        with tqdm(total=len(requests), unit="image", desc="ArtQuant", disable=self.rank != 0) as progress:
            replies = self._scorer.score_each(self._image(requests[index]) for index in scores)
            for index, reply in zip(scores, replies, strict=True):
                answers[index] = score_reply(reply)
                progress.update()
            for index, text in zip(others, self._texts([requests[index] for index in others]), strict=True):
                answers[index] = text
                progress.update()
        return [answers[index] for index in range(len(requests))]

    def _image(self, request: Instance) -> Any:
        _, _, _, doc_id, task, split = request.args
        return self.task_dict[task][split][doc_id]["image"]

    def _texts(self, requests: list[Instance]) -> Iterator[str]:
        for request in requests:
            context, doc_to_messages, gen_kwargs, doc_id, task, split = request.args
            messages = doc_to_messages(self.task_dict[task][split][doc_id])
            yield generate(self._scorer.checkpoint, messages or context, gen_kwargs)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not offered: lmms-eval 0.7.3 passes the results of chat models on as strings."""
        raise NotImplementedError("artquant answers generate_until tasks; the harness breaks loglikelihood")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not offered: no task of ours talks in rounds."""
        raise NotImplementedError("artquant answers single-round tasks")


def score_reply(result: Score | ArtQuantError) -> str:
    """The reply to a score request: ``{"score": 6.83, "levels": {…}}``, or a null score with its reason."""
    if isinstance(result, ArtQuantError):
        return json.dumps({"score": None, "reason": str(result)})
    return json.dumps({"score": result.score, "levels": result.levels})


def _wants_score(request: Instance) -> bool:
    return request.metadata.get("artquant") == SCORE_REQUEST
