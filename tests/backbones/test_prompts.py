"""Prompts and answers with the families' templates and tokenizers."""

import copy

import pytest
import torch
from tokenizers import processors

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.chat import chat_inputs, render_chat
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec, level_positions
from artquant_plugin.train.collate import AnswerCollator
from artquant_plugin.train.data import Sample
from tests.backbones.families import FAMILIES, family
from tests.backbones.tokenizers import DESCRIPTION
from tests.tiny import pictures

QUESTION = PromptSpec().question
ANSWER = "The quality of the painting is good."
USER = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]


def prompter(name: str, scale: LevelScale | None = None, template: str | None = None, **spec) -> Prompter:
    processor = family(name)[1]
    if template is not None:
        processor = copy.copy(processor)
        processor.chat_template = template
    return Prompter(processor, PromptSpec(**spec), scale or LevelScale())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("llava", f"USER: <image>\n{QUESTION} ASSISTANT: {ANSWER}</s>"),
        (
            "llava_onevision",
            f"<|im_start|>user <image>\n{QUESTION}<|im_end|><|im_start|>assistant\n{ANSWER}<|im_end|>",
        ),
        (
            "qwen3_5",
            f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{QUESTION}<|im_end|>\n"
            f"<|im_start|>assistant\n<think>\n\n</think>\n\n{ANSWER}<|im_end|>\n",
        ),
        ("idefics3", f"<|im_start|>User:<image>{QUESTION}<end_of_utterance>\nAssistant: {ANSWER}<end_of_utterance>\n"),
        (
            "gemma3",
            f"<bos><start_of_turn>user\n<start_of_image>{QUESTION}<end_of_turn>\n"
            f"<start_of_turn>model\n{ANSWER}<end_of_turn>\n",
        ),
        (
            "gemma4",
            f"<bos><|turn>user\n<|image|>{QUESTION}<turn|>\n"
            f"<|turn>model\n<|channel>thought\n<channel|>{ANSWER}<turn|>\n",
        ),
        ("paligemma", f"<image>{QUESTION}{ANSWER}<eos>"),
        ("mistral3", f"<s>[INST][IMG]{QUESTION}[/INST]{ANSWER}</s>"),
    ],
)
def test_an_answer_stands_where_the_family_puts_it(name, text):
    assert prompter(name).score_answer(1).text == text


def test_paligemma_is_given_the_prompt_in_its_own_form():
    """Image tokens, <bos>, question, line break; the answer apart from it, so that it is read causally."""
    asks = prompter("paligemma")
    inputs = asks.inputs([asks.score_request.text], pictures(1))
    tokenizer = asks.processor.tokenizer
    prompt = inputs["input_ids"][0][inputs["token_type_ids"][0] == 0]
    answer = inputs["input_ids"][0][inputs["token_type_ids"][0] == 1]
    assert tokenizer.decode(prompt) == f"<image><image><image><image><bos>{QUESTION}\n"
    assert tuple(answer.tolist()) == asks.score_request.ids
    assert "labels" not in inputs
    generated = chat_inputs(asks.processor, [asks.describe_text], [pictures(1)], padding_side="left")
    assert not generated["token_type_ids"].any()


def test_paligemma_with_a_template_that_its_folder_brings():
    template = "{% for m in messages if m.role == 'user' %}<image>answer en {{ m.content[1].text }}{% endfor %}"
    asks = prompter("paligemma", template=template + "{{ messages[1].content[0].text if messages | length > 1 }}")
    inputs = asks.inputs([asks.score_request.text], pictures(1))
    assert f"<bos>answer en {QUESTION}\n" in asks.processor.tokenizer.decode(inputs["input_ids"][0])


@pytest.mark.parametrize("name", ["llava", "paligemma"])
def test_an_order_that_a_family_does_not_know_is_an_error(name):
    with pytest.raises(ArtQuantError, match="puts the image first, always; set prompt.image_first: true"):
        prompter(name, image_first=False)


@pytest.mark.parametrize("flag", ["enable_thinking", "thinking"])
def test_a_thinking_mode_is_switched_off(flag):
    template = (
        "{{ '<think> aloud' if FLAG else '' }}{% for m in messages %}{{ m.content[-1].text }}<|im_end|>{% endfor %}"
    )
    assert prompter("qwen2_vl", template=template.replace("FLAG", flag)).score_answer(1).text.startswith(QUESTION)


def test_a_template_that_writes_of_thinking_is_told_nothing(caplog):
    template = "Without thinking:{{ 'thinking' }}{% for m in messages %}{{ m.content[-1].text }}<|im_end|>{% endfor %}"
    prompter("qwen2_vl", template=template)
    assert not caplog.records


def test_thoughts_that_cannot_be_switched_off_stay_empty():
    template = family("qwen3_vl")[1].chat_template.replace("assistant\\n' if", "assistant\\n<think>\\n' if")
    assert template.count("<think>") == 1
    answer = prompter("qwen3_vl", template=template).score_answer(1)
    assert answer.text.endswith(f"<|im_start|>assistant\n<think>\n\n</think>\n\n{ANSWER}<|im_end|>\n")


