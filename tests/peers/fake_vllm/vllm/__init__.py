"""The part of vLLM's Python interface that scoring uses, computed by transformers on the CPU.

Names, arguments and results are those of vLLM 0.32 (entrypoints/llm.py, sampling_params.py, outputs.py). A prompt has
one token in the place of the picture, and the model's processor says how many take that place. Each call is written
as a line of JSON to the file that the environment variable FAKE_VLLM_CALLS names.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

__version__ = os.environ.get("FAKE_VLLM_VERSION", "0.32.0")
LONGEST_SIDE = 200  # of a picture, behind which the prompt would be too long


def _record(**call: Any) -> None:
    with open(os.environ["FAKE_VLLM_CALLS"], "a", encoding="utf-8") as file:
        file.write(json.dumps(call) + "\n")


class ModelRegistry:
    @staticmethod
    def get_supported_archs() -> Any:
        return {"LlavaForConditionalGeneration": 1, "Qwen2VLForConditionalGeneration": 1}.keys()


@dataclass
class SamplingParams:
    max_tokens: int
    temperature: float
    logprob_token_ids: list[int]
    detokenize: bool


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None


@dataclass
class CompletionOutput:
    logprobs: list[dict[int, Logprob]]


@dataclass
class RequestOutput:
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]


class LLM:
    def __init__(self, model: str, *, dtype: str, **options: Any) -> None:
        _record(call="LLM", dtype=dtype, **options)
        if dtype == "float16":
            raise ValueError("The model type llava\nhas no float16 on this device.")
        self.model = AutoModelForImageTextToText.from_pretrained(model, dtype=dtype).eval()
        self.processor = AutoProcessor.from_pretrained(model)

    @torch.inference_mode()
    def generate(self, prompts: list[Any], params: SamplingParams, *, use_tqdm: bool) -> list[RequestOutput]:
        sizes = [prompt["multi_modal_data"]["image"].size for prompt in prompts]
        _record(call="generate", sizes=sizes, ids=prompts[0]["prompt_token_ids"], max_tokens=params.max_tokens)
        if os.environ.get("FAKE_VLLM_DIES"):
            print("CUDA error: an illegal memory access was encountered", flush=True)
            os._exit(9)
        if max(max(size) for size in sizes) > LONGEST_SIDE:
            raise ValueError("The decoder prompt (length 9000) is longer than the maximum model length of 4096.")
        return [self._one(prompt, params) for prompt in prompts]

    def _one(self, prompt: Any, params: SamplingParams) -> RequestOutput:
        image = prompt["multi_modal_data"]["image"]
        inputs = self.processor(text=self.processor.image_token, images=[image], return_tensors="pt")
        token = self.processor.image_token_id
        count = int((inputs["input_ids"] == token).sum())
        ids: list[int] = []
        for each in prompt["prompt_token_ids"]:
            ids += [each] * (count if each == token else 1)
        if os.environ.get("FAKE_VLLM_OTHER_TOKENS"):
            ids = [*ids, ids[-1]]
        inputs["input_ids"] = torch.tensor([ids])
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if "mm_token_type_ids" in inputs:
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == token).long()
        logprobs = self.model(**inputs).logits[0, -1].float().log_softmax(dim=-1)
        listed = {each: Logprob(float(logprobs[each])) for each in params.logprob_token_ids}
        listed[int(logprobs.argmax())] = Logprob(float(logprobs.max()), 1)  # the sampled token comes as well
        return RequestOutput(ids, [CompletionOutput([listed])])
