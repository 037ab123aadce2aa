"""Which text of a painting description samples are answered with: levels, a comment, or the whole."""

from pathlib import Path

import pytest

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.data.dataset import Dataset, Painting, write_dataset
from artquant_plugin.train.config import load_config
from artquant_plugin.train.data import load_training_data
from tests.train.runs import TEXT, write_config


@pytest.fixture
def data(tmp_path) -> Path:
    """A painting with levels and a comment, one with a whole text, one with a comment alone, one with nothing."""
    rows = [
        Painting("levels", "0.png", "", 5.0, description=TEXT, comment="Nice."),
        Painting("whole", "1.png", "", 5.0, description={"text": "Restless."}),
        Painting("comment", "2.png", "", 5.0, comment="Dull."),
        Painting("bare", "3.png", "", 5.0),
    ]
    write_dataset(
        tmp_path / "data", name="d", score_range=(0, 10), splits={"train": rows}, image_root=".", source="", license=""
    )
    return tmp_path / "data"


def texts(data: Path, *overrides: str) -> dict[str, str]:
    """The answers of the description samples, by painting."""
    config = load_config(write_config(data.parent, data), overrides)
    (samples,) = load_training_data(config).samples["describe"]
    return {sample.painting_id: sample.description for sample in samples}


@pytest.mark.filterwarnings("error")
def test_without_a_choice_the_whole_description_answers(data):
    assert texts(data) == {
        "levels": "Perception: Warm reds.\nCognition: A harbour.\nEmotion: Calm.",
        "whole": "Restless.",
    }


@pytest.mark.filterwarnings("error")
def test_comments_answer_where_they_are_asked_for(data):
    assert texts(data, "descriptions=comment") == {"levels": "Nice.", "comment": "Dull."}


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        ("[perception]", "Perception: Warm reds."),
        ("[cognition, perception]", "Perception: Warm reds.\nCognition: A harbour."),
        ("[perception, cognition, emotion]", "Perception: Warm reds.\nCognition: A harbour.\nEmotion: Calm."),
    ],
)
def test_chosen_levels_stand_in_their_order_and_texts_without_levels_are_left_out_and_counted(chosen, text, data):
    with pytest.warns(ArtQuantWarning, match="1 descriptions of 'd' are whole texts without levels; they are left"):
        assert texts(data, f"descriptions={chosen}") == {"levels": text}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[]", "descriptions: .*at least 1 item"),
        ("[mood]", "descriptions.*: Input should be 'perception', 'cognition' or 'emotion', not 'mood'"),
        ("texts", "descriptions: Input should be"),
    ],
)
def test_other_choices_are_refused(value, message, data):
    with pytest.raises(ArtQuantError, match=message) as raised:
        texts(data, f"descriptions={value}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kept", "chosen", "message"),
    [
        (
            "bare",
            None,
            "data' has no descriptions; import it again with --descriptions and the files of",
        ),
        ("bare", "comment", "data' has no comments, which descriptions: comment asks for; leave that key out, or"),
        (
            "whole",
            "[emotion]",
            "data' has descriptions without levels alone, and descriptions asks for emotion;",
        ),
    ],
)
def test_a_dataset_without_the_chosen_text_is_refused_with_what_mends_it(kept, chosen, message, data):
    rows = [row for row in Dataset.load(data).split("train") if row.id == kept]
    write_dataset(data, name="d", score_range=(0, 10), splits={"train": rows}, image_root=".", source="", license="")
    with pytest.raises(ArtQuantError, match=message):
        texts(data, *([] if chosen is None else [f"descriptions={chosen}"]))
