"""Models of real architectures with random weights, at the sizes that benchmarks name, and their arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2Config
from artquant_plugin.backbones.mplug_owl2.modeling import MPLUGOwl2ForConditionalGeneration
from artquant_plugin.backbones.mplug_owl2.processing import IMAGE_TOKEN, MPLUGOwl2ImageProcessor, MPLUGOwl2Processor
from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.prompting.levels import LEVEL_NAMES
from artquant_plugin.prompting.prompter import PromptSpec

PROMPT_TOKENS = 28  # of the paper's scoring prompt in LLaMA-2's vocabulary, the image counted as one
VOCABULARY = 32000
SPACE = "\u2581"
# The family's own form, shortened to what a score request needs.
QWEN_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' if part['type'] == 'image' else part['text'] }}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN_TOKENS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


@dataclass(frozen=True)
class Owl:
    """Sizes of an mPLUG-Owl2: width, layers, heads and MLP of the LLM, the ViT and the abstractor."""

    language: tuple[int, int, int, int]
    vision: tuple[int, int, int, int]
    abstractor: tuple[int, int, int, int]

    def config(self) -> MPLUGOwl2Config:
        """448 px, patches of 14, 64 queries."""

        def sizes(part: tuple[int, int, int, int]) -> dict[str, int]:
            names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
            return dict(zip(names, part, strict=True))

        return MPLUGOwl2Config(
            **sizes(self.language),
            vocab_size=VOCABULARY,
            vision_config=sizes(self.vision),
            abstractor_config=sizes(self.abstractor) | {"encoder_hidden_size": self.vision[0]},
        )


@dataclass(frozen=True)
class Qwen:
    """Sizes of a Qwen3.5: width, layers, MLP, heads and their keys, linear heads of the LLM; ViT; vocabulary."""

    language: tuple[int, int, int, int, int, int]
    vision: tuple[int, int, int, int]
    vocabulary: int


SHAPES: dict[str, Owl | Qwen] = {
    "h512": Owl((512, 8, 8, 1376), (512, 8, 8, 2048), (512, 4, 8, 1408)),
    "ratio": Owl((1024, 12, 8, 2752), (384, 6, 6, 1536), (384, 3, 6, 1056)),
    "7b": Owl((4096, 32, 32, 11008), (1024, 24, 16, 4096), (1024, 6, 16, 2816)),
    "qwen3.5-tiny": Qwen((256, 4, 512, 4, 2, 4), (128, 2, 4, 256), 4096),
    "qwen3.5-0.8b": Qwen((1024, 24, 3584, 8, 2, 16), (768, 12, 12, 3072), 248_320),
}


def random_checkpoint(shape: str, *, device: str, dtype: torch.dtype) -> Checkpoint:
    """A checkpoint with random weights.

    Args:
        shape: a key of `SHAPES`.
        device: where it is built.
        dtype: of its weights.
    """
    sizes = SHAPES[shape]
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model, processor, spec = _owl(sizes) if isinstance(sizes, Owl) else _qwen(sizes)
    finally:
        torch.set_default_dtype(before)
    return Checkpoint(model=model.to(device, dtype).eval(), processor=processor, spec=spec, name=shape)


def arithmetic(shape: str, tokens: int, shared: int) -> float | None:
    """Floating-point operations of one score, by formula; a multiplication and an addition count as two.

    Matrix products and attention alone, as peers count them; causal attention counts in full, the output head with its
    five rows does not.

    Args:
        shape: a key of `SHAPES`.
        tokens: in the sequence that is scored, up to the level's position.
        shared: of these, computed once for all images, and so not counted.

    Returns:
        None for an architecture without a formula here.
    """
    sizes = SHAPES[shape]
    if isinstance(sizes, Qwen):
        return None
    return image_arithmetic(sizes) + language_arithmetic(sizes, tokens - shared, tokens)


def image_arithmetic(sizes: Owl) -> float:
    """Floating-point operations of one image's encoding, by the same rules."""
    config = sizes.config()
    side = config.vision_config.image_size // config.vision_config.patch_size
    patches, queries, width = side**2 + 1, config.abstractor_config.num_learnable_queries, config.hidden_size
    hidden, layers, _, mlp = sizes.vision
    embedding = 2 * side**2 * 3 * config.vision_config.patch_size**2 * hidden
    vision = layers * (2 * patches * (4 * hidden**2 + 2 * hidden * mlp) + 4 * patches**2 * hidden)
    inner, layers, _, mlp = sizes.abstractor
    keys = queries + patches
    per_layer = (
        4 * queries * inner**2 + 4 * keys * hidden * inner + 4 * queries * keys * inner + 6 * queries * inner * mlp
    )
    return float(embedding + vision + layers * per_layer + 2 * queries * inner * width)


