"""Chat templates that are code of somebody else: whatever they do, it is one line, and they end."""

import copy
import sys
import threading
import time

import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting import chat
from artquant_plugin.prompting.chat import render_chat
from artquant_plugin.prompting.time_limit import TooLong, time_limit
from tests.tiny import tiny_llava

ASK = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How good?"}]}]
LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def render(template) -> str:
    processor = copy.copy(tiny_llava()[1])
    processor.chat_template = template
    return render_chat(processor, ASK, add_generation_prompt=True)


ENDLESS = [
    LOOP,
    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% set ns = namespace(n=0) %}{% for i in range(99999) recursive %}{% set ns.n = ns.n + 1 %}"
    "{{ loop(range(99999)) if loop.depth < 20 }}{% endfor %}",
    "{% for m in messages %}" + LOOP + "{{ m.role }}{% endfor %}",
]


@pytest.mark.parametrize("template", ENDLESS)
def test_a_template_that_loops_is_stopped(template, monkeypatch):
    monkeypatch.setattr(chat, "LONGEST_RENDERING", 0.3)
    started = time.process_time()
    with pytest.raises(ArtQuantError, match=r"does not come to an end \(it has not ended after 0.3 s\); use another"):
        render(template)
    assert time.process_time() - started < 10  # of this process: a busy machine takes longer


def test_a_template_that_loops_is_stopped_on_another_thread_too(monkeypatch):
    monkeypatch.setattr(chat, "LONGEST_RENDERING", 0.3)
    told = []

    def run() -> None:
        try:
            render(LOOP)
        except ArtQuantError as error:
            told.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert told and "does not come to an end" in told[0]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ 10 ** 10 ** 9 }}", r"computes powers \(\*\*\), which may take for ever"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "refuses the conversation .*recursion"),
        ("{{ 1 / 0 }}", r"refuses the conversation \(division by zero\); use another template"),
        ("{{ range(10000000) | list }}", "refuses the conversation .*too big"),
        ("{{ messages[5].content.text }}", "refuses the conversation "),
        ("{{ messages + 1 }}", "refuses the conversation "),
        ("{{ raise_exception('no pictures\nhere') }}", r"refuses the conversation \(no pictures here\)"),
        ("{% for i in", "refuses the conversation "),
        ("{{" + "(" * 3000 + "1" + ")" * 3000 + "}}", "refuses the conversation "),
        ("{{ 'a' * 99999999 }}", "makes 99,999,999 characters of a conversation, more than 4,000,000"),
        ("{{ 'a' * 99999999999999 }}", "asks for more memory than there is"),
        ("{{ ''.__class__.__mro__ }}", "refuses the conversation "),
    ],
)
def test_whatever_a_template_does_is_one_line(template, message):
    with pytest.raises(ArtQuantError, match=message) as told:
        render(template)
    assert str(told.value).isprintable() and len(str(told.value)) < 500


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{% if enable_thinking is defined and not enable_thinking %}off{% else %}on{% endif %}", "off"),
        ("{{ 'off' if thinking is defined and not thinking else 'on' }}", "off"),
        ("enable_thinking {{ 'enable_thinking' }} a ** b {{ '**' }}", "enable_thinking enable_thinking a ** b **"),
    ],
)
def test_the_thinking_mode_is_found_in_a_template_s_code_alone(template, rendered):
    assert render(template) == rendered


def test_names_in_a_large_template_are_found_at_once():
    started = time.process_time()
    with pytest.raises(ArtQuantError, match="refuses the conversation"):
        render("{{" * 200_000)
    assert time.process_time() - started < 10  # of this process: a busy machine takes longer


def test_a_time_limit_leaves_a_tracer_as_it_was():
    seen = []

    def tracer(frame, event, argument):
        seen.append(frame.f_code.co_name)

    def traced() -> None:
        pass

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        with time_limit(10.0, followed="<template>"):
            pass
        traced()
        with pytest.raises(TooLong), time_limit(1e-9, followed="<template>"):
            traced()
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
    assert "traced" in seen
