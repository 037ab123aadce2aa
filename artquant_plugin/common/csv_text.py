"""Text in CSV files: what a spreadsheet would run as a formula is written so that it stays text, and is read back.

A spreadsheet takes a field that begins with one of `FORMULA` for a formula, also inside quotation marks, and the names
of pictures come from anywhere. Such a field is written with an apostrophe in front, which spreadsheets themselves use
for "this is text"; a field that begins with apostrophes and then with such a character gets one more. The reader of
tables takes one apostrophe off exactly these fields, so that every text comes back as it was. Fields of numbers are
written as they are.
"""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def harmless(text: str) -> str:
    """A text as it is written into a field of a CSV file.

    Example:
        >>> harmless("=cmd()"), harmless("'-a.png"), harmless("a-b.png")
        ("'=cmd()", "''-a.png", 'a-b.png')
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULA) else text


def original(field: str) -> str:
    """The text that a field of a CSV file stands for, where `harmless` wrote it.

    Example:
        >>> original("'=cmd()"), original("'tis.png")
        ('=cmd()', "'tis.png")
    """
    return field[1:] if field.startswith("'") and field.lstrip("'").startswith(FORMULA) else field
