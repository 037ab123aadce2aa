"""JSON values in files and in prose."""

import json

import pytest

from artquant_plugin.common.json_text import json_values, only_object


def values(text, strict):
    return [value for _, value in json_values(text, strict=strict)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n", []),
        ('{"a": 1}', [{"a": 1}]),
        ('{"a": 1}{"a": 2}', [{"a": 1}, {"a": 2}]),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ('{"a": 1},\r\n{"a": 2},\r\n', [{"a": 1}, {"a": 2}]),
        ('[{"a": 1}, [2], "x"]', [{"a": 1}, [2], "x"]),
        ("[]", []),
        ("[1][2]", [1, 2]),
        ("true", [True]),
    ],
)
def test_a_file_may_be_a_list_or_values_behind_each_other(text, expected):
    assert values(text, strict=True) == expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1} prose', 9),
        ('{"a": 1', 7),
        ("[1 2]", 3),
        ("[1, 2", 5),
        ("[,1]", 1),
        ("1]", 1),
        ('{"a": ' * 100_000, 0),
        ("[1, " + "9" * 10_000 + "]", 4),
    ],
)
def test_a_file_that_is_not_json_is_refused_at_its_place(text, place):
    with pytest.raises(json.JSONDecodeError) as caught:
        values(text, strict=True)
    assert caught.value.pos == place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("no JSON, {braces} only", []),
        ('```json\n{"a": 1}\n```', [{"a": 1}]),
        ('first {"a": 1}, then {"a": {"b": 2}}.', [{"a": 1}, {"a": {"b": 2}}]),
        ('cut off: {"a": {"b": 2}, "c": ', [{"b": 2}]),
        ("[1, 2] and 3", []),
        ("{" * 10_000, []),
    ],
)
def test_in_prose_the_outermost_objects_are_found(text, expected):
    assert values(text, strict=False) == expected


def test_places_are_those_of_the_first_characters():
    assert [place for place, _ in json_values('[\n{"a": 1},\n 2]', strict=True)] == [2, 13]
    assert [place for place, _ in json_values('a {"a": 1} {"b": 2}', strict=False)] == [2, 11]


@pytest.mark.parametrize("text", ["", "1", "[]", '[{"a": 1}]', '{"a": 1}{"b": 2}', '{"a": 1},', '{"a": 1} x', "{"])
def test_a_text_that_is_more_or_less_than_one_object_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        only_object(text)


def test_one_object_may_have_blanks_around_it():
    assert only_object('\n {"a": {"b": 1}} ') == {"a": {"b": 1}}
