from artquant_plugin.bulk.describe import split_description
from artquant_plugin.prompts import join_description

LEVELS = {"perception": "Warm reds: many.", "cognition": "A harbour\nwith boats.", "emotion": "Calm."}


def test_what_training_joins_is_split_again():
    assert split_description(join_description(LEVELS)) == LEVELS


def test_headings_may_be_bold_upper_case_in_one_line_and_in_any_order():
    text = "**Emotion:** Calm. PERCEPTION: Warm reds: many. __Cognition__: A harbour\nwith boats."
    assert split_description(text) == LEVELS


def test_levels_that_are_not_there_are_none():
    nothing = dict.fromkeys(LEVELS)
    assert split_description("A painting of emotion and perception.") == nothing
    assert split_description("") == nothing
    assert split_description("Perception: Warm. Perception: Cold. Emotion:") == nothing | {"perception": "Warm."}
