"""Taking keys, tokens and passwords out of texts, so that they get into no result, message, page or publication.

A secret is found by its value, where the caller knows it (the key that a request was sent with, which a server may
repeat anywhere in its reply), and by its form, where nobody knows the value (``Authorization: Bearer …``, a password
in an address, a token of a known kind).
"""

import base64
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

MASK = "[key]"
HIDDEN = "***"

ANYWHERE = 8  # characters from which a value is replaced wherever it stands, inside of other words, too
SHORTEST = 4  # characters below which a value is no secret

# Tokens that tell by their first characters whose they are, and headers and addresses that carry a secret. A pattern
# is tried at the beginning of a run of its characters alone: time grows with the text's length, not with its square.
_TOKENS = re.compile(
    r"""(?<![\w-])(?:(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}       # OpenAI and many that follow it
    | hf_[A-Za-z0-9]{16,}                     # Hugging Face
    | (?:gh[pousr]|glpat|github_pat)[_-][A-Za-z0-9_-]{16,}
    | (?:AKIA|ASIA)[A-Z0-9]{16}\b             # Amazon's ids of access keys
    | AIza[A-Za-z0-9_-]{30,}                  # Google
    | ya29\.[A-Za-z0-9_-]{16,}
    | (?:gsk|r8|npm)_[A-Za-z0-9]{16,}         # Groq, Replicate, npm
    | (?:xai|nvapi|pplx|csk)-[A-Za-z0-9_-]{16,}  # xAI, NVIDIA, Perplexity, Cerebras
    | xox[abprs]-[A-Za-z0-9-]{10,}            # Slack
    | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+)  # JSON web tokens
    """,
    re.VERBOSE,
)
_HEADER = re.compile(
    r"""(authorization["']?\s*[:=]\s*["']?(?:bearer|basic|token)\s+)[\w+/=.~-]+
    |(\bbearer\s+(?=[\w+/=.~-]*\d))[\w+/=.~-]{8,}
    |(\b(?:set-)?cookie["']?\s*[:=]\s*["']?)(?=[^\s"';]{1,200}=)[^\n"']+
    |(\bauthorization["']?\s*[:=]\s*["']?(?:(?:digest|aws4[\w-]*)\s+(?=\w+=)|(?:apikey|negotiate|ntlm)\s+))[^\n]+""",
    re.IGNORECASE | re.VERBOSE,
)
# A password may hold "@" itself: the address of the server begins behind the last one in front of its path.
_PASSWORD = re.compile(r"((?<![\w+.-])[a-z][a-z0-9+.-]{0,30}://)[^\s/'\"]{1,500}@", re.IGNORECASE)
# Names that no prose has in front of a value, and the parameters of an address: they count in a model's text as well.
_UNMISTAKABLE = re.compile(
    r"""((?:(?:(?<![A-Za-z0-9])|(?-i:(?<=[a-z0-9])(?=[A-Z])))
    (?:api|access|secret|private|account|openai|subscription)[_-]?keys?(?:[_-]id)?|client[_-]?secret|passwd
    |(?:access|auth|bearer|api|refresh|session|hf|hub)[_-]?token)["']?\s?[=:]\s?["']?
    |[?&](?:[a-z0-9_-]{1,40}[_-])?(?:key|token|sig|signature|password|auth|secret|credential|code)=)
    (?!(?:none|null|true|false|empty)\b)[^\s"',;&<>()\[\]{}]{4,}""",
    re.IGNORECASE | re.VERBOSE,
)

_IN_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}

