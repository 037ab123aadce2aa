"""A tiny LLaVA with random weights: the demo's model, a real architecture with processor and chat template."""

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from artquant_plugin.train.sections import TinyModel

PAD, END, USER, ASSISTANT, IMAGE = "<pad>", "<end>", "<user>", "<assistant>", "<image>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<user>' if message['role'] == 'user' else '<assistant>' }}"
    "{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}"
    "{% endfor %}{{ '<end>' if message['role'] == 'assistant' else '' }}"
    "{% endfor %}"
    "{{ '<assistant>' if add_generation_prompt else '' }}"
)


def build_tiny_model(sizes: TinyModel, texts: Iterable[str], seed: int) -> tuple[Any, Any]:
    """Model and processor.

    Args:
        sizes: Sizes of the model's layers, of its image and of its vocabulary.
        texts: What the tokenizer is trained on; every prompt and answer that will be used should be among them.
        seed: Seed that the random weights follow from.

    Returns:
        A `LlavaForConditionalGeneration` in float32 and its `LlavaProcessor`.
    """
    tokenizer = _train_tokenizer(texts, sizes.vocabulary)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"height": sizes.image_size, "width": sizes.image_size}, do_center_crop=False
        ),
        tokenizer=tokenizer,
        patch_size=sizes.patch_size,
        vision_feature_select_strategy="default",
        image_token=IMAGE,
        num_additional_image_tokens=1,  # the class token, which "default" drops again
        chat_template=CHAT_TEMPLATE,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            image_size=sizes.image_size,
            patch_size=sizes.patch_size,
            hidden_size=sizes.hidden,
            intermediate_size=4 * sizes.hidden,
            num_hidden_layers=sizes.vision_layers,
            num_attention_heads=sizes.heads,
            projection_dim=sizes.hidden,
        ).to_dict(),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=sizes.hidden,
            intermediate_size=3 * sizes.hidden,
            num_hidden_layers=sizes.text_layers,
            num_attention_heads=sizes.heads,
            num_key_value_heads=sizes.heads,
            max_position_embeddings=1024,
            # At the default of 0.02 a model this narrow begins so near zero that it learns to ignore the image.
            initializer_range=0.1,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        ).to_dict(),
        image_token_index=tokenizer.vocab[IMAGE],
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(sizes.image_size // sizes.patch_size) ** 2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model.float(), processor


def _train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END, USER, ASSISTANT, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, IMAGE],
        extra_special_tokens={"image_token": IMAGE},
        padding_side="right",
    )
