"""LLaMA-2's tokenizer from its SentencePiece file, such that all text between special tokens is encoded by itself.

The original encodes the text before and after an image by itself, and SentencePiece puts a space before each. The
tokenizer of transformers for LLaMA does that for the first one only, and loses a token (id 29871) behind the image.
"""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from artquant_plugin.backbones.mplug_owl2.processing import IMAGE_TOKEN
from artquant_plugin.common.errors import ArtQuantError

SPACE = "\u2581"  # SentencePiece's sign for a space


def tokenizer_from_sentencepiece(path: Path, *, max_length: int = 2048) -> PreTrainedTokenizerFast:
    """A fast tokenizer with the image token as its last entry.

    Args:
        path: a SentencePiece model of byte-pair encoding with byte fallback (``tokenizer.model``).
        max_length: longest sequence of the model.

    Raises:
        ArtQuantError: the file is not such a model.
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
    # A normaliser meets each stretch between special tokens by itself; see above.
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
    """Every way to make a piece of two others, in the order in which SentencePiece prefers the pieces."""
    found = []
    for piece, index in vocabulary.items():
        if pieces.is_byte(index) or pieces.is_control(index) or pieces.is_unknown(index):
            continue
        for at in range(1, len(piece)):
            left, right = piece[:at], piece[at:]
            if left in vocabulary and right in vocabulary:
                found.append((-pieces.get_score(index), vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]
