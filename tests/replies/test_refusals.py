"""Every entry of the table of refusals, by its own examples."""

import pytest

from artquant_plugin.replies.refusals import REFUSALS, UNSEEN, opens_with_refusal, refuses, sees_no_painting

EXAMPLES = [(refusal, text) for refusal in REFUSALS for text in refusal.examples]
COUNTEREXAMPLES = [(refusal, text) for refusal in REFUSALS for text in refusal.counterexamples]


@pytest.mark.parametrize(("refusal", "text"), EXAMPLES, ids=[text for _, text in EXAMPLES])
def test_an_example_refuses(refusal, text):
    assert refusal.pattern.search(text.replace("’", "'"))
    if not refusal.opening_only:
        assert refuses(text)


@pytest.mark.parametrize(("refusal", "text"), COUNTEREXAMPLES, ids=[text for _, text in COUNTEREXAMPLES])
def test_a_counterexample_does_not_refuse(refusal, text):
    assert not refuses(text)
    assert not opens_with_refusal(text)


def test_every_entry_has_examples():
    assert all(refusal.examples and refusal.counterexamples for refusal in REFUSALS)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "“I’m sorry.”",
        "Im sorry.",
        "Sorry, no.",
        "I apologise, but no.",
        "Unfortunately, no.",
        "As an AI, I have no eyes.",
        "I can’t.",
        "I cannot describe nudity.",
        "I am unable to.",
        "I'm not able to.",
        "I won't.",
        "抱歉，我无法描述。",
    ],
)
def test_a_refusal_opens_a_text(text):
    assert opens_with_refusal(text)


@pytest.mark.parametrize("text", ["", "A man who cannot swim.", "Perception: no image of calm.", "It is sorry work."])
def test_the_same_words_in_the_middle_open_nothing(text):
    assert not opens_with_refusal(text)


@pytest.mark.parametrize("text", UNSEEN.examples)
def test_a_painting_that_was_not_seen_is_told(text):
    assert sees_no_painting(text)


@pytest.mark.parametrize("text", UNSEEN.counterexamples)
def test_what_a_painting_does_not_show_is_not_told_as_unseen(text):
    assert not sees_no_painting(text)
