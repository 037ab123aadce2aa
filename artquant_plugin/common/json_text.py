"""JSON values in a text: in a file that holds nothing else, or somewhere in what a model wrote."""

import json
import math
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.stand_ins import stand_in
from artquant_plugin.common.text import HIDDEN, literal, one_line

_DECODER = json.JSONDecoder()
_BLANK = " \t\r\n"
# Where that many braces of a text begin no object, as in LaTeX or in a loop, the search ends: each try takes time.
_MOST_FAILURES = 200


def json_values(text: str, *, strict: bool, decoder: json.JSONDecoder = _DECODER) -> Iterator[tuple[int, Any]]:
    """The JSON values of a text, in their order, without those that stand inside another one.

    Args:
        text: the contents of a file, or a model's reply. It may be empty; then there is no value.
        strict: True where the text must consist of JSON: one value, several values one after another (with white
            space, line ends or a comma between them), or a list, whose elements are then the values. False where
            JSON objects stand in prose or in a code fence: only objects are returned, and everything else is passed
            over, an object that is cut off included (complete objects inside of it are returned). After 200 braces
            that begin no object the rest of the text is passed over as well.
        decoder: decodes each value; one of the caller's may refuse what JSON allows, such as a repeated key, with a
            `ValueError`.

    Yields:
        The place of the value's first character in the text, and the value.

    Raises:
        json.JSONDecodeError: with `strict`, at the first place that is not JSON, or that Python does not read: values
            that are nested too deeply, and whole numbers of thousands of digits.

    Example:
        >>> list(json_values('[{"a": 1}, 2]', strict=True))
        [(1, {'a': 1}), (11, 2)]
        >>> list(json_values('It is {"a": 1}, or so.', strict=False))
        [(6, {'a': 1})]
    """
    return _all_values(text, decoder) if strict else _objects_in_prose(text, decoder)


def printable_json(content: Any, *, indent: int | None) -> str:
    r"""JSON for a terminal or a file: letters of every script as they are, control characters as escapes.

    JSON itself demands escapes only for the first 32 characters; others control a terminal, too, and the half of an
    emoji cannot be written at all.

    Args:
        content: what `json.dumps` takes, without NaN and infinite numbers.
        indent: by how many spaces each level is indented; None to write everything on one line.

    Example:
        >>> print(printable_json({"é": "a\u009b2J"}, indent=0).replace("\n", ""))
        {"é": "a\u009b2J"}
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    if text.isascii():
        return text
    return "".join(
        sign if sign == "\n" or unicodedata.category(sign) not in HIDDEN else json.dumps(sign)[1:-1] for sign in text
    )


def only_object(text: str) -> dict[str, Any]:
    """The JSON object that a text consists of.

    Args:
        text: one JSON object, with nothing but white space around it.

    Raises:
        ValueError: the text is something else, or an object in it has a key twice; of JSON that is broken,
            `json.JSONDecodeError` says where.

    Example:
        >>> only_object(' {"a": 1} ')
        {'a': 1}
    """
    whole = text.strip()
    if not whole.startswith("{"):
        raise ValueError("no JSON object")
    values = [value for _, value in json_values(whole, strict=True, decoder=KEYS_ONCE)]
    if len(values) != 1 or not whole.endswith("}"):
        raise ValueError(f"more than one JSON object: {len(values)} values")
    return values[0]


def read_object(path: Path, *, remedy: str, strict: bool = False) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: the file, which must be in UTF-8 without a byte order mark.
        remedy: what the user can do where the file holds something else, such as "fetch it again".
        strict: whether a key that stands twice in one object, and a number that is not finite (``NaN``, ``1e999``),
            are errors. Without it the last value of a repeated key counts, as in other programs that read the file.

    Raises:
        ArtQuantError: the file is missing, empty, a Git LFS pointer or a web page; it is not UTF-8, not JSON, nested
            too deeply, or no object.
        OSError: the file cannot be read for a reason of this machine.
    """
    try:
        instead = stand_in(path)
        data = path.read_bytes() if instead is None else b""
    except FileNotFoundError as error:
        raise ArtQuantError(f"{path} is missing; {remedy}") from error
    if instead is not None:
        raise ArtQuantError(f"{path} {instead}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtQuantError(
            f"{path} is not UTF-8 (byte 0x{data[error.start]:02x} at {error.start:,}); write it as UTF-8, or {remedy}"
        ) from error
    if text.startswith("\ufeff"):
        raise ArtQuantError(f"{path} begins with a byte order mark; write it as UTF-8 without one")
    try:
        content, end = _decode(text, _behind_blanks(text, 0), _STRICT if strict else _DECODER)
        if _behind_blanks(text, end) < len(text):
            raise json.JSONDecodeError("more text behind the value", text, end)
    except json.JSONDecodeError as error:
        raise ArtQuantError(f"{path} is not JSON ({one_line(error)}); {remedy}") from error
    if not isinstance(content, dict):
        raise ArtQuantError(f"{path} holds no JSON object, but a {_KINDS[type(content)]}; {remedy}")
    return content


_KINDS = {list: "list", str: "text", int: "number", float: "number", bool: "true or false", type(None): "null"}


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {literal(key)} stands twice")
        found[key] = value
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{one_line(text, 30)} is no finite number")
    return number


KEYS_ONCE = json.JSONDecoder(object_pairs_hook=_unique_keys)
"""A decoder that refuses an object with a repeated key, of which nobody knows which value is meant."""
_STRICT = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_float=_finite, parse_constant=_finite)


def _all_values(text: str, decoder: json.JSONDecoder) -> Iterator[tuple[int, Any]]:
    at, in_list = 0, False
    while (at := _behind_blanks(text, at)) < len(text):
        if text[at] == ("]" if in_list else "["):
            at, in_list = at + 1, not in_list
            continue
        value, end = _decode(text, at, decoder)
        yield at, value
        at = _behind_blanks(text, end)
        if text.startswith(",", at):
            at += 1
        elif in_list and not text.startswith("]", at):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    if in_list:
        raise json.JSONDecodeError("Expecting ']'", text, at)


def _objects_in_prose(text: str, decoder: json.JSONDecoder) -> Iterator[tuple[int, Any]]:
    at, failed = text.find("{"), 0
    while at >= 0 and failed < _MOST_FAILURES:
        try:
            value, end = _decode(text, at, decoder)
        except json.JSONDecodeError:
            end, failed = at + 1, failed + 1
        else:
            yield at, value
        at = text.find("{", end)


def _decode(text: str, at: int, decoder: json.JSONDecoder) -> tuple[Any, int]:
    """The value that begins at a place, and the place behind it."""
    try:
        return decoder.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise json.JSONDecodeError("nested too deeply", text, at) from error
    except ValueError as error:  # of the decoder; Python refuses whole numbers of more than 4,300 digits, too
        raise json.JSONDecodeError(str(error), text, at) from error


def _behind_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at
