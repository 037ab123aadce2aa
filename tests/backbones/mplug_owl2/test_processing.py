"""Tokens and pixels against the original's."""

import hashlib
import json

import numpy as np
import pytest
import sentencepiece
import torch
from PIL import Image
from safetensors.torch import load_file

from artquant_plugin.backbones import register_architecture
from artquant_plugin.backbones.mplug_owl2.processing import MPLUGOwl2ImageProcessor, MPLUGOwl2Processor, pad_to_square
from artquant_plugin.backbones.mplug_owl2.tokenization import tokenizer_from_sentencepiece
from artquant_plugin.common.errors import ArtQuantError
from tests.backbones.mplug_owl2.parity import IMAGES, OWN, case
from tests.backbones.mplug_owl2.vocabulary import sentencepiece_model
from tests.paths import shared

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
QUESTION = {"type": "text", "text": "How would you rate the quality of this painting?"}
RECORDED = json.loads((OWN / "preprocess.json").read_text())["images"]


@pytest.mark.parametrize("size", [56, 448])
@pytest.mark.parametrize("name", sorted(RECORDED))
def test_pixels_are_the_originals_to_the_last_bit(name, size):
    processor = MPLUGOwl2ImageProcessor(size={"height": size, "width": size})
    with Image.open(IMAGES / f"{name}.png") as image:
        pixels = processor(images=[image], return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, size, size)
    assert pixels.dtype == torch.float32
    assert hashlib.sha256(pixels.numpy().tobytes()).hexdigest() == RECORDED[name][f"sha256_float32_{size}"]


def test_the_padded_square_is_the_originals():
    recorded = load_file(shared("parity/preprocess.safetensors"))
    for name, facts in RECORDED.items():
        with Image.open(IMAGES / f"{name}.png") as image:
            pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        square = pad_to_square(pixels, tuple(facts["background"]))
        assert list(square.shape[1:]) == facts["square"][::-1]
        every7 = torch.from_numpy(square.transpose(1, 2, 0)[::7, ::7].copy())
        assert torch.equal(every7, recorded[f"{name}.square_uint8_every7"])


def test_an_odd_remainder_of_the_padding_goes_behind():
    tall = np.full((3, 4, 1), 9, dtype=np.uint8)
    assert pad_to_square(tall, (1, 2, 3))[:, 0].tolist() == [[1, 9, 1, 1], [2, 9, 2, 2], [3, 9, 3, 3]]
    wide = tall.transpose(0, 2, 1)
    assert pad_to_square(wide, (1, 2, 3))[0].tolist() == [[1] * 4, [9] * 4, [1] * 4, [1] * 4]
    assert pad_to_square(tall[:, :1], (1, 2, 3)).shape == (3, 1, 1)


@pytest.fixture(scope="module")
def processor(tmp_path_factory) -> MPLUGOwl2Processor:
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.model"
    path.write_bytes(sentencepiece_model())
    images = MPLUGOwl2ImageProcessor(size={"height": 28, "width": 28})
    return MPLUGOwl2Processor(images, tokenizer_from_sentencepiece(path), tokens_per_image=3)


def render(processor, *messages, ask=False):
    return processor.apply_chat_template(list(messages), add_generation_prompt=ask, tokenize=False)


def test_conversations_are_the_originals(processor):
    last = {"role": "user", "content": [QUESTION, {"type": "image"}]}
    first = {"role": "user", "content": [{"type": "image"}, QUESTION]}
    assert render(processor, last, ask=True) == (
        "USER: How would you rate the quality of this painting?\n<|image|> ASSISTANT:"
    )
    answer = {"role": "assistant", "content": [{"type": "text", "text": "The quality of the painting is good."}]}
    assert render(processor, {"role": "system", "content": SYSTEM}, first, answer) == (
        f"{SYSTEM} USER: <|image|>\nHow would you rate the quality of this painting? "
        "ASSISTANT: The quality of the painting is good.</s>"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Hello  world",
        " a",
        "  two spaces",
        "tab\there",
        "émigré 絵画 🎨",
        "a\n\nb",
        "",
        "ﬁ ligature №",
        "USER: is good.",
    ],
)
def test_text_without_images_is_what_sentencepiece_makes_of_it(processor, text):
    pieces = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    assert processor.tokenizer(text)["input_ids"] == [pieces.bos_id(), *pieces.encode(text)]


def test_the_text_behind_an_image_is_encoded_by_itself(processor):
    pieces = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    text = "USER: the quality\n<|image|> ASSISTANT: good."
    with Image.open(IMAGES / "train_0.png") as image:
        ids = processor(text=[text], images=[[image]], return_tensors="pt")["input_ids"][0].tolist()
    before, after = text.split("<|image|>")
    image_id = pieces.get_piece_size()
    assert ids == [pieces.bos_id(), *pieces.encode(before), *[image_id] * 3, *pieces.encode(after)]
    # SentencePiece puts its own space before the one that stands there; LLaMA's tokenizer of transformers does not.
    assert pieces.encode(after) != pieces.encode(after[1:])


def test_token_ids_with_llamas_vocabulary_are_the_originals():
    recorded = case("A")
    tokenizer = tokenizer_from_sentencepiece(recorded.folder / "tokenizer.model")
    image_id = recorded.config.image_token_index
    assert tokenizer.convert_tokens_to_ids("<|image|>") == image_id == 32000
    ids = tokenizer(recorded.expected["prompt"])["input_ids"]
    assert ids == [image_id if index == -200 else index for index in recorded.io["infer.input_ids"].tolist()]
    names = recorded.expected["level_names"]
    assert [tokenizer(f"is {name}")["input_ids"][-1] for name in names] == recorded.expected["level_ids"]
    scored, described = (
        json.loads((OWN / "data" / f"train_{kind}.json").read_text()) for kind in ("score", "description")
    )
    processor = MPLUGOwl2Processor(MPLUGOwl2ImageProcessor(), tokenizer, tokens_per_image=1)
    rows = [scored[0], described[0], scored[1], described[1]]  # as the batch was recorded
    for row, wanted in zip(rows, recorded.io["train.input_ids"].tolist(), strict=True):
        question, answer = (turn["value"] for turn in row["conversations"])
        parts = [{"type": "image"}, {"type": "text", "text": question.removesuffix("\n<|image|>")}]
        text = render(
            processor,
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": answer},
        )
        found = tokenizer(text)["input_ids"]
        assert found == [image_id if index == -200 else index for index in wanted[: len(found)]]
        assert set(wanted[len(found) :]) <= {tokenizer.pad_token_id}


def test_a_saved_processor_is_found_by_its_name(processor, tmp_path):
    from transformers import AutoImageProcessor, AutoProcessor

    from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2Config

    processor.save_pretrained(tmp_path)
    MPLUGOwl2Config().save_pretrained(tmp_path)
    register_architecture(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is MPLUGOwl2Processor
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is MPLUGOwl2ImageProcessor
    assert again.tokens_per_image == 3
    text = "USER: the quality\n<|image|> ASSISTANT: good."
    with Image.open(IMAGES / "rgba_120x180.png") as image:
        before, after = (one(text=[text], images=[[image]], return_tensors="pt") for one in (processor, again))
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_file_that_is_no_vocabulary_is_one_line(tmp_path):
    path = tmp_path / "tokenizer.model"
    path.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ArtQuantError, match="tokenizer.model is no SentencePiece model; fetch"):
        tokenizer_from_sentencepiece(path)
