"""The lmms-eval model `artquant`, which answers requests with scores, descriptions or generated text."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

from lmms_eval.api.instance import Instance

from artquant_plugin import __version__
from artquant_plugin.checkpoint import OWN, Identity
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.progress import ProgressBar
from artquant_plugin.data.image_memory import is_full
from artquant_plugin.harness.base import HarnessModel
from artquant_plugin.harness.plugin import ATTRIBUTE_REQUEST, DESCRIBE_REQUEST, REQUEST, SCORE_REQUEST
from artquant_plugin.prompting.attributes import chosen_attributes
from artquant_plugin.prompting.descriptions import Description
from artquant_plugin.replies import Measurement
from artquant_plugin.scoring.batching import halving
from artquant_plugin.scoring.generation import generate_batch
from artquant_plugin.scoring.prepare import picture_pixels
from artquant_plugin.scoring.scorer import DESCRIPTION_TOKENS, ArtQuantScorer, Score

REQUEST_FAILED = "[LMMS_EVAL_REQUEST_FAILED]"  # lmms-eval's own mark of a request without an answer


class ArtQuant(HarnessModel):
    """Scores and describes paintings, and answers any other task by generating text.

    Args:
        pretrained: folder of the checkpoint, or Hub id with an optional ``@revision``.
        batch_size: images per forward pass, at least 1; ``auto`` and ``auto:N`` find the largest that fits into the
            memory of the GPU, as `BatchSize` describes.
        max_batch_size: the largest size that ``auto`` tries; None for its default.
        device: torch's name of a device, such as ``cuda``, ``cuda:1``, ``mps`` or ``cpu``; None for the process's own
            GPU, or the CPU where there is none. It is ignored where there are several processes.
        dtype: ``auto`` (the checkpoint's own), ``float32``, ``bfloat16`` or ``float16``.
        attn: attention implementation, one of those that `load_checkpoint` names.
        base: folder or Hub id of an adapter's base model; None for the one that the adapter names.
        workers: processes that open and process images ahead of the model; 0 for threads of this process, None for
            the number that suits the device.
        compile: whether to run the model through `torch.compile`.
        quantization: ``4bit`` or ``8bit`` for the linear layers; None to load them as they are stored.
        trust_remote_code: whether Python code of the checkpoint's repository may run.
        scoring: what the model is asked and how its answer is read: the name of a preset such as ``deqa``, or a
            scoring file; None for the checkpoint's own, or the preset of a well-known Hub id.
    """

    REQUIRED = "pretrained"
    MISSING = "checkpoint; give pretrained=FOLDER_OR_HUB_ID"

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
        dtype: str = "auto",
        attn: str = "sdpa",
        base: str | None = None,
        workers: int | None = None,
        compile: bool = False,
        quantization: str | None = None,
        trust_remote_code: bool = False,
        scoring: str | None = None,
    ) -> None:
        super().__init__(device)
        self._scorer = ArtQuantScorer.from_pretrained(
            str(pretrained),
            scoring=None if scoring is None else str(scoring),
            dtype=dtype,
            device=str(self._device),
            attn=attn,
            base=base,
            batch_size=batch_size,
            max_batch_size=None if max_batch_size is None else int(max_batch_size),
            workers=workers,
            compile=compile,
            quantization=quantization,
            trust_remote_code=trust_remote_code,
        )

    @cached_property
    def _identity(self) -> Identity:
        """The checkpoint's identity for score replies, once: hashing the weights of a large model takes seconds."""
        return self._scorer.checkpoint.identity

    @cached_property
    def response_identity(self) -> str:
        """Hash of the checkpoint's files and its base model's, and our version, as it decides how images are read.

        A preset or a scoring file of the user's stands outside of these files, so that its content is added.
        """
        checkpoint = self._scorer.checkpoint
        parts = [checkpoint.files_hash, __version__]
        return " ".join(parts if checkpoint.spec.name == OWN else [*parts, json.dumps(checkpoint.spec.content)])

    @property
    def batch_size(self) -> int:
        """The number of images in the next forward pass."""
        return self._scorer.batch_size

    def clean(self) -> None:
        """Free the model's memory; lmms-eval calls this after the last request, before it computes metrics."""
        self.__dict__.pop("_scorer", None)
        super().clean()

    def answer(self, requests: list[Instance]) -> list[str]:
        """Answer requests in the order given: with JSON text for scores, with generated text otherwise."""
        answers: dict[int, str] = {}
        with ProgressBar("ArtQuant", "image", len(requests), show=self.rank == 0, in_files=True) as bar:
            for index, answer in self._answers(requests):
                answers[index] = answer
                bar.advance()
        return [answers[index] for index in range(len(requests))]

    def _answers(self, requests: Sequence[Instance]) -> Iterator[tuple[int, str]]:
        """Index and answer of each request, in batches of requests of one kind."""
        kinds = [request.metadata.get(REQUEST) for request in requests]
        scores = [index for index, kind in enumerate(kinds) if kind == SCORE_REQUEST]
        results = self._scorer.score_each(self._image(requests[index]) for index in scores)
        for index, result in zip(scores, results, strict=True):
            yield index, score_reply(result, self._identity, *self._preset(requests[index]))
        yield from self._attributes([index for index, kind in enumerate(kinds) if kind == ATTRIBUTE_REQUEST], requests)
        described = [index for index, kind in enumerate(kinds) if kind == DESCRIBE_REQUEST]
        for limit in sorted({_new_tokens(requests[index]) for index in described}):
            of_limit = [index for index in described if _new_tokens(requests[index]) == limit]
            descriptions = self._scorer.describe_each(
                (self._image(requests[index]) for index in of_limit), max_new_tokens=limit
            )
            for index, description in zip(of_limit, descriptions, strict=True):
                yield index, description_reply(description)
        own = (SCORE_REQUEST, ATTRIBUTE_REQUEST, DESCRIBE_REQUEST)
        others = [index for index, kind in enumerate(kinds) if kind not in own]
        by_options: dict[str, list[int]] = {}
        for index in others:  # requests with different options cannot be generated in the same batch
            by_options.setdefault(json.dumps(requests[index].args[2], sort_keys=True, default=str), []).append(index)
        for indices in by_options.values():
            yield from self._texts(requests, indices)

    def _attributes(self, indices: Sequence[int], requests: Sequence[Instance]) -> Iterator[tuple[int, str]]:
        """Index and answer of requests for attributes; all that are about one image are answered in one pass."""
        if not indices:
            return
        known = self._scorer.checkpoint.spec.attributes
        chosen_attributes(True, known, self._scorer.checkpoint.name)
        wanted = {self._document(requests[index])["attribute"] for index in indices}
        names = [each.name for each in known if each.name in wanted]
        by_image: dict[Any, list[int]] = {}
        for index in indices:
            by_image.setdefault(self._image(requests[index]), []).append(index)
        # A checkpoint that has none of them encodes no image.
        results = self._scorer.score_each(by_image if names else (), attributes=names)
        for own in by_image.values():
            result = next(results) if names else None
            for index in own:
                yield index, attribute_reply(result, self._document(requests[index])["attribute"], self._identity)

    def _document(self, request: Instance) -> Any:
        _, _, _, doc_id, task, split = request.args
        return self.task_dict[task][split][doc_id]

    def _image(self, request: Instance) -> Any:
        return self._document(request)["image"]

    def _preset(self, request: Instance) -> tuple[str, bool]:
        """The name of the preset or scoring file, and whether its scores are in another unit than the dataset's.

        They are on the dataset's scale where both end at the same best score, and the preset's worst level is in the
        dataset's range.
        """
        spec = self._scorer.checkpoint.spec
        if spec.name == OWN:
            return OWN, False
        low, high = self._document(request)["score_range"]
        return spec.name, spec.scale.high != high or spec.scale.low < low

    def _texts(self, requests: Sequence[Instance], indices: Sequence[int]) -> Iterator[tuple[int, str]]:
        """Index and generated answer of requests with equal options, with and without images in separate batches.

        A batch is no larger than memory holds opened pictures at one time, because a chat comes with its pictures.
        """
        options = requests[indices[0]].args[2]
        waiting: dict[bool, list[tuple[int, Any]]] = {False: [], True: []}
        for index in indices:
            chat = self._chat(requests[index])
            queue = waiting[_has_images(chat)]
            queue.append((index, chat))
            del chat
            if len(queue) >= self.batch_size or is_full(sum(_pixels(held) for _, held in queue)):
                yield from self._generated(queue, options)
                queue.clear()
        for queue in waiting.values():
            if queue:
                yield from self._generated(queue, options)

    def _chat(self, request: Instance) -> Any:
        context, doc_to_messages, _, doc_id, task, split = request.args
        return doc_to_messages(self.task_dict[task][split][doc_id]) or context

    def _generated(self, batch: Sequence[tuple[int, Any]], options: dict[str, Any]) -> Iterator[tuple[int, str]]:
        def run(part: Sequence[tuple[int, Any]]) -> list[str]:
            return generate_batch(self._scorer.checkpoint, [chat for _, chat in part], options)

        for part, texts in halving(batch, run, self._scorer.size):
            # An error would lose the answers to all other requests, so the failed one gets lmms-eval's mark.
            answers = [f"{REQUEST_FAILED} it does not fit into the memory of the GPU"] if texts is None else texts
            yield from zip((index for index, _ in part), answers, strict=True)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not offered, because lmms-eval 0.7.3 cannot use the log-likelihoods of a chat model.

        Its tasks refuse to build such requests for chat models (`ConfigurableMessagesTask.construct_requests`), the
        evaluator turns a result (log-likelihood, greedy) into a string (`unwrap_generation_output`), and
        `multiple_choice` takes the smallest value as the best, as if models returned losses.
        """
        raise NotImplementedError(
            "artquant answers generate_until tasks; lmms-eval 0.7.3 cannot pass log-likelihoods of chat models on: "
            "use the task's generate_until variant"
        )

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not offered, because no task of ours has several rounds."""
        raise NotImplementedError("artquant answers single-round tasks")


def score_reply(result: Score | ArtQuantError, identity: Identity, scoring: str = OWN, own_unit: bool = False) -> str:
    """The reply to a score request, as JSON.

    Args:
        result: the score, or the error because of which there is none.
        identity: the checkpoint that was scored with.
        scoring: the name of the preset or scoring file that was used; ``own`` for the checkpoint's own.
        own_unit: whether the score is on another scale than the dataset's, and so is a measurement.

    Returns:
        ``{"score": 6.83, "levels": {…}, "checkpoint": {…}}``, or ``{"measurement": {…}, "levels": {…}, …}`` in a unit
        of its own, or ``{"score": null, "reason": "…"}`` for an error. The checkpoint has a key ``scoring`` unless
        that is ``own``.
    """
    if isinstance(result, ArtQuantError):
        return json.dumps({"score": None, "reason": str(result)})
    checkpoint = asdict(identity) | ({} if scoring == OWN else {"scoring": scoring})
    if own_unit:
        return Measurement(scoring, result.score, False, result.levels, checkpoint).to_reply()
    return json.dumps({"score": result.score, "levels": result.levels, "checkpoint": checkpoint})


def attribute_reply(result: Score | ArtQuantError | None, attribute: str, identity: Identity) -> str:
    """The reply to a request for an attribute, as JSON in the form of `score_reply`.

    Args:
        result: the score of the image with those of its attributes, or the error because of which there is none; None
            where the checkpoint has none of the attributes.
        attribute: the name of the attribute that is asked for. One that the checkpoint lacks has a null score.
        identity: the checkpoint that was scored with.
    """
    if isinstance(result, ArtQuantError):
        return json.dumps({"score": None, "reason": str(result)})
    scores = {} if result is None else result.attributes or {}
    if attribute not in scores:
        return json.dumps({"score": None, "reason": f"the checkpoint has no attribute {attribute!r}"})
    return json.dumps({"score": scores[attribute], "checkpoint": asdict(identity)})


def description_reply(result: Description | ArtQuantError) -> str:
    """The reply to a description request: the text, or ``{"description": null, "reason": "…"}`` for an error."""
    if isinstance(result, ArtQuantError):
        return json.dumps({"description": None, "reason": str(result)})
    return result.text


def _new_tokens(request: Instance) -> int:
    return int(request.args[2].get("max_new_tokens") or DESCRIPTION_TOKENS)


def _has_images(chat: Any) -> bool:
    return not isinstance(chat, str) and any(part["type"] == "image" for turn in chat for part in turn["content"])


def _pixels(chat: Any) -> int:
    """The pixels of the opened pictures in a chat."""
    if isinstance(chat, str):
        return 0
    return sum(picture_pixels(part["url"]) for turn in chat for part in turn["content"] if part["type"] == "image")
