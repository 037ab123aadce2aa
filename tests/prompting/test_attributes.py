"""Attributes of a painting: how they are asked for, what a scoring file keeps of them, and which are chosen."""

import json

import pytest

from artquant_plugin.checkpoint import ScoringSpec
from artquant_plugin.checkpoint.presets import choose_scoring
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.importers.apdd import ATTRIBUTES
from artquant_plugin.prompting.attributes import AttributeSpec, attribute_spec, chosen_attributes
from artquant_plugin.prompting.levels import LEVEL_VALUES, LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec
from tests.backbones.families import family
from tests.tiny import pictures, tiny_llava

SPECS = (attribute_spec("Color", LEVEL_VALUES), attribute_spec("The sense of order", (9, 7, 5, 3, 2)))


def test_each_attribute_of_apdd_is_asked_for_in_words_of_its_own():
    made = [attribute_spec(name, LEVEL_VALUES) for name in ATTRIBUTES]
    assert made[4].question == "How would you rate the sense of order of this painting?"
    assert made[8].answer_prefix == "The overall impression of the painting is"
    assert len({each.question for each in made}) == len({each.answer_prefix for each in made}) == 10


def test_a_scoring_file_keeps_them_and_has_a_version_that_older_releases_refuse(tmp_path):
    spec = ScoringSpec(attributes=SPECS)
    spec.save(tmp_path)
    content = json.loads((tmp_path / "artquant.json").read_text())
    assert content["form_version"] == 2
    assert content["attributes"]["The sense of order"] == {
        "question": "How would you rate the sense of order of this painting?",
        "answer_prefix": "The sense of order of the painting is",
        "values": [9, 7, 5, 3, 2],
    }
    assert ScoringSpec.load(tmp_path) == spec
    assert ScoringSpec().content["form_version"] == 1 and "attributes" not in ScoringSpec().content


def test_a_users_yaml_file_may_name_attributes(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(ScoringSpec(attributes=SPECS).content))
    assert choose_scoring(str(file), "x", None).attributes == SPECS


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ([], r"attributes is \[\], not an object"),
        ({"Color": {"question": "?"}}, r"attribute 'Color' is .*; it needs question, answer_prefix, values"),
        (
            {"Color": {"question": "?", "answer_prefix": "x", "values": [2, 1]}},
            "attribute 'Color': 5 level names",
        ),
        ({"A, B": {"question": "?", "answer_prefix": "x", "values": [5, 4, 3, 2, 1]}}, "'A, B' has a comma"),
        ({"Color": {"question": 7, "answer_prefix": "x", "values": [5, 4, 3, 2, 1]}}, "is 7, which is no text"),
    ],
)
def test_a_broken_attribute_is_one_line_that_names_the_file(attributes, message, tmp_path):
    content = ScoringSpec().content | {"form_version": 2, "attributes": attributes}
    (tmp_path / "artquant.json").write_text(json.dumps(content))
    with pytest.raises(ArtQuantError, match=message) as raised:
        ScoringSpec.load(tmp_path)
    assert "artquant.json" in str(raised.value) and "\n" not in str(raised.value)


def test_all_of_them_some_or_none_are_chosen():
    assert chosen_attributes(False, SPECS, "x") == chosen_attributes((), SPECS, "x") == ()
    assert chosen_attributes(True, SPECS, "x") == SPECS
    assert chosen_attributes(["The sense of order", "Color"], SPECS, "x") == SPECS[::-1]


@pytest.mark.parametrize(
    ("wanted", "known", "message"),
    [
        (["Colour"], SPECS, "checkpoint 'x' has no attribute 'Colour'; did you mean 'Color'?"),
        (["Taste"], SPECS, "has no attribute 'Taste'; it has Color, The sense of order"),
        (["Color", "Color"], SPECS, "attribute 'Color' is asked for twice"),
        (True, (), "checkpoint 'x' has no attributes, since it was trained on total scores alone"),
    ],
)
def test_what_a_checkpoint_does_not_have_is_one_line(wanted, known, message):
    with pytest.raises(ArtQuantError) as raised:
        chosen_attributes(wanted, known, "x")
    assert message in str(raised.value)


@pytest.mark.parametrize("image_first", [True, False])
def test_a_question_stands_behind_the_image_and_all_before_it_is_shared(image_first):
    processor = family("mplug_owl2")[1] if not image_first else tiny_llava()[1]
    prompter = Prompter(processor, PromptSpec(image_first=image_first), LevelScale(), SPECS)
    texts = [prompter.score_request.text, prompter.attribute_request("Color").text]
    rows = [prompter.inputs([text], pictures(1))["input_ids"][0].tolist() for text in texts]
    last = max(place for place, token in enumerate(rows[0]) if token == processor.image_token_id)
    assert rows[0][: last + 1] == rows[1][: last + 1]
    assert texts[1].endswith("The color of the painting is excellent." + texts[0].partition("is excellent.")[2])


def test_level_words_that_are_split_otherwise_behind_a_prefix_are_an_error(monkeypatch):
    from artquant_plugin.prompting import prompter

    found = iter([(0, (1, 2, 3, 4, 5)), (0, (1, 2, 3, 4, 6))])
    monkeypatch.setattr(prompter, "_first_difference", lambda *_: next(found))
    odd = (AttributeSpec("Color", "?", "It is", LEVEL_VALUES),)
    with pytest.raises(ArtQuantError, match="choose another answer prefix for attribute 'Color'"):
        Prompter(tiny_llava()[1], PromptSpec(), LevelScale(), odd)