def test_a_template_that_refuses_is_one_line():
    template = "{{ raise_exception('system turn\nfirst') }}"
    with pytest.raises(ArtQuantError, match=r"refuses the conversation \(system turn first\); use another template"):
        prompter("qwen2_vl", template=template)


def test_a_template_that_leaves_the_image_out_is_one_line():
    template = "{% for m in messages %}{{ m.content[-1].text }}<|im_end|>{% endfor %}"
    asks = prompter("qwen2_vl", template=template)
    with pytest.raises(
        ArtQuantError, match=r"Qwen2VLProcessor does not take the prompt \(.*\); mend its chat"
    ) as raised:
        asks.inputs([asks.score_request.text], pictures(1))
    assert "\n" not in str(raised.value)


def test_a_template_that_is_broken_is_one_line():
    with pytest.raises(ArtQuantError, match="the chat template refuses the conversation"):
        prompter("qwen2_vl", template="{% for %}")


def test_a_tokenizer_that_ends_every_text_is_no_obstacle():
    """As LLaMA's with add_eos_token: what it appends is the end of every row, in training and in scoring."""
    _, processor = FAMILIES["llava"]()
    tokenizer = processor.tokenizer
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    asks = Prompter(processor, PromptSpec(), LevelScale())
    answer = asks.score_answer(1)
    assert tokenizer.decode(answer.ids[answer.level :]) == "good.</s></s>"
    inputs = AnswerCollator(asks).part(
        [{"sample": Sample("score", "s", None, label=torch.eye(5)[1].numpy()), "image": pictures(1)[0]}]
    )["inputs"]
    at = level_positions(inputs["attention_mask"], [answer])
    assert inputs["input_ids"][0, at + 1].tolist() == [asks.level_ids[1]]


def test_a_prompt_that_ends_with_the_end_token_is_no_obstacle():
    template = "{% for m in messages %}{{ m.content[-1].text }}<|im_end|>{% endfor %}"
    answer = prompter("qwen2_vl", template=template).score_answer(1)
    assert answer.text == f"{QUESTION}<|im_end|>{ANSWER}<|im_end|>"


@pytest.mark.parametrize("name", ["qwen2_vl", "llava", "gemma3", "paligemma", "mistral3"])
class TestLevelWords:
    def test_the_level_token_is_the_one_in_the_sentence(self, name):
        """Not the one of the word alone, which many tokenizers write without its space."""
        asks = prompter(name)
        tokenizer = asks.processor.tokenizer
        for level, word in enumerate(LevelScale().names):
            answer = asks.score_answer(level)
            assert answer.ids[answer.level] == asks.level_ids[level]
            behind = tokenizer.decode(list(answer.ids[answer.level :]))
            assert behind.lstrip().startswith(f"{word}.")
        alone = tokenizer("good", add_special_tokens=False)["input_ids"][0]
        assert name == "llava" or alone != asks.level_ids[1]  # LLaMA's puts a space before every text

    def test_words_that_begin_alike_are_told_apart_by_the_first_token_that_differs(self, name):
        asks = prompter(name, LevelScale(names=("zz top", "zz poor"), values=(2.0, 1.0)))
        first, second = asks.score_answer(0), asks.score_answer(1)
        assert first.ids[: first.level] == second.ids[: second.level]
        assert (first.ids[first.level], second.ids[second.level]) == asks.level_ids
        assert "zz" in asks.processor.tokenizer.decode(list(first.ids[: first.level]))

    def test_words_that_no_one_token_tells_apart_are_an_error(self, name):
        scale = LevelScale(names=("zz top", "zz poor", "good"), values=(3.0, 2.0, 1.0))
        with pytest.raises(ArtQuantError, match="does not tell the level words apart by one token") as raised:
            prompter(name, scale)
        assert "\n" not in str(raised.value)


def test_a_longer_neighbour_in_training_changes_nothing_for_paligemma():
    """Its padding carries the prompt's token type, and its mask sees the prompt in both directions."""
    model, processor = family("paligemma")
    asks = Prompter(processor, PromptSpec(), LevelScale())
    texts = [asks.score_answer(1).text, asks.describe_answer(DESCRIPTION).text]
    images = pictures(2)
    with torch.inference_mode():
        both = model(**asks.inputs(texts, images)).logits[0]
        alone = model(**asks.inputs(texts[:1], images[:1])).logits[0]
    torch.testing.assert_close(both[: len(alone)], alone, atol=1e-5, rtol=0)


def test_chats_of_several_turns_and_of_text_alone():
    processor = family("qwen2_vl")[1]
    turns = [*USER, {"role": "assistant", "content": [{"type": "text", "text": "Good."}]}, USER[0]]
    text = render_chat(processor, turns, add_generation_prompt=True)
    inputs = chat_inputs(processor, [text], [pictures(2)])
    assert inputs["image_grid_thw"].shape == (2, 3)
    alone = [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    inputs = chat_inputs(processor, [render_chat(processor, alone, add_generation_prompt=True)], [[]])
    assert "pixel_values" not in inputs
