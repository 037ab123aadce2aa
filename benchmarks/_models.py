"""Models of real architectures with random weights in several sizes, and how many operations they need."""

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
from artquant_plugin.data.importers.apdd import ATTRIBUTES
from artquant_plugin.prompting.attributes import attribute_spec
from artquant_plugin.prompting.levels import LEVEL_NAMES, LEVEL_VALUES
from artquant_plugin.prompting.prompter import PromptSpec

PROMPT_TOKENS = 28  # tokens of the paper's scoring prompt in LLaMA-2's vocabulary, with the image as one of them
VOCABULARY = 32000
ATTRIBUTE_SPECS = tuple(attribute_spec(name, LEVEL_VALUES) for name in ATTRIBUTES)
QUESTIONS = [f" {each.question}" for each in ATTRIBUTE_SPECS]
PREFIXES = [each.answer_prefix for each in ATTRIBUTE_SPECS]
SPACE = "\u2581"  # SentencePiece's sign for a space
# The chat template of Qwen's models, shortened to what a score request needs.
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
    """Sizes of an mPLUG-Owl2.

    Args:
        language: width, layers, heads and MLP width of the language model.
        vision: the same four numbers of the ViT.
        abstractor: the same four numbers of the abstractor.
    """

    language: tuple[int, int, int, int]
    vision: tuple[int, int, int, int]
    abstractor: tuple[int, int, int, int]

    def config(self) -> MPLUGOwl2Config:
        """The configuration with these sizes, images of 448 pixels, patches of 14 pixels and 64 queries."""

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
    """Sizes of a Qwen3.5.

    Args:
        language: width, layers, MLP width, heads, key heads and linear-attention heads of the language model.
        vision: width, layers, heads and MLP width of the ViT.
        vocabulary: the number of rows of embedding and output head.
    """

    language: tuple[int, int, int, int, int, int]
    vision: tuple[int, int, int, int]
    vocabulary: int


SHAPES: dict[str, Owl | Qwen] = {
    "tiny": Owl((64, 1, 2, 128), (64, 1, 2, 128), (64, 1, 2, 128)),
    "h512": Owl((512, 8, 8, 1376), (512, 8, 8, 2048), (512, 4, 8, 1408)),
    "ratio": Owl((1024, 12, 8, 2752), (384, 6, 6, 1536), (384, 3, 6, 1056)),
    "7b": Owl((4096, 32, 32, 11008), (1024, 24, 16, 4096), (1024, 6, 16, 2816)),
    "qwen3.5-tiny": Qwen((256, 4, 512, 4, 2, 4), (128, 2, 4, 256), 4096),
    "qwen3.5-0.8b": Qwen((1024, 24, 3584, 8, 2, 16), (768, 12, 12, 3072), 248_320),
}


def random_checkpoint(shape: str, *, device: str, dtype: torch.dtype) -> Checkpoint:
    """Build a checkpoint with random weights, the same ones on each call.

    Args:
        shape: a key of `SHAPES`, which names the sizes.
        device: torch's name of the device on which the model is built.
        dtype: torch's type of the weights.
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
    """Floating-point operations of one score, by formula; a multiplication with an addition counts as two.

    Only matrix products and attention count, as is usual. Causal attention counts as if it were full, and the output
    head with its five rows does not count.

    Args:
        shape: a key of `SHAPES`, which names the sizes.
        tokens: the number of tokens of the sequence up to the position that is read.
        shared: how many of them are computed once for all images, and do not count.

    Returns:
        The number of operations; None for an architecture without a formula here.
    """
    sizes = SHAPES[shape]
    if isinstance(sizes, Qwen):
        return None
    return image_arithmetic(sizes) + language_arithmetic(sizes, tokens - shared, tokens)


def image_arithmetic(sizes: Owl) -> float:
    """Floating-point operations of encoding one image, counted as `arithmetic` counts."""
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
    """Floating-point operations of a sequence in the language model, counted as `arithmetic` counts.

    Args:
        sizes: the sizes of the whole model.
        tokens: the number of tokens that are computed.
        context: the number of tokens that each of them attends to.
    """
    width, layers, _, mlp = sizes.language
    return float(layers * (2 * tokens * (4 * width**2 + 3 * width * mlp) + 4 * tokens * context * width))


def training_arithmetic(sizes: Owl, images: int, lengths: Sequence[int], supervised: int, rank: int) -> float:
    """Floating-point operations that one training step needs; padding and recomputed activations do not count.

    A backward pass takes twice as much as the forward pass where weights are trained, and as much where they are
    frozen. That of attention, which has no weights, takes twice as much.

    Args:
        sizes: the sizes of a model whose ViT and abstractor are trained, and whose language model has LoRA on the
            queries and on the images' values.
        images: the number of images that are encoded.
        lengths: the number of tokens of each sequence.
        supervised: the number of positions that have logits.
        rank: the rank of the LoRA matrices.
    """
    width, layers, _, _ = sizes.language
    total = 3.0 * images * image_arithmetic(sizes)
    image_tokens = sizes.config().tokens_per_image
    for length in lengths:
        attention = layers * 4 * length**2 * width
        total += 2 * (language_arithmetic(sizes, length, length) - attention) + 3 * attention
        total += 3 * layers * 4 * rank * width * (length + image_tokens)
    return total + 2 * 2.0 * supervised * width * VOCABULARY


def _owl(sizes: Owl) -> tuple[Any, Any, ScoringSpec]:
    """Model, processor and scoring file of an mPLUG-Owl2."""
    config = sizes.config()
    spec = ScoringSpec(prompt=PromptSpec(image_first=False), images="as_stored", attributes=ATTRIBUTE_SPECS)
    tokenizer = _tokenizer_of_length(spec.prompt, PROMPT_TOKENS)
    config.image_token_index = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    processor = MPLUGOwl2Processor(MPLUGOwl2ImageProcessor(), tokenizer, tokens_per_image=config.tokens_per_image)
    return MPLUGOwl2ForConditionalGeneration(config), processor, spec


def _tokenizer_of_length(prompt: PromptSpec, length: int) -> PreTrainedTokenizerFast:
    """A tokenizer with just enough merges that the scoring prompt has at most `length` tokens."""
    text = f"USER: {prompt.question}\n{IMAGE_TOKEN} ASSISTANT: {prompt.answer_prefix}"
    for size in range(20, 400):
        tokenizer = _tokenizer(prompt, size, IMAGE_TOKEN)
        if len(tokenizer(text)["input_ids"]) <= length:
            return tokenizer
    raise ValueError(f"no vocabulary makes {length} tokens of the prompt")


def _tokenizer(prompt: PromptSpec, size: int, image_token: str) -> PreTrainedTokenizerFast:
    """A byte-pair tokenizer with `size` entries, trained on the prompt and the answers."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(SPACE, "merged_with_next"), pre_tokenizers.Split(".", "isolated")]
    )
    tokenizer.decoder = decoders.Replace(SPACE, " ")
    answers = [f"{prefix} {name}." for prefix in (prompt.answer_prefix, *PREFIXES) for name in LEVEL_NAMES]
    tokenizer.train_from_iterator(
        [f"USER: {prompt.question}\n", " ASSISTANT:", *QUESTIONS, *answers, *LEVEL_NAMES],
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
    """Model, processor and scoring file of a Qwen3.5."""
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
    return Qwen3_5ForConditionalGeneration(config), processor, ScoringSpec(prompt=prompt, attributes=ATTRIBUTE_SPECS)
