import pytest
import torch

from artquant_plugin.backbones.interface import check_token_logits
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec, level_positions, render_chat, until_level
from tests.tiny import pictures, tiny_llava


@pytest.fixture(scope="module")
def prompter() -> Prompter:
    return Prompter(tiny_llava()[1], PromptSpec(), LevelScale())


def test_an_answer_is_the_assistants_turn_alone(prompter):
    answer = prompter.score_answer(1)
    decoded = prompter.processor.tokenizer.decode(answer.ids)
    assert decoded == "The quality of the painting is good.<end>"
    assert answer.text == (
        "<user><image>How would you rate the quality of this painting?<assistant>"
        "The quality of the painting is good.<end>"
    )
    assert prompter.processor.tokenizer.decode(answer.ids[answer.level]) == " good"


def test_the_scored_position_is_the_trained_position(prompter):
    """What precedes the level is the same ids in every answer that is trained and in the request that is scored."""
    image = pictures(1)[0]
    request = prompter.score_request
    scored = until_level(
        inputs := prompter.inputs([request.text], [image]), level_positions(inputs["attention_mask"], [request])
    )["input_ids"][0].tolist()
    for level in range(5):
        answer = prompter.score_answer(level)
        trained = prompter.inputs([answer.text], [image])["input_ids"][0].tolist()
        at = len(trained) - len(answer.ids) + answer.level
        assert trained[:at] == scored
        assert trained[at] == prompter.level_ids[level]


def test_positions_follow_the_right_padding(prompter):
    short, long = prompter.score_answer(1), prompter.describe_answer("Perception: warm reds. " * 4)
    mask = prompter.inputs([short.text, long.text], pictures(2))["attention_mask"]
    assert mask[0, -1] == 0
    assert level_positions(mask[:1], [short]).item() == int(mask[0].sum()) - len(short.ids) + short.level - 1


def test_the_image_may_stand_behind_the_question():
    prompter = Prompter(tiny_llava()[1], PromptSpec(image_first=False), LevelScale())
    assert prompter.score_request.text.startswith("<user>How would you rate the quality of this painting?<image>")


def test_level_words_that_share_their_first_piece_are_told_apart_behind_it():
    scale = LevelScale(names=("zz top", "zz poor"), values=(2.0, 1.0))
    prompter = Prompter(tiny_llava()[1], PromptSpec(), scale)
    ids = [prompter.score_answer(level).ids for level in (0, 1)]
    index = prompter.score_answer(0).level
    assert ids[0][:index] == ids[1][:index]
    assert index > len(prompter.processor.tokenizer("The quality of the painting is")["input_ids"])
    assert (ids[0][index], ids[1][index]) == prompter.level_ids


def test_level_words_that_cannot_be_told_apart_are_an_error():
    # Two of three words part at the second piece, the third at the first: no one token tells all three.
    scale = LevelScale(names=("zz top", "zz poor", "good"), values=(3.0, 2.0, 1.0))
    with pytest.raises(ArtQuantError, match="does not tell the level words apart by one token"):
        Prompter(tiny_llava()[1], PromptSpec(), scale)


def test_a_thinking_mode_is_switched_off():
    class Processor:
        chat_template = "{{ enable_thinking }}"

        def apply_chat_template(self, messages, **options):
            return str(options["enable_thinking"])

    assert render_chat(Processor(), [], add_generation_prompt=True) == "False"


def test_a_processor_without_template_is_an_error():
    class Processor:
        chat_template = None

    with pytest.raises(ArtQuantError, match="no chat template"):
        Prompter(Processor(), PromptSpec(), LevelScale())


def test_level_logits_equal_the_models_own(prompter):
    request = prompter.score_request
    inputs = prompter.inputs([request.text] * 2, pictures(2))
    inputs = until_level(inputs, level_positions(inputs["attention_mask"], [request] * 2))
    difference = check_token_logits(tiny_llava()[0].eval(), inputs, torch.tensor(prompter.level_ids))
    assert difference <= 1e-6


def test_what_belongs_to_tokens_is_cut_and_what_belongs_to_images_is_not():
    inputs = {
        "input_ids": torch.zeros(2, 9),
        "token_type_ids": torch.zeros(2, 9),
        "cross_attention_mask": torch.zeros(2, 9, 1, 4),
        "pixel_values": torch.zeros(2, 9, 12),  # as many patches as tokens, by chance
        "image_position_ids": torch.zeros(2, 9, 2),
        "image_sizes": torch.zeros(2, 2),
    }
    cut = until_level(inputs, torch.tensor([3, 5]))
    assert {name: value.shape[1] for name, value in cut.items()} == {
        "input_ids": 6,
        "token_type_ids": 6,
        "cross_attention_mask": 6,
        "pixel_values": 9,
        "image_position_ids": 9,
        "image_sizes": 2,
    }
