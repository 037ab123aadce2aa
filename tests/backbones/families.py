"""Tiny random models of the families, each with processor, tokenizer and template of its own kind."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    CLIPImageProcessor,
    Gemma3ImageProcessor,
    Gemma3Processor,
    GemmaTokenizer,
    GotOcr2ImageProcessor,
    Idefics3ImageProcessor,
    Idefics3Processor,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlamaTokenizer,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    LlavaProcessor,
    MllamaImageProcessor,
    MllamaProcessor,
    PaliGemmaProcessor,
    PixtralImageProcessor,
    PixtralProcessor,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SiglipImageProcessor,
)

from artquant_plugin.backbones.mplug_owl2 import register as register_mplug_owl2
from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2Config
from tests.backbones import templates
from tests.backbones.mplug_owl2.original_folders import CONFIG as MPLUG_OWL2
from tests.backbones.mplug_owl2.vocabulary import processor as mplug_owl2_processor
from tests.backbones.tokenizers import byte_level, sentencepiece_like

FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {}
WIDTH = 32
# At the usual 0.02 models this narrow give every image nearly the same score.
TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.15,
}
VISION = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.15,
}
HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@functools.cache
def family(name: str) -> tuple[Any, Any]:
    """Model in evaluation mode and processor; shared, so that a test that changes them builds its own."""
    return FAMILIES[name]()


def _family(build: Callable[[], tuple[dict[str, Any], Any]]) -> Callable[[], tuple[Any, Any]]:
    """Register a function that gives a configuration (as config.json holds it) and a processor."""

    @functools.wraps(build)
    def built() -> tuple[Any, Any]:
        register_mplug_owl2()
        content, processor = build()
        config = AutoConfig.for_model(**content)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForImageTextToText.from_config(config)
            for parameter in model.parameters():
                if not parameter.any():  # such as Gemma 3's projector, which would hide the image
                    torch.nn.init.normal_(parameter, std=0.15)
        tokenizer = processor.tokenizer
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        return model.eval(), processor

    FAMILIES[build.__name__] = built
    return built


def _ids(tokenizer: Any, **config: Any) -> dict[str, Any]:
    """A text configuration for a tokenizer."""
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "eos_token_id", "bos_token_id")}
    return {**TEXT, "vocab_size": len(tokenizer), **special, **config}


@_family
def mplug_owl2() -> tuple[dict[str, Any], Any]:
    """The paper's: a ViT, queries, norms and projections of their own for image tokens."""
    processor = mplug_owl2_processor()
    config = MPLUGOwl2Config.from_original(MPLUG_OWL2)
    return {**config.to_dict(), "image_token_index": processor.image_token_id}, processor


@_family
def llava() -> tuple[dict[str, Any], Any]:
    """LLaVA 1.5: CLIP with its class token dropped, a tokenizer like LLaMA's, "USER: … ASSISTANT:"."""
    tokenizer = sentencepiece_like(LlamaTokenizer, [], image_token="<image>")
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=templates.LLAVA,
    )
    return {
        "model_type": "llava",
        "vision_config": {"model_type": "clip_vision_model", **VISION, "image_size": 28, "patch_size": 14},
        "text_config": {"model_type": "llama", **_ids(tokenizer)},
        "image_token_index": tokenizer.image_token_id,
        "vision_feature_layer": -2,
    }, processor


@_family
def llava_next() -> tuple[dict[str, Any], Any]:
    """LLaVA-NeXT: CLIP over the best-fitting grid of tiles, padding cut off again, a row break behind each row."""
    tokenizer = sentencepiece_like(LlamaTokenizer, [], image_token="<image>")
    grid = [[28, 56], [56, 28], [56, 56]]
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=grid
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=templates.LLAVA,
    )
    return {
        "model_type": "llava_next",
        "vision_config": {"model_type": "clip_vision_model", **VISION, "image_size": 28, "patch_size": 14},
        "text_config": {"model_type": "llama", **_ids(tokenizer)},
        "image_token_index": tokenizer.image_token_id,
        "image_grid_pinpoints": grid,
    }, processor


