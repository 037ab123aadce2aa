"""LLaMA-2's tokenizer from its SentencePiece file, for text with images in it.

The paper's code encodes the text before an image and the text after it separately, and SentencePiece puts a space
before each. The LLaMA tokenizer of transformers puts one before the first text only, which loses a token (id 29871)
behind the image.
"""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from artquant_plugin.backbones.mplug_owl2.processing import IMAGE_TOKEN
from artquant_plugin.common.errors import ArtQuantError

SPACE = "\u2581"  # SentencePiece's sign for a space


def tokenizer_from_sentencepiece(path: Path, *, max_length: int = 2048) -> PreTrainedTokenizerFast:
    """Build a fast tokenizer that encodes each text between special tokens separately.

    Args:
        path: a SentencePiece model (``tokenizer.model``) of byte-pair encoding with byte fallback.
        max_length: the longest sequence that the language model takes, in tokens.

    Returns:
        A tokenizer whose vocabulary ends with the image token.

    Raises:
        ArtQuantError: the file is missing or no SentencePiece model.
    """
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor()
    try:
        pieces.Load(str(path))
    except (OSError, RuntimeError) as error:
        raise ArtQuantError(f"{path} is no SentencePiece model; fetch the base model's tokenizer.model") from error
    vocabulary = {pieces.id_to_piece(index): index for index in range(pieces.get_piece_size())}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(pieces, vocabulary),
            unk_token=pieces.id_to_piece(pieces.unk_id()),
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    # The tokenizers library normalises each stretch between special tokens separately, so each gets its space.
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    begin = pieces.id_to_piece(pieces.bos_id())
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, pieces.bos_id())]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=begin,
        eos_token=pieces.id_to_piece(pieces.eos_id()),
        unk_token=pieces.id_to_piece(pieces.unk_id()),
        pad_token=pieces.id_to_piece(pieces.unk_id()),
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        padding_side="right",
        model_max_length=max_length,
    )


def _merges(pieces: Any, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """All pairs of pieces that make up a third one, in the order in which SentencePiece prefers the merged pieces."""
    ranked = []
    for piece, index in vocabulary.items():
        if pieces.is_byte(index) or pieces.is_control(index) or pieces.is_unknown(index):
            continue
        for at in range(1, len(piece)):
            left, right = piece[:at], piece[at:]
            if left in vocabulary and right in vocabulary:
                ranked.append((-pieces.get_score(index), vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(ranked)]