# Arguments such as api_key=..., as commands and records write them in text or in JSON. The values of `max_tokens=9`,
# `tokenizer=t` and the like are no secrets.
# A name in the plural has several values, with blanks or commas between them; a cookie ends with its line.
_NAMED = re.compile(
    r"""(?P<name>(?<![A-Za-z0-9_-])(?:[A-Za-z0-9_-]{0,60}(?:[_-]|(?-i:(?<=[a-z0-9])(?=[A-Z]))))?
    (?:(?P<several>(?:api|access|secret|private|account|auth)?[_-]?keys|secrets|passwords|credentials)
    |(?P<cookie>cookies?)
    |(?:api|access|secret|private|account|auth)?[_-]?key(?:[_-](?:id|env))?
    |(?:\w{0,60}token)|secret|(?:\w{0,60}password)|passwd|pass|passphrase|passcode|pwd|credential|auth|authorization
    |signature|sig|bearer|jwt|pat|session[_-]?id)
    ["']?\s*[=:]\s*
    |(?<!\S)(?:-u|--(?:proxy-)?user)[\s=]+(?=[^\s:]+:[^\s/])
    |[?&]code=
    |(?<!\S)--?(?:[a-z]{1,20}[_-])?(?:(?P<several_options>api[_-]?keys|passwords|secrets)
    |api[_-]?key|token|password|secret)\s+(?!-))
    (?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\[[^\[\]]*\]|\{[^{}]*\}|\([^()]*\)
    |(?(cookie)[^\n"']+|(?!))
    |(?:(?:digest|aws4[\w-]*)\s+[^\n]+
    |(?:(?:bearer|basic|token|apikey|api-key|negotiate|ntlm)\s+)?[^,;&}\]\s]+
    (?:[;|](?![\w-]{1,60}\s*[=:])[^,;&}\]\s]+
    |(?(several)[ \t,;|]+(?!["']?[\w.-]{1,60}["']?\s*[=:]|-)[^,;&}\]\s]+|(?!))
    |(?(several_options)[ \t,;|]+(?!["']?[\w.-]{1,60}["']?\s*[=:]|-)[^,;&}\]\s]+|(?!)))*))""",
    re.IGNORECASE | re.VERBOSE,
)

# Settings whose value is a secret. Names such as `eos_token` and `image_token` are those of a tokenizer's words.
_SECRET_SETTING = re.compile(
    r"(?:.*(?:[_-]|(?-i:(?<=[a-z0-9])(?=[A-Z]))))?(?:(?:api|access|secret|private|account)[_-]?keys?(?:[_-]id)?"
    r"|(?:auth|access|bearer|api|refresh|session|hub|hf)[_-]?token|password|passwd|passphrase|secrets?|credentials?"
    r"|authorization|cookie|bearer|pwd)",
    re.IGNORECASE,
)


def without_keys(text: str, keys: Iterable[str | None] = ()) -> str:
    """Replace secrets in a text that is otherwise kept as it is, such as what a model wrote.

    Args:
        text: what a model, a server or a library wrote; it may be empty.
        keys: secrets whose value is known; None and values of fewer than `SHORTEST` characters are passed over. Values
            of fewer than `ANYWHERE` characters are replaced where they stand as words of their own, longer ones
            everywhere; each also as addresses and JSON write it (``%2F``, an escape of JSON for ``/``), and in base64.

    Returns:
        The text with ``[key]`` in the place of each secret.

    Example:
        >>> without_keys("I was called with s3cr3t-key.", ["s3cr3t-key"])
        'I was called with [key].'
        >>> without_keys("curl -H 'Authorization: Bearer abc123def456' http://ann:pw@host/v1")
        "curl -H 'Authorization: Bearer [key]' http://[key]@host/v1"
        >>> without_keys("x-api-key: abcd-efgh, http://host/v1?token=abcd&n=1; the key: a low horizon")
        'x-api-key: [key], http://host/v1?token=[key]&n=1; the key: a low horizon'
    """
    for key in keys:
        if key is None or len(key) < SHORTEST:
            continue
        if key in text or any(sign in text for sign in "\\%&+"):
            text = _written(key).sub(MASK, text)
        if len(key) >= ANYWHERE:
            for value in _in_base64(key):
                text = text.replace(value, MASK)
    text = _TOKENS.sub(MASK, text)
    text = _HEADER.sub(rf"\1\2\3\4{MASK}", text)
    text = _UNMISTAKABLE.sub(rf"\1{MASK}", text)
    return _PASSWORD.sub(rf"\1{MASK}@", text)


@lru_cache(maxsize=64)
def _written(key: str) -> re.Pattern[str]:
    """A pattern of a key in which each character may stand as itself, or as an address, JSON or HTML writes it."""
    characters = []
    for sign in key:
        forms = [
            re.escape(sign),
            rf"\\u(?i:{ord(sign):04x})",
            "".join(f"%(?i:{byte:02x})" for byte in sign.encode("utf-8", "replace")),
        ]
        forms += [rf"\\{re.escape(sign)}"] if sign in '/"\\' else []
        forms += [rf"&\#0*{ord(sign)};", rf"&\#(?i:x0*{ord(sign):x});"]
        forms += [_IN_HTML[sign]] if sign in _IN_HTML else []
        forms += [r"\+"] if sign == " " else []
        characters.append(f"(?:{'|'.join(forms)})")
    whole = "".join(characters)
    return re.compile(whole if len(key) >= ANYWHERE else rf"(?<!\w){whole}(?!\w)")


