import pytest

from artquant_plugin.prompting.descriptions import read_description
from artquant_plugin.prompting.questions import join_description

LEVELS = {"perception": "Warm reds.", "cognition": "A harbour.", "emotion": "Calm."}


@pytest.mark.parametrize(
    "text",
    [
        join_description(LEVELS),
        "Perception: Warm reds. Cognition: A harbour. Emotion: Calm.",
        "**Perception:** Warm reds.\n\n**Cognition:** A harbour.\n\n**Emotion:** Calm.",
        "## Perception\nWarm reds.\n## Cognition\nA harbour.\n## Emotion\nCalm.",
        "1. Perceptual level: Warm reds.\n2. Cognitive level: A harbour.\n3. Emotional level: Calm.",
        "- *Perception* — Warm reds.\n- *Cognition* — A harbour.\n- *Emotion* — Calm.",
        "EMOTION: Calm.\nCOGNITION: A harbour.\nPERCEPTION: Warm reds.",
        "Here is what I see.\nPerception: Warm reds.\nCognition: A harbour.\nEmotion: Calm.",
    ],
)
def test_the_levels_are_found_however_a_model_sets_their_headings(text):
    description = read_description(text)
    assert description.levels == LEVELS
    assert description.complete
    assert description.text == text


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("A calm harbour in warm reds; our perception of it changes.", {}),
        ("Perception: Warm reds.\nEmotion:", {"perception": "Warm reds."}),
        ("Emotion: Calm.\nEmotion: Sad.", {"emotion": "Calm."}),
        ("", {}),
    ],
)
def test_what_is_not_there_is_not_made_up(text, levels):
    description = read_description(text)
    assert description.levels == levels
    assert not description.complete
