"""The one exception that a user is meant to read."""


class ArtQuantError(ValueError):
    """Something the user gave or lacks is wrong, and the user can mend it.

    The message is one line that states the value, the rule and the remedy, for example:
    ``score 11.2 of 'a.jpg' is outside [0, 10]; fix the CSV or pass --score-range 0 20``.
    The command line prints it and exits with code 2; Python callers get it as an exception.
    """
