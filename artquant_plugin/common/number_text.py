"""Numbers as people and tools write them into tables."""

import math
import re
from decimal import Decimal
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?", re.ASCII)


def parse_number(value: Any) -> float | None:
    """A cell as a finite number, or None when it is none.

    Python's own ``float`` takes more than people mean by a number: ``1_0`` is 10 to it. Here only digits, a decimal
    point and an exponent count.

    Example:
        >>> [parse_number(cell) for cell in (" 4.5 ", 3, "1e1", "1_0", "4,5", "nan", None, True)]
        [4.5, 3.0, 10.0, None, None, None, None, None]
    """
    if isinstance(value, str):
        if not NUMBER.fullmatch(value.strip()):
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):  # an integer of JSON has any number of digits; a decimal may be a sNaN
        return None
    return number if math.isfinite(number) else None


def decimal_remedy(text: str) -> str:
    """What the user can do about a cell that is a number in another spelling; empty where it is none in any.

    Args:
        text: the text of a cell without white space around it, such as ``4,5``.

    Example:
        >>> decimal_remedy("1.234,5")
        'write decimals with a point, as in 4.5, and thousands without a sign between them'
    """
    spelled = DECIMAL_COMMA.fullmatch(text) or DECIMAL_COMMA.fullmatch(text.replace(".", ""))
    return "write decimals with a point, as in 4.5, and thousands without a sign between them" if spelled else ""
