"""A reply's text before it is read: texts about failures, thinking, words that are struck out, LaTeX and emphasis."""

import html
import re

from artquant_plugin.replies.turns import cut_at_tokens, cut_at_words

# lmms-eval 0.7.3 returns a request that failed as text (models/chat/openai.py, async_openai.py, gemini.py). The second
# form is what async_openai makes of an answer without content (`all_response += last_response` on None).
_FAILURE = re.compile(r"\[LMMS_EVAL_[A-Z_]+|\AError: can only concatenate str \(not ")

_TAGS = r"think|thinking|thought|thoughts|reasoning|reason|reflection|seed:think"
_THINKING = (
    re.compile(rf"<(?P<tag>{_TAGS})>.*?(?:</(?P=tag)>|\Z)", re.DOTALL | re.IGNORECASE),
    re.compile(r"◁think▷.*?(?:◁/think▷|\Z)", re.DOTALL),
    re.compile(r"\[THINK\].*?(?:\[/THINK\]|\Z)", re.DOTALL),
    re.compile(r"<\|channel\|>(?!final\b).*?(?:(?=<\|channel\|>final\b)|\Z)", re.DOTALL),
    re.compile(r"<\|channel>\s*thought\b.*?(?:<channel\|>|\Z)", re.DOTALL),
    # The channels of gpt-oss where the decoder has left out the tokens around their names.
    re.compile(r"\Aanalysis.*?assistant(?:commentary.*?assistant)?final", re.DOTALL),
)
# A chat template may open the thinking block in the prompt, so that the reply holds only the end of the block.
_THINKING_ENDS = re.compile(rf"\A.*(?:</(?:{_TAGS})>|◁/think▷|\[/THINK\])", re.DOTALL | re.IGNORECASE)

