"""The Python code on a model card that scores one image, without this package where `transformers` suffices."""

import json
from dataclasses import dataclass
from typing import Any

from artquant_plugin.checkpoint import ScoringSpec
from artquant_plugin.checkpoint.adapter import EXTRA_FILE
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.chat import adds_special_tokens, takes_answer_as_suffix
from artquant_plugin.prompting.prompter import Prompter

IMAGE_NAME = "painting.jpg"


@dataclass(frozen=True, slots=True)
class LoadingRecipe:
    """What the code has to load, and from where.

    Args:
        name: id of the checkpoint's repository on the Hub.
        base: id of the adapter's base model on the Hub; None for a whole model.
        base_revision: commit or tag of the base model; None for its main branch, or for a whole model.
        extra: whether the repository holds weights of the base that were trained beside the adapter.
        known: whether `transformers` has the architecture.
    """

    name: str
    base: str | None
    base_revision: str | None
    extra: bool
    known: bool


def scoring_code(loading: LoadingRecipe, processor: Any, spec: ScoringSpec) -> str:
    """Write the Python code that prints the score of ``painting.jpg``.

    The code asks the question that the scorer asks. The text that it passes to the model ends before the level word
    where the tokenizer then gives the same tokens, and after the whole answer otherwise. Both give the same logits,
    since no token attends to later ones. The code counts the position of these logits from the end of the text.

    Args:
        loading: what the code has to load.
        processor: the processor of the checkpoint.
        spec: the content of the checkpoint's scoring file.

    Returns:
        The code, several lines without a line break at the end.

    Raises:
        ArtQuantError: the processor does not fit the scoring file.
    """
    if not loading.known:
        return "\n".join(
            [
                "from artquant_plugin import ArtQuantScorer",
                "",
                f"scorer = ArtQuantScorer.from_pretrained({_quoted(loading.name)})",
                f"print(scorer.score([{_quoted(IMAGE_NAME)}])[0].score)",
            ]
        )
    repo = _quoted(loading.name)
    as_shown = spec.images == "as_shown"
    imports = [
        "import torch",
        *(["from peft import PeftModel"] if loading.base else []),
        f"from PIL import Image{', ImageOps' if as_shown else ''}",
        "from transformers import AutoModelForImageTextToText, AutoProcessor",
    ]
    if loading.base is None:
        load = [f"model = AutoModelForImageTextToText.from_pretrained({repo}).eval()"]
    else:
        at = f", revision={_quoted(loading.base_revision)}" if loading.base_revision else ""
        load = [f"model = AutoModelForImageTextToText.from_pretrained({_quoted(loading.base)}{at})"]
        if loading.extra:
            imports.insert(1, "from huggingface_hub import hf_hub_download")
            imports.insert(-1, "from safetensors.torch import load_file")
            load += [
                f'extra = load_file(hf_hub_download({repo}, "{EXTRA_FILE}"))',
                "model.load_state_dict(extra, strict=False)  # what was trained beside the adapter",
            ]
        load.append(f"model = PeftModel.from_pretrained(model, {repo}).eval()")
    image = f"Image.open({_quoted(IMAGE_NAME)})"
    prompter = Prompter(processor, spec.prompt, spec.scale)
    text, options, back = _request_as_code(prompter)
    words = " ".join(", ".join(spec.scale.names).split())  # they stand in a comment, which a line break would end
    ids, values = list(prompter.level_ids), list(spec.scale.values)
    score = [
        f'image = {f"ImageOps.exif_transpose({image})" if as_shown else image}.convert("RGB")',
        f"text = {_quoted(text)}",
        f'inputs = processor(text=[text], images=[[image]]{options}, return_tensors="pt")',
        f"with torch.inference_mode(): logits = model(**inputs).logits[0, -{back}, {ids}]  # {words}",
        f"print((logits.float().softmax(-1) @ torch.tensor({values})).item())",
    ]
    return "\n".join([*imports, "", *load, f"processor = AutoProcessor.from_pretrained({repo})", *score])


def _request_as_code(prompter: Prompter) -> tuple[str, str, int]:
    """The text, further arguments of the processor as code, and the position of the logits, counted from the end."""
    processor, answer = prompter.processor, prompter.score_request
    if answer.level is None:
        raise ArtQuantError("a score request names no level; report this")
    plain = "" if adds_special_tokens(processor, answer.text) else ", add_special_tokens=False"
    if takes_answer_as_suffix(processor):
        chat = max((text for text in prompter.chats if answer.text.startswith(text)), key=len)
        said = answer.text[len(chat) :].removesuffix(processor.tokenizer.eos_token)
        return chat, f", suffix=[{_quoted(said)}]{plain}", len(answer.ids) - answer.level + 1
    word = prompter.scale.names[0]
    shorter = answer.text[: answer.text.rindex(word)].rstrip(" ")
    special = adds_special_tokens(processor, answer.text)
    ids = processor.tokenizer(shorter, add_special_tokens=special)["input_ids"]
    whole = processor.tokenizer(answer.text, add_special_tokens=special)["input_ids"]
    if ids == whole[: len(whole) - len(answer.ids) + answer.level]:
        return shorter, plain, 1
    return answer.text, plain, len(answer.ids) - answer.level + 1


def _quoted(text: str) -> str:
    """A text as a Python literal in double quotes, as all literals of the written code are."""
    return json.dumps(text, ensure_ascii=False)