@_family
def llava_onevision() -> tuple[dict[str, Any], Any]:
    """LLaVA-OneVision: SigLIP, tiles of the best-fitting grid, so that the length follows the image's shape."""
    tokenizer = byte_level(
        ["<|im_start|>"], end="<|im_end|>", pad="<|endoftext|>", image_token="<image>", video_token="<video>"
    )
    grid = [[28, 28], [28, 56], [56, 28], [56, 56]]
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size={"height": 28, "width": 28}, image_grid_pinpoints=grid),
        tokenizer=tokenizer,
        video_processor=LlavaOnevisionVideoProcessor(),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=templates.LLAVA_ONEVISION,
    )
    return {
        "model_type": "llava_onevision",
        "vision_config": {
            "model_type": "siglip_vision_model",
            **VISION,
            "image_size": 28,
            "patch_size": 14,
            "vision_use_head": False,
        },
        "text_config": {"model_type": "qwen2", **_ids(tokenizer)},
        "image_token_index": tokenizer.image_token_id,
        "video_token_index": tokenizer.video_token_id,
        "image_grid_pinpoints": grid,
    }, processor


def _qwen(kind: Any, video: Any, template: str, patch: int) -> Any:
    special = ["<|im_start|>", "<think>", "</think>"]
    named = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_start_token": "<|vision_start|>",
        "vision_end_token": "<|vision_end|>",
    }
    return kind(
        image_processor=Qwen2VLImageProcessor(
            patch_size=patch, size={"shortest_edge": (2 * patch) ** 2, "longest_edge": (6 * patch) ** 2}
        ),
        tokenizer=byte_level(special, end="<|im_end|>", pad="<|endoftext|>", **named),
        video_processor=video,
        chat_template=template,
    )


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    return {name: getattr(tokenizer, name) for name in names}


@_family
def qwen2_vl() -> tuple[dict[str, Any], Any]:
    """Qwen2-VL: native resolution, positions of three axes."""
    processor = _qwen(Qwen2VLProcessor, Qwen2VLVideoProcessor(), templates.QWEN2_VL, 14)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    return {
        "model_type": "qwen2_vl",
        "vision_config": {"depth": 2, "embed_dim": WIDTH, "hidden_size": WIDTH, "num_heads": 4, "mlp_ratio": 2},
        "text_config": _ids(processor.tokenizer, rope_parameters=rope),
        **_qwen_ids(processor.tokenizer),
    }, processor


@_family
def qwen2_5_vl() -> tuple[dict[str, Any], Any]:
    """Qwen2.5-VL: as Qwen2-VL, with windows in the vision tower."""
    processor = _qwen(Qwen2_5_VLProcessor, Qwen2VLVideoProcessor(), templates.QWEN2_VL, 14)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    return {
        "model_type": "qwen2_5_vl",
        "vision_config": {
            "depth": 2,
            "hidden_size": WIDTH,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": WIDTH,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        "text_config": _ids(processor.tokenizer, rope_parameters=rope),
        **_qwen_ids(processor.tokenizer),
    }, processor


def _qwen3_vision() -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_heads": 4,
        "out_hidden_size": WIDTH,
        "num_position_embeddings": 64,
        "initializer_range": 0.15,
    }


@_family
def qwen3_vl() -> tuple[dict[str, Any], Any]:
    """Qwen3-VL: features of earlier vision layers are added inside the language model."""
    processor = _qwen(Qwen3VLProcessor, Qwen3VLVideoProcessor(), templates.QWEN3_VL, 16)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    return {
        "model_type": "qwen3_vl",
        "vision_config": {**_qwen3_vision(), "deepstack_visual_indexes": [0]},
        "text_config": _ids(processor.tokenizer, rope_parameters=rope, head_dim=8),
        **_qwen_ids(processor.tokenizer),
    }, processor


@_family
def qwen3_5() -> tuple[dict[str, Any], Any]:
    """Qwen3.5: linear attention in three of four layers, thinks unless told not to."""
    processor = _qwen(Qwen3VLProcessor, Qwen3VLVideoProcessor(), templates.QWEN3_5, 16)
    rope = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [1, 1, 2],
        "mrope_interleaved": True,
        "partial_rotary_factor": 0.5,
    }
    text = {
        "num_hidden_layers": 4,
        "head_dim": 16,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "rope_parameters": rope,
    }
    return {
        "model_type": "qwen3_5",
        "vision_config": _qwen3_vision(),
        "text_config": _ids(processor.tokenizer, **text),
        **_qwen_ids(processor.tokenizer),
    }, processor


