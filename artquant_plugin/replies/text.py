"""A reply's text before it is read: texts about failures, thinking, character widths and marks of emphasis."""

import re

# lmms-eval 0.7.3 returns a request that failed as text (models/chat/openai.py, async_openai.py, gemini.py). The second
# form is what async_openai makes of an answer without content (`all_response += last_response` on None).
_FAILURE = re.compile(r"\[LMMS_EVAL_[A-Z_]+|\AError: can only concatenate str \(not ")

_TAGS = r"think|thinking|thought|thoughts|reasoning|reason|reflection|seed:think"
_THINKING = (
    re.compile(rf"<(?P<tag>{_TAGS})>.*?(?:</(?P=tag)>|\Z)", re.DOTALL | re.IGNORECASE),
    re.compile(r"◁think▷.*?(?:◁/think▷|\Z)", re.DOTALL),
    re.compile(r"\[THINK\].*?(?:\[/THINK\]|\Z)", re.DOTALL),
    re.compile(r"<\|channel\|>(?!final\b).*?(?:(?=<\|channel\|>final\b)|\Z)", re.DOTALL),
    # Templates may open the block within the prompt, so that the reply has its end alone.
    re.compile(rf"\A.*(?:</(?:{_TAGS})>|◁/think▷|\[/THINK\])", re.DOTALL | re.IGNORECASE),
)

# Full-width forms of ASCII, which East Asian text uses; signs that other scripts have for ours.
_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord(sign): ours for sign, ours in {"−": "-", "٫": ".", "٪": "%", "⁄": "/", "\u00a0": " ", "\u202f": " "}.items()
}
_FRACTIONS = {"½": ".5", "¼": ".25", "¾": ".75"}
_HALF = re.compile(r"(?<=\d) (?:1/2(?![\d/])|(?:and a half|einhalb|et demie?|y medi[oa]|e mezzo)\b)", re.IGNORECASE)
_TIMES = re.compile(r"(?<=\d) ?\* ?(?=\d)")  # a product, where other stars are marks of emphasis
_MARKUP = re.compile(
    r"</?(?:b|strong|i|em|u|p|br|span|div|h[1-6])\b[^<>]*>|[*`]+|(?<![^\W_])_+|_+(?![^\W_])", re.IGNORECASE
)


def request_failed(text: str) -> bool:
    """Whether a reply is a text that lmms-eval puts in the place of an answer that it could not get.

    Args:
        text: the reply as the harness passes it on. The text about the failure may stand anywhere in it.
    """
    return _FAILURE.search(text) is not None


def without_thinking(text: str) -> str:
    """A reply without what the model thought before its answer.

    Args:
        text: the reply. Thinking may be marked as ``<think>``, ``[THINK]``, ``◁think▷`` or as a channel of gpt-oss.
            Where it never ends, nothing of the reply is left.

    Returns:
        The answer, without blanks around it; empty where the reply has none.

    Example:
        >>> without_thinking("<think>Perhaps a 3?</think> Score: 8")
        'Score: 8'
    """
    for block in _THINKING:
        text = block.sub("", text)
    return text.strip()


def plain(text: str) -> str:
    """A text in half-width characters, without marks of emphasis, with single spaces and single line ends.

    One pattern then reads all spellings, and long runs of blanks cost it nothing. Typographic quotes become plain
    ones, and halves and quarters become decimals.

    Example:
        >>> plain("**Score：**  ７½")
        'Score: 7.5'
    """
    text = re.sub("[“”„«»]", '"', text.translate(_WIDTH).replace("’", "'"))
    text = re.sub(r"(?<=\d) ?[½¼¾]", lambda match: _FRACTIONS[match[0].strip()], text)
    text = _MARKUP.sub("", _TIMES.sub("×", _HALF.sub(".5", text)))
    return re.sub(r"[^\S\n]+", " ", re.sub(r"\s*\n\s*", "\n", text))
