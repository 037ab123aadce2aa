"""The level word that a reply gives as its answer, and not somewhere in a sentence."""

import re
from collections.abc import Mapping

from artquant_plugin.replies import vocabulary as words
from artquant_plugin.replies.exclusion_conditions import introduces_something_else
from artquant_plugin.replies.reply import ParsedReply, within
from artquant_plugin.replies.statements import WORD_END, WORD_START

_EDGES = " \t\n.,;:!\"'()[]<>|-–—"
_SUBJECT = (
    r"(?:quality|rating|rated?|level|score|grade|answer|verdict|overall|category|assessment|painting|artwork|image"
    r"|picture|work|piece|it|this)"
)

_LABEL = rf"\b{_SUBJECT}\b[\"'\s]*[:=|][\"'\s]*"
# A level word is no answer where a noun follows it ("good balance" is not about the whole painting) or where the next
# word goes on to another level ("good, then bad").
_WORD_ENDS = r"\b(?![^\S\n]+[a-z])(?!\s*,?\s*(?:then|but|or|and|to|now|→|->)[^\W_]*\b)"
_FINAL = re.compile(rf"{WORD_START}(?:{words.FINAL}){WORD_END}|{words.FINAL_CJK}", re.IGNORECASE)


def read_level(text: str, score_range: tuple[float, float], level_values: Mapping[str, float]) -> ParsedReply | None:
    """The score of the level word that a reply gives as its answer.

    A level word is the answer where the reply consists of it, where it is the first or the last sentence by itself,
    where a label announces it ("Level: good"), or where the last sentence says that the painting is so ("The quality
    is good."). A reply with level words only elsewhere ("good balance", "a fair question") is ambiguous, and so is one
    that gives two different answers.

    Args:
        text: the reply, as `artquant_plugin.replies.text.plain` has simplified it.
        score_range: lowest and highest score of the dataset.
        level_values: the score of each level word.

    Returns:
        The score of the word, out of range where it lies outside `score_range`, or ambiguous. None where the reply has
        no level word, or where `level_values` is empty.
    """
    if not level_values:
        return None
    word = rf"(?P<word>{'|'.join(re.escape(name) for name in level_values)})"
    present = sorted({match["word"].lower() for match in re.finditer(rf"\b{word}\b", text, re.IGNORECASE)})
    if not present:
        return None
    names = {name.lower(): name for name in level_values}
    stated = _stated(text, word)
    if len(stated) != 1:
        return ParsedReply(reason="ambiguous", detail=f"level words in prose: {', '.join(present)}")
    return within(float(level_values[names[stated.pop()]]), score_range, "level")


def _stated(text: str, word: str) -> set[str]:
    """The level words that the reply gives as its answer, as `read_level` defines it, in lower case.

    Args:
        text: the reply, as `artquant_plugin.replies.text.plain` has simplified it.
        word: a pattern for any level word, as a group named `word`.
    """
    labelled = [
        (
            match["word"].lower(),
            _FINAL.search(f"{text[max(0, match.start() - 20) : match.start()]}{match[0]}") is not None,
        )
        for match in re.finditer(_LABEL + word + _WORD_ENDS, text, re.IGNORECASE)
        if not introduces_something_else(text[max(0, match.start() - 80) : match.start()])
    ]
    if labelled:
        return {level for level, final in labelled if final} or {level for level, _ in labelled}
    if re.search(_LABEL + word, text, re.IGNORECASE):
        return set()
    sentences = [part for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip(_EDGES)]
    found = set()
    for sentence in (sentences[0], sentences[-1]):
        whole = re.fullmatch(word, sentence.strip(_EDGES), re.IGNORECASE)
        if whole and (len(sentences) == 1 or "!" not in sentence):  # "Excellent! Let me see" rates nothing
            found.add(whole["word"].lower())
    said = re.search(
        rf"\b{_SUBJECT}\b[^.!?]{{0,40}}\b(?:is|as|be)\s+[\"']?(?:of\s+)?{word}(?:\s+quality)?[\"')]*\s*[.!]?\s*\Z",
        sentences[-1],
        re.IGNORECASE,
    )
    if said and not re.search(r"\b(?:not|n't|hardly|never|nor|neither)\b|n't\b", said[0], re.IGNORECASE):
        found.add(said["word"].lower())
    return found