def _idefics3_tokenizer() -> Any:
    rows = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    return byte_level(
        ["<fake_token_around_image>", "<image>", "<global-img>", *rows],
        end="<end_of_utterance>",
        pad="<|im_end|>",
        bos="<|im_start|>",
    )


@_family
def idefics3() -> tuple[dict[str, Any], Any]:
    """Idefics3 (and the first SmolVLM): images cut into tiles that are padded over the batch."""
    tokenizer = _idefics3_tokenizer()
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessor(size={"longest_edge": 56}, max_image_size={"longest_edge": 28}),
        tokenizer=tokenizer,
        image_seq_len=1,
        chat_template=templates.IDEFICS3,
    )
    return {
        "model_type": "idefics3",
        "vision_config": {**VISION, "image_size": 28, "patch_size": 14},
        "text_config": {"model_type": "llama", **_ids(tokenizer)},
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
    }, processor


@_family
def smolvlm() -> tuple[dict[str, Any], Any]:
    """SmolVLM2: as Idefics3, with a video processor; its processor needs the package num2words."""
    from transformers import SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    tokenizer = _idefics3_tokenizer()
    processor = SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(size={"longest_edge": 56}, max_image_size={"longest_edge": 28}),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(),
        image_seq_len=1,
        chat_template=templates.IDEFICS3,
    )
    return {
        "model_type": "smolvlm",
        "vision_config": {**VISION, "image_size": 28, "patch_size": 14},
        "text_config": {"model_type": "llama", **_ids(tokenizer)},
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
    }, processor


@_family
def internvl() -> tuple[dict[str, Any], Any]:
    """InternVL (HF): tiles and a thumbnail, a processor that pads on the left unless told otherwise."""
    tokenizer = byte_level(
        ["<|im_start|>"],
        end="<|im_end|>",
        pad="<|endoftext|>",
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size={"height": 28, "width": 28}, max_patches=4, crop_to_patches=True),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(),
        image_seq_length=1,
        chat_template=templates.INTERNVL,
    )
    return {
        "model_type": "internvl",
        "vision_config": {**VISION, "image_size": [28, 28], "patch_size": [14, 14]},
        "text_config": {"model_type": "qwen2", **_ids(tokenizer)},
        "image_token_id": tokenizer.context_image_token_id,
        "image_seq_length": 1,
    }, processor