def language_arithmetic(sizes: Owl, tokens: int, context: int) -> float:
    """Floating-point operations of a sequence's tokens in the language model, by the same rules.

    Args:
        sizes: of the model.
        tokens: that are computed.
        context: tokens that each attends to.
    """
    width, layers, _, mlp = sizes.language
    return float(layers * (2 * tokens * (4 * width**2 + 3 * width * mlp) + 4 * tokens * context * width))


def training_arithmetic(sizes: Owl, images: int, lengths: Sequence[int], supervised: int, rank: int) -> float:
    """Floating-point operations that one training step needs; what is padded or computed again does not count.

    A backward pass is twice a forward pass where weights are trained, and once where they are frozen; attention has no
    weights and is twice the forward pass, too.

    Args:
        sizes: of a model whose ViT and abstractor are trained, and whose language model has LoRA on the queries and on
            the images' values.
        images: that are encoded.
        lengths: tokens of each sequence.
        supervised: positions that have logits.
        rank: of LoRA.
    """
    width, layers, _, _ = sizes.language
    total = 3.0 * images * image_arithmetic(sizes)
    places = sizes.config().tokens_per_image
    for length in lengths:
        attention = layers * 4 * length**2 * width
        total += 2 * (language_arithmetic(sizes, length, length) - attention) + 3 * attention
        total += 3 * layers * 4 * rank * width * (length + places)
    return total + 2 * 2.0 * supervised * width * VOCABULARY


def _owl(sizes: Owl) -> tuple[Any, Any, ScoringSpec]:
    config = sizes.config()
    spec = ScoringSpec(prompt=PromptSpec(image_first=False), images="as_stored")
    tokenizer = _tokenizer_of_length(spec.prompt, PROMPT_TOKENS)
    config.image_token_index = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    processor = MPLUGOwl2Processor(MPLUGOwl2ImageProcessor(), tokenizer, tokens_per_image=config.tokens_per_image)
    return MPLUGOwl2ForConditionalGeneration(config), processor, spec


def _tokenizer_of_length(prompt: PromptSpec, length: int) -> PreTrainedTokenizerFast:
    """Byte-pair encoding with as many merges as make the scoring prompt as long as it is in LLaMA-2's vocabulary."""
    text = f"USER: {prompt.question}\n{IMAGE_TOKEN} ASSISTANT: {prompt.answer_prefix}"
    for size in range(20, 400):
        tokenizer = _tokenizer(prompt, size, IMAGE_TOKEN)
        if len(tokenizer(text)["input_ids"]) <= length:
            return tokenizer
    raise ValueError(f"no vocabulary makes {length} tokens of the prompt")


def _tokenizer(prompt: PromptSpec, size: int, image_token: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(SPACE, "merged_with_next"), pre_tokenizers.Split(".", "isolated")]
    )
    tokenizer.decoder = decoders.Replace(SPACE, " ")
    answers = [f"{prompt.answer_prefix} {name}." for name in LEVEL_NAMES]
    tokenizer.train_from_iterator(
        [f"USER: {prompt.question}\n", " ASSISTANT:", *answers, *LEVEL_NAMES],
        trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": image_token},
    )


def _qwen(sizes: Qwen) -> tuple[Any, Any, ScoringSpec]:
    prompt = PromptSpec()
    tokenizer = _tokenizer(prompt, 200, "<|image_pad|>")
    tokenizer.add_special_tokens({"additional_special_tokens": QWEN_TOKENS})
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in QWEN_TOKENS}
    width, layers, mlp, heads, keys, linear = sizes.language
    hidden, depth, vision_heads, vision_mlp = sizes.vision
    config = Qwen3_5Config(
        text_config={
            "vocab_size": sizes.vocabulary,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "intermediate_size": mlp,
            "num_attention_heads": heads,
            "num_key_value_heads": keys,
            "linear_num_key_heads": linear,
            "linear_num_value_heads": linear,
            "tie_word_embeddings": True,
        },
        vision_config={
            "hidden_size": hidden,
            "depth": depth,
            "num_heads": vision_heads,
            "intermediate_size": vision_mlp,
            "out_hidden_size": width,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    images = Qwen2VLImageProcessor(patch_size=16, size={"shortest_edge": 448 * 448, "longest_edge": 448 * 448})
    processor = Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor(), chat_template=QWEN_TEMPLATE)
    return Qwen3_5ForConditionalGeneration(config), processor, ScoringSpec(prompt=prompt)
