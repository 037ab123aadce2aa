"""The one exception, and the one warning, that a user is meant to read."""


class ArtQuantError(ValueError):
    """Something the user gave or lacks is wrong, and the user can mend it.

    The message is one line that states the value, the rule and the remedy, for example:
    ``score 11.2 of 'a.jpg' is outside [0, 10]; fix the CSV or pass --score-range 0 20``.
    The command line prints it and exits with code 2; Python callers get it as an exception.
    """


class ArtQuantWarning(UserWarning):
    """Something that the user should know and that stops nothing: an image that was left out, a metric that is NaN.

    The command line prints warnings of this category as ``artquant: warning: …``. Those of other categories are of the
    libraries underneath and look as Python shows them.
    """
