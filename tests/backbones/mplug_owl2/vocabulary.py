"""A small SentencePiece model of LLaMA-2's kind, trained in the test: byte-pair encoding with byte fallback."""

import functools
import io
import tempfile
from pathlib import Path

import sentencepiece

from artquant_plugin.backbones.mplug_owl2.processing import MPLUGOwl2ImageProcessor, MPLUGOwl2Processor
from artquant_plugin.backbones.mplug_owl2.tokenization import tokenizer_from_sentencepiece

TEXTS = [
    "USER: How would you rate the quality of this painting?",
    " ASSISTANT: The quality of the painting is excellent.",
    "The quality of the painting is good. The quality of the painting is fair.",
    "The quality of the painting is poor. The quality of the painting is bad.",
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful answers.",
    "Describe the aesthetics of this painting on three levels: perception, cognition and emotion.",
] * 20


@functools.cache
def sentencepiece_model() -> bytes:
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=content,
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=1.0,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=2,
    )
    return content.getvalue()


def processor() -> MPLUGOwl2Processor:
    """For the sizes of `original_folders`: 28 px, four queries and the end of the image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.model"
        path.write_bytes(sentencepiece_model())
        tokenizer = tokenizer_from_sentencepiece(path)
    images = MPLUGOwl2ImageProcessor(size={"height": 28, "width": 28})
    return MPLUGOwl2Processor(images, tokenizer, tokens_per_image=5)