@_family
def gemma3() -> tuple[dict[str, Any], Any]:
    """Gemma 3: image tokens see each other in both directions; most layers see a window only."""
    tokenizer = sentencepiece_like(
        GemmaTokenizer,
        ["<start_of_turn>", "<end_of_turn>"],
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessor(size={"height": 56, "width": 56}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=templates.GEMMA3,
    )
    return {
        "model_type": "gemma3",
        "vision_config": {
            "model_type": "siglip_vision_model",
            **VISION,
            "image_size": 56,
            "patch_size": 14,
            "vision_use_head": False,
        },
        "text_config": _ids(tokenizer, head_dim=8, query_pre_attn_scalar=8, sliding_window=16, num_hidden_layers=6),
        "mm_tokens_per_image": 4,
        "boi_token_index": tokenizer.boi_token_id,
        "eoi_token_index": tokenizer.eoi_token_id,
        "image_token_index": tokenizer.image_token_id,
    }, processor


@_family
def gemma4() -> tuple[dict[str, Any], Any]:
    """Gemma 4: an embedding in every layer, logits capped behind the head, thoughts in a channel of their own."""
    from transformers import Gemma4AudioFeatureExtractor, Gemma4ImageProcessor, Gemma4Processor, Gemma4VideoProcessor

    tokenizer = sentencepiece_like(
        GemmaTokenizer,
        ["<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>"],
        boi_token="<|image>",
        eoi_token="<image|>",
        image_token="<|image|>",
        boa_token="<|audio>",
        eoa_token="<audio|>",
        audio_token="<|audio|>",
    )
    processor = Gemma4Processor(
        feature_extractor=Gemma4AudioFeatureExtractor(),
        image_processor=Gemma4ImageProcessor(patch_size=8, max_soft_tokens=70, pooling_kernel_size=2),
        tokenizer=tokenizer,
        video_processor=Gemma4VideoProcessor(),
        chat_template=templates.GEMMA4,
    )
    text = {
        "num_hidden_layers": 6,
        "head_dim": 8,
        "global_head_dim": 8,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": len(tokenizer),
        "final_logit_softcapping": 30.0,
        "use_bidirectional_attention": "vision",
        "sliding_window": 64,
    }
    return {
        "model_type": "gemma4",
        "vision_config": {
            **VISION,
            "num_key_value_heads": 4,
            "head_dim": 8,
            "patch_size": 8,
            "pooling_kernel_size": 2,
            "position_embedding_size": 256,
        },
        "text_config": _ids(tokenizer, **text),
        "audio_config": None,
        "boi_token_id": tokenizer.boi_token_id,
        "eoi_token_id": tokenizer.eoi_token_id,
        "image_token_id": tokenizer.image_token_id,
        "audio_token_id": tokenizer.audio_token_id,
    }, processor


@_family
def paligemma() -> tuple[dict[str, Any], Any]:
    """PaliGemma 2: the prompt sees itself in both directions, no chat template, logits capped behind the head."""
    tokenizer = sentencepiece_like(GemmaTokenizer, [], image_token="<image>")
    image_processor = SiglipImageProcessor(size={"height": 28, "width": 28}, **HALVES)
    image_processor.image_seq_length = 4
    processor = PaliGemmaProcessor(image_processor=image_processor, tokenizer=tokenizer)
    text = {
        "model_type": "gemma2",
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "sliding_window": 512,
        "final_logit_softcapping": 0.5,
    }
    return {
        "model_type": "paligemma",
        "vision_config": {
            "model_type": "siglip_vision_model",
            **VISION,
            "image_size": 28,
            "patch_size": 14,
            "vision_use_head": False,
        },
        "text_config": {**text, **_ids(tokenizer)},
        "image_token_index": tokenizer.image_token_id,
        "vocab_size": len(tokenizer),
        "projection_dim": WIDTH,
        "hidden_size": WIDTH,
    }, processor


@_family
def mistral3() -> tuple[dict[str, Any], Any]:
    """Mistral Small 3.1: Pixtral's tower at native resolution, a break token behind each row, no generation prompt."""
    tokenizer = byte_level(
        ["[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"], end="</s>", pad="<pad>", bos="<s>"
    )
    processor = PixtralProcessor(
        image_processor=PixtralImageProcessor(size={"longest_edge": 84}, patch_size={"height": 14, "width": 14}),
        tokenizer=tokenizer,
        patch_size=14,
        spatial_merge_size=2,
        chat_template=templates.MISTRAL3,
    )
    return {
        "model_type": "mistral3",
        "vision_config": {"model_type": "pixtral", **VISION, "image_size": 84, "patch_size": 14},
        "text_config": {"model_type": "mistral", **_ids(tokenizer, head_dim=8)},
        "image_token_index": tokenizer.convert_tokens_to_ids("[IMG]"),
        "spatial_merge_size": 2,
    }, processor


@_family
def mllama() -> tuple[dict[str, Any], Any]:
    """Llama 3.2 Vision: the image enters by cross-attention, through a mask with a row for each text token."""
    tokenizer = byte_level(
        ["<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>"],
        end="<|eot_id|>",
        pad="<|finetune_right_pad_id|>",
        bos="<|begin_of_text|>",
        image_token="<|image|>",
    )
    processor = MllamaProcessor(
        image_processor=MllamaImageProcessor(size={"height": 28, "width": 28}, max_image_tiles=2),
        tokenizer=tokenizer,
        chat_template=templates.MLLAMA,
    )
    return {
        "model_type": "mllama",
        "vision_config": {
            **{key: VISION[key] for key in ("hidden_size", "intermediate_size", "initializer_range")},
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 4,
            "image_size": 28,
            "patch_size": 14,
            "max_num_tiles": 2,
            "intermediate_layers_indices": [0],
            "vision_output_dim": 2 * WIDTH,
            "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        },
        "text_config": _ids(tokenizer, cross_attention_layers=[1], num_hidden_layers=3),
        "image_token_index": tokenizer.image_token_id,
    }, processor
