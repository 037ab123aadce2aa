"""Every rule and every exclusion of the tables, by its own examples."""

import pytest

from artquant_plugin.replies.exclusions import EXCLUSIONS
from artquant_plugin.replies.numbers import find_english_numbers, find_numbers, number_value, top_value
from artquant_plugin.replies.rules import RULES, rules_for
from artquant_plugin.replies.statements import find_statements

FINDERS = {"reply": find_numbers, "description": find_english_numbers}
RULE_EXAMPLES = [
    pytest.param(rule, reader, text, value, id=f"{reader}: {text}")
    for rule in RULES
    for reader in rule.readers
    for text, value in rule.examples.items()
]
RULE_COUNTEREXAMPLES = [
    pytest.param(rule, reader, text, id=f"{reader}: {text}")
    for rule in RULES
    for reader in rule.readers
    for text in rule.counterexamples
]


def found(text, reader, rules):
    return list(find_statements(text, FINDERS[reader](text), rules, dataset_high=10.0))


@pytest.mark.parametrize(("rule", "reader", "text", "value"), RULE_EXAMPLES)
def test_a_rule_finds_its_examples(rule, reader, text, value):
    statements = found(text, reader, [rule])
    assert statements, f"{rule.name} finds nothing"
    assert number_value(max(statements, key=lambda each: each.number.start).number.value) == value


@pytest.mark.parametrize(("rule", "reader", "text"), RULE_COUNTEREXAMPLES)
def test_a_rule_finds_nothing_in_its_counterexamples(rule, reader, text):
    assert not found(text, reader, [rule])


@pytest.mark.parametrize(
    ("exclusion", "text"), [pytest.param(each, text, id=text) for each in EXCLUSIONS for text in each.examples]
)
def test_an_exclusion_holds_for_its_examples(exclusion, text):
    for reader in exclusion.readers:
        statements = found(text, reader, rules_for(reader))
        assert statements, "no rule finds a score"
        assert all(exclusion.applies(statement) for statement in statements)


@pytest.mark.parametrize(
    ("exclusion", "text"), [pytest.param(each, text, id=text) for each in EXCLUSIONS for text in each.counterexamples]
)
def test_an_exclusion_does_not_hold_for_its_counterexamples(exclusion, text):
    for reader in exclusion.readers:
        statements = found(text, reader, rules_for(reader))
        assert statements, "no rule finds a score"
        assert not any(exclusion.applies(statement) for statement in statements)


def test_every_entry_has_a_name_of_its_own_and_examples():
    for table in (RULES, EXCLUSIONS):
        assert len({entry.name for entry in table}) == len(table)
        assert all(entry.examples and entry.counterexamples for entry in table)
    assert all(("{}" in each.detail) == (each.effect in ("malformed", "ambiguous")) for each in EXCLUSIONS)


@pytest.mark.parametrize(
    ("text", "value", "upper", "top", "unit"),
    [
        ("7", "7", None, None, None),
        ("-7,5", "-7,5", None, None, None),
        ("7/10", "7", None, "10", None),
        ("7.5/10.0", "7.5", None, "10", None),
        ("7 out of 10", "7", None, "10", None),
        ("7,5 von 10", "7,5", None, "10", None),
        ("7-8 / 10", "7", "8", "10", None),
        ("7 bis 8", "7", "8", None, None),
        ("68 %", "68", None, None, "%"),
        ("8 points", "8", None, None, "points"),
        ("8 pts/10", "8", None, "10", "pts"),
        ("4 stars", "4", None, None, "stars"),
        ("7.5分", "7.5", None, None, "分"),
        ("٧٫٥".replace("٫", "."), "٧.٥", None, None, None),
    ],
)
def test_a_number_has_its_unit_and_scale(text, value, upper, top, unit):
    (number,) = find_numbers(text)
    assert (number.value, number.upper, number.top, number.unit) == (value, upper, top, unit)
    assert (number.start, number.end) == (0, len(text))


@pytest.mark.parametrize("text", ["", "19th", "3-part", "7.5.3", "10/10/1889", "x/3", "seventy", "one"])
def test_parts_of_words_and_dates_are_no_numbers(text):
    assert not find_numbers(text)


@pytest.mark.parametrize(
    ("text", "value", "top"),
    [
        ("seven", "7", None),
        ("six point eight", "6.8", None),
        ("six point eight three", "6.83", None),
        ("7-out-of-10", "7", 10.0),
        ("seven out of ten", "7", 10.0),
        ("68 out of a hundred", "68", 100.0),
        ("83rd", "83", None),
        ("6,8", "6,8", None),
    ],
)
def test_an_english_number_may_be_in_words(text, value, top):
    (number,) = find_english_numbers(text)
    assert number.value == value
    assert (None if number.top is None else top_value(number.top)) == top


@pytest.mark.parametrize("text", ["1907", "6.8.1", "seventy", "1860s", "b3"])
def test_years_versions_and_parts_of_words_are_no_english_numbers(text):
    assert not find_english_numbers(text)
