"""A program that runs vLLM for `vllm_engine.py`, in the Python environment that has vLLM.

vLLM and this package ask for different versions of transformers, so that this file imports nothing of the package.
It reads requests from stdin and answers on stdout, one JSON object per line. Behind the line of a batch stand the
pictures' pixels, three bytes each, in the order of the batch. An answer with the key ``failure`` is the last one.
"""

import json
import os
import sys
from typing import Any, BinaryIO

LONGEST = 500  # characters of an exception's text


def serve(requests: BinaryIO, answers: Any) -> None:
    """Say what this vLLM is, load the model of the first request, then score the batches of all others.

    Args:
        requests: the stream that requests are read from, as bytes.
        answers: the stream that answers are written to, as text.
    """

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        import vllm
        from vllm.platforms import current_platform
    except Exception as error:  # a package that was built for another torch raises whatever it likes
        answer({"failure": _one_line(error), "missing": isinstance(error, ModuleNotFoundError)})
        return
    served = sorted(vllm.ModelRegistry.get_supported_archs())
    answer({"version": vllm.__version__, "device": current_platform.device_type, "architectures": served})
    try:
        model, parameters = _load(vllm, json.loads(requests.readline()))
    except Exception as error:
        answer({"failure": _one_line(error)})
        return
    answer({"loaded": True})
    while line := requests.readline():
        batch = json.loads(line)
        answer({"results": _results(model, parameters, batch, requests)})


def _load(vllm: Any, setup: dict[str, Any]) -> tuple[Any, Any]:
    """The model, and the parameters that have it list the log-probabilities of the level tokens at one position."""
    model = vllm.LLM(
        model=setup["model"],
        dtype=setup["dtype"],
        enforce_eager=not setup["compile"],
        max_model_len=-1,  # the longest prompt for which there is memory
        limit_mm_per_prompt={"image": 1},
        mm_processor_cache_gb=0,  # no picture comes twice
        logprobs_mode="raw_logprobs",
        seed=0,
    )
    parameters = vllm.SamplingParams(
        max_tokens=1, temperature=0.0, logprob_token_ids=setup["level_ids"], detokenize=False
    )
    return model, parameters


def _results(model: Any, parameters: Any, batch: dict[str, Any], requests: BinaryIO) -> list[dict[str, Any]]:
    """For each picture of a batch the log-probabilities and the ids of its prompt, or the error.

    vLLM refuses a batch as a whole where one prompt is too long, so that then each picture is scored by itself.
    """
    from PIL import Image

    prompts = []
    for width, height in batch["sizes"]:
        picture = Image.frombytes("RGB", (width, height), requests.read(3 * width * height))
        prompts.append({"prompt_token_ids": list(batch["ids"]), "multi_modal_data": {"image": picture}})
    try:
        return _scored(model, parameters, prompts)
    except Exception as error:
        if len(prompts) == 1:
            return [{"error": _one_line(error)}]
    results = []
    for prompt in prompts:
        try:
            results += _scored(model, parameters, [prompt])
        except Exception as error:
            results.append({"error": _one_line(error)})
    return results


def _scored(model: Any, parameters: Any, prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    results = []
    for output in model.generate(prompts, parameters, use_tqdm=False):
        listed = output.outputs[0].logprobs[0]
        logprobs = [listed[token].logprob for token in parameters.logprob_token_ids]
        results.append({"logprobs": logprobs, "prompt_ids": list(output.prompt_token_ids)})
    return results


def _one_line(error: BaseException) -> str:
    """An exception's type and text; pydantic, with which vLLM checks its arguments, says why in a third line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:LONGEST]}" if text else type(error).__name__


if __name__ == "__main__":
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # stdout is for the answers, so what vLLM itself prints goes to stderr
    serve(sys.stdin.buffer, stdout)
