"""A small SentencePiece model of LLaMA-2's kind, trained in the test: byte-pair encoding with byte fallback."""

import functools
import io

import sentencepiece

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
