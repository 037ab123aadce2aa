"""Tokenizers of the families' own classes, trained on the few sentences that tests use."""

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, pre_tokenizers, processors, trainers
from transformers import LlamaTokenizer, Qwen2Tokenizer

from tests.tiny import tiny_texts

DESCRIPTION = "Perception: warm reds.\nCognition: a harbour.\nEmotion: calm."
TEXTS = [*tiny_texts(), *[DESCRIPTION, "user assistant system model USER: ASSISTANT: User: Assistant: \n"] * 20]


def byte_level(special: Sequence[str], *, end: str, pad: str, bos: str | None = None, **named: str) -> Any:
    """A tokenizer of bytes, as of Qwen, SmolLM and Mistral's Tekken: " good" is one piece with its space.

    Args:
        special: special tokens beside those named.
        end: the end-of-turn token.
        pad: the padding token.
        bos: the token that the tokenizer puts before every text, if any.
        named: special tokens that the processor looks up by name, such as ``image_token``.
    """
    tokens = list(dict.fromkeys([pad, end, *([bos] if bos else []), *named.values(), *special]))
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend = Qwen2Tokenizer().backend_tokenizer
    backend.train_from_iterator(TEXTS, trainer)
    vocabulary, merges = _parts(backend)
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token=None,
        bos_token=bos,
        eos_token=end,
        pad_token=pad,
        extra_special_tokens=named,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)}, replace_extra_special_tokens=False)
    if bos is not None:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, vocabulary[bos])]
        )
    return tokenizer


def sentencepiece_like(kind: Any, special: Sequence[str], **named: str) -> Any:
    """A tokenizer of characters that writes a space as "▁", as LLaMA-2's and Gemma's.

    Args:
        kind: `LlamaTokenizer`, which puts a space before a text, or `GemmaTokenizer`, which does not.
        special: special tokens beside those named.
        named: special tokens that the processor looks up by name.
    """
    backend = kind().backend_tokenizer
    first = ["<unk>", "<s>", "</s>"] if kind is LlamaTokenizer else ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokens = [*first, *named.values(), *special]
    # SentencePiece learns no piece across words, nor across a script and its punctuation.
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(split=True),
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=tokens + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    vocabulary, merges = _parts(backend)
    tokenizer = kind(vocab=vocabulary, merges=merges, add_bos_token=True, extra_special_tokens=named)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token
    extra = [AddedToken(token, special=True, normalized=False) for token in special]
    tokenizer.add_special_tokens({"additional_special_tokens": extra}, replace_extra_special_tokens=False)
    return tokenizer


def _parts(backend: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(backend.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]