def _in_base64(key: str) -> set[str]:
    """A key in base64, with both alphabets and without the padding, which may be left out."""
    content = key.encode("utf-8", "replace")
    return {encode(content).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode)}


def address_secrets(url: str) -> list[str]:
    """The secrets in an address, to be looked for in other texts by `without_keys`.

    Args:
        url: an address, which may be none at all.

    Returns:
        The password, or the user's name where it stands alone as tokens do; both together as the header of basic
        authentication encodes them; the values of a query whose names say that they are secrets. Each is decoded.

    Example:
        >>> address_secrets("http://ann:p%40ssword@host/v1?api_key=abcd-1234")
        ['p@ssword', 'ann:p@ssword', 'abcd-1234']
    """
    try:
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        return []
    found = [password or user, f"{user}:{password}" if password else "", *map(unquote, secret_values(parts.query))]
    return [value for value in dict.fromkeys(found) if value]


def without_secrets(text: str, keys: Iterable[str | None] = ()) -> str:
    """Replace secrets in arguments and settings: those of `without_keys`, and every value whose name says what it is.

    A model's prose must not be given, since "the key: a low horizon" would lose its words.

    Args:
        text: arguments or settings, as text or JSON.
        keys: secrets whose value is known, as for `without_keys`.

    Returns:
        The text with ``***`` in the place of a named value, and ``[key]`` in the place of other secrets.

    Example:
        >>> without_secrets("model=gpt-4o,api_key=sk-1,max_new_tokens=9")
        'model=gpt-4o,api_key=***,max_new_tokens=9'
    """
    return without_keys(_NAMED.sub(lambda found: f"{found['name']}{HIDDEN}", text), keys)


def secret_values(text: str) -> list[str]:
    """The values that `without_secrets` would hide for their names, to be looked for in other texts by `without_keys`.

    Args:
        text: arguments or settings, as text or JSON.

    Returns:
        Each value once, without its quotes; of a list each part. Values of fewer than `ANYWHERE` characters are left
        out: ``EMPTY`` and ``none`` are words that people pass to servers without a key.

    Example:
        >>> secret_values("api_key=sk-12345678,auth=none,api_keys=['first-key', 'second-key']")
        ['sk-12345678', 'first-key', 'second-key']
    """
    parts = [part for found in _NAMED.finditer(text) for part in re.split(r"""[\s,;|"'\[\](){}]+""", found["value"])]
    return list(dict.fromkeys(part for part in parts if len(part) >= ANYWHERE))


def without_secret_settings(content: Any) -> Any:
    """Replace the texts of settings whose name says that they are secret, such as ``hub_token`` and ``api_key``.

    Args:
        content: dictionaries, lists and values as `json` and `yaml` read them.

    Returns:
        A copy in which everything below such a name is ``***``; null stays as it is, and so do true and false.

    Example:
        >>> without_secret_settings({"train": {"hub_token": "abc", "seed": 0}, "eos_token": "</s>"})
        {'train': {'hub_token': '***', 'seed': 0}, 'eos_token': '</s>'}
    """
    if isinstance(content, dict):
        return {
            name: HIDDEN
            if _SECRET_SETTING.fullmatch(str(name)) and value is not None and not isinstance(value, bool)
            else without_secret_settings(value)
            for name, value in content.items()
        }
    return [without_secret_settings(value) for value in content] if isinstance(content, list | tuple) else content


def each_text(content: Any, change: Callable[[str], str]) -> Any:
    """Apply a function to every text in JSON-like content.

    Args:
        content: dictionaries, lists and values as `json` and `yaml` read them, nested as deeply as those allow; the
            names in dictionaries are left as they are.
        change: makes the new text from the old one.

    Returns:
        A copy with the new texts. Tuples become lists.
    """
    if isinstance(content, dict):
        return {name: each_text(value, change) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [each_text(value, change) for value in content]
    return change(content) if isinstance(content, str) else content