# Full-width forms of ASCII, which East Asian text uses, and signs that mean the same as an ASCII sign.
_TO_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord(sign): ascii_sign
    for sign, ascii_sign in {"−": "-", "٫": ".", "٪": "%", "⁄": "/", "\u00a0": " ", "\u202f": " "}.items()
}
_FRACTIONS = {"½": ".5", "¼": ".25", "¾": ".75"}
_HALF = re.compile(r"(?<=\d) (?:1/2(?![\d/])|(?:and a half|einhalb|et demie?|y medi[oa]|e mezzo)\b)", re.IGNORECASE)
_PRODUCT_SIGN = re.compile(r"(?<=\d) ?\* ?(?=\d)")  # a star between digits means a product; other stars mark emphasis
_MARKUP = re.compile(
    r"</?(?:b|strong|i|em|u|p|br|span|div|h[1-6]|ins|mark|output|response|final|value|code|pre|font|center|small|big|li|ul|ol)\b[^<>\n]{0,200}>"
    r"|[*`]+|(?<![^\W_])_+|_+(?![^\W_])|^[^\S\n]*#{1,3}(?=[^\S\n])",
    re.IGNORECASE | re.MULTILINE,
)
# Characters without a width of their own, and those that a keycap is made of.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufe0e\ufe0f\ufeff\u20e3]")
_STRUCK_OUT = re.compile(
    r"~~[^~\n]{1,300}~~|(?<![~\w])~(?=\S)[^~\n]{1,40}(?<=\S)~(?![~\w])"
    r"|<(?P<tag>del|s|strike)\b[^<>\n]{0,200}>.{0,300}?</(?P=tag)>"
    r"|\\(?:sout|st|x?cancel|bcancel|hcancel)\{[^{}\n]{1,300}\}|(?:[^\n][\u0335-\u0338])+",
    re.IGNORECASE | re.DOTALL,
)
# LaTeX that stands around numbers. The first entries unwrap text that the later entries then read.
_LATEX = (
    (
        re.compile(
            r"\\(?:text|mathrm|mathbf|mathit|mathsf|textbf|textit|mbox|bf|emph|operatorname)\{([^{}\n]{0,100})\}"
        ),
        r"\1",
    ),
    (re.compile(r"\\boxed\{([^{}\d\n]{1,30})\}"), r"\1"),
    (re.compile(r"(?<![\w}])\{(\d[\d.,/ ]{0,20})\}"), r"\1"),
    (re.compile(r"\\[,;:!]|\\ |\\q?quad\b|(?<=\d)\\?~(?=/)"), " "),
    (re.compile(r"(?<=\d)\{([.,])\}(?=\d)"), r"\1"),
    (re.compile(r"\\[dt]?frac\s*\{\s*([^{}\n]{1,20}?)\s*\}\s*\{\s*([^{}\n]{1,20}?)\s*\}"), r"\1/\2"),
    (re.compile(r"\\(?:left|right|displaystyle)\b"), ""),
    (re.compile(r"\\(?:approx|simeq)\b"), "≈"),
    (re.compile(r"\\sim\b"), "~"),
    (re.compile(r"\\(?:times|cdot)\b"), "×"),
    (re.compile(r"\\(?:to|rightarrow|Rightarrow|implies)\b"), "→"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\[()\[\]]"), " "),
    (re.compile(r"\${1,2}(?=[^\s$])([^$\n]{1,60}?)(?<=[^\s$])\${1,2}(?!\d)"), r"\1"),
)
# Stars that are drawn, of five or ten in all: "★★★★☆" is 4/5.
_DRAWN_STARS = re.compile(r"(?<![★☆⭐])(?=[★☆⭐])([★⭐]{0,10})(☆{0,10})(?![★☆⭐])")


def request_failed(text: str) -> bool:
    """Whether a reply is a text that lmms-eval puts in the place of an answer that it could not get.

    Args:
        text: the reply as the harness passes it on. The text about the failure may stand anywhere in it.
    """
    return _FAILURE.search(text) is not None


def without_marked_thinking(text: str) -> str:
    """A reply without the thinking whose beginning is marked."""
    for block in _THINKING:
        text = block.sub("", text)
    return text.strip()


def without_unmarked_thinking(text: str) -> str:
    """A reply without the thinking of which only the end is marked."""
    return _THINKING_ENDS.sub("", text).strip()


def first_answer(text: str) -> str:
    r"""The answer of a reply: the model's first turn, without thinking and without the tokens of a chat format.

    Args:
        text: the reply. It may begin with the prompt, and go on with turns that the model made up. Thinking may be
            marked as ``<think>``, ``[THINK]``, ``◁think▷`` or as a channel of gpt-oss; where it never ends, nothing of
            the reply is left.

    Returns:
        The answer, without blanks around it; empty where the reply has none.

    Example:
        >>> first_answer("<think>A 6?</think>7.5<|im_end|>\n<|im_start|>user\nAnd this?<|im_end|> 4")
        '7.5'
    """
    # The order matters. Marked thinking goes first, since it may quote tokens of a turn. Thinking with only its end
    # marked goes after the cut at tokens, since that end may belong to a later turn, and before the cut at words,
    # since it may quote a user's words.
    return cut_at_words(without_unmarked_thinking(cut_at_tokens(without_marked_thinking(text))))


def without_struck_out(text: str) -> str:
    """A text without the words that are struck out in Markdown, in HTML, in LaTeX or by combining characters."""
    return _STRUCK_OUT.sub(" ", text)


def plain(text: str) -> str:
    """A text in half-width characters, without LaTeX, without what is struck out and without marks of emphasis.

    Blanks and line ends stand alone, so that one pattern reads all spellings, and long runs of blanks cost it nothing.
    Typographic quotes become plain ones, halves and quarters become decimals, and drawn stars a fraction.

    Example:
        >>> plain("**Score：**  ~~８~~ $７½$")
        'Score: 7.5'
    """
    text = html.unescape(text)
    text = without_struck_out(_INVISIBLE.sub("", text))
    text = re.sub("[“”„«»]", '"', text.translate(_TO_ASCII).replace("’", "'"))
    if "\\" in text or "$" in text:
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    text = re.sub(r"(?<=\d) ?[½¼¾]", lambda match: _FRACTIONS[match[0].strip()], text)
    text = _DRAWN_STARS.sub(_counted_stars, text)
    text = _MARKUP.sub("", _PRODUCT_SIGN.sub("×", _HALF.sub(".5", text)))
    return re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", text))


def _counted_stars(drawn: re.Match[str]) -> str:
    full, total = len(drawn[1]), len(drawn[0])
    return f"{full}/{total}" if total in (5, 10) and drawn[2] else drawn[0]
