import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.scoring.generation import generate, generate_batch, generation_inputs
from tests.dynamic import dynamic_checkpoint
from tests.tiny import pictures, tiny_checkpoint

GREEDY = {"max_new_tokens": 12, "temperature": 0, "do_sample": False}


def chat(*parts):
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "url": part} for part in parts
    ]
    return [{"role": "user", "content": content}]


@pytest.fixture(params=[tiny_checkpoint, dynamic_checkpoint], ids=["static", "dynamic"])
def checkpoint(request):
    return request.param()


def test_the_answers_of_a_batch_are_those_of_each_alone(checkpoint):
    images = pictures(4)
    chats = [chat(images[0], "Describe it."), chat(images[1], images[2], "Which of these paintings is warm?")]
    chats.append([*chat(images[3], "?"), {"role": "assistant", "content": [{"type": "text", "text": "A harbour."}]}])
    chats[2] += chat("And the emotion of this painting, on three levels?")
    together = generate_batch(checkpoint, chats, GREEDY)
    assert together == [generate(checkpoint, each, GREEDY) for each in chats]
    assert len(set(together)) > 1


def test_text_alone_is_answered(checkpoint):
    chats = [chat("Describe the aesthetics."), "How would you rate the quality of this painting?"]
    assert generate_batch(checkpoint, chats, GREEDY) == [generate(checkpoint, each, GREEDY) for each in chats]


def test_prompts_are_padded_on_the_left(checkpoint):
    tokenizer = checkpoint.processor.tokenizer
    inputs = generation_inputs(checkpoint.processor, ["good", "good fair poor bad painting"], [[], []])
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1]
    assert inputs["attention_mask"][0, 0] == 0
    assert tokenizer.decode(inputs["input_ids"][1], skip_special_tokens=True) == "good fair poor bad painting"


def test_a_text_ends_before_its_first_stop_and_generation_with_it(checkpoint):
    chats = [chat(image, "Describe it.") for image in pictures(3)]
    whole = generate_batch(checkpoint, chats, GREEDY)
    stops = [text[2:4] for text in whole if len(text) > 4]
    expected = []
    for text in whole:
        for stop in stops:
            text = text.split(stop)[0]
        expected.append(text.strip())
    calls = []
    hook = checkpoint.model.register_forward_hook(lambda *_: calls.append(1))
    try:
        assert generate_batch(checkpoint, chats, {**GREEDY, "max_new_tokens": 200, "until": stops}) == expected
    finally:
        hook.remove()
    assert len(calls) < 60


def test_a_stop_may_be_one_string_and_an_empty_one_is_none(checkpoint):
    each = chat(pictures(1)[0], "Describe it.")
    whole = generate(checkpoint, each, GREEDY)
    assert generate(checkpoint, each, {**GREEDY, "until": ""}) == whole
    assert generate(checkpoint, each, {**GREEDY, "until": whole[1]}) == whole.split(whole[1])[0].strip()


def test_a_temperature_samples_and_none_does_not(checkpoint):
    each = [chat(pictures(1)[0], "Describe it.")] * 6
    assert len(set(generate_batch(checkpoint, each, {"max_new_tokens": 8, "temperature": 5.0}))) > 1
    assert len(set(generate_batch(checkpoint, each, {"max_new_tokens": 8, "temperature": 0, "top_p": 0.9}))) == 1


def test_images_may_be_paths_and_what_is_no_image_is_an_error(checkpoint, tmp_path):
    image = pictures(1)[0]
    image.save(tmp_path / "a.png")
    by_path = generate(checkpoint, chat(image, "?"), GREEDY)
    messages = chat(image, "?")
    messages[0]["content"][0]["url"] = str(tmp_path / "a.png")
    assert generate(checkpoint, messages, GREEDY) == by_path
    messages[0]["content"][0]["type"] = "video"
    with pytest.raises(ArtQuantError, match="a request holds video; artquant reads images and text only"):
        generate(checkpoint, messages, GREEDY)
