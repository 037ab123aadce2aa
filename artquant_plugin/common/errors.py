"""The exception and the warning whose messages are written for users."""


class ArtQuantError(ValueError):
    """Something that the user gave, or lacks, is wrong, and the user can mend it.

    The message is one line that states the value, the rule and the remedy, for example:
    ``score 11.2 of 'a.jpg' is outside [0, 10]; fix the CSV or pass --score-range 0 20``.
    The command line prints it and exits with code 2; Python callers get it as an exception.
    """


class ArtQuantWarning(UserWarning):
    """Something that the user should know and that stops nothing: an image that was left out, a metric that is NaN.

    The command line prints warnings of this category as ``artquant: warning: …``. Warnings of other categories come
    from libraries and are printed as Python prints them.
    """


class MachineError(Exception):
    """A fault of this machine that stops a run: too few open files, a failing disk, a missing right, no memory.

    It is no `ArtQuantError`, so that no code that turns an image's error into that image's reason takes it for one.
    The message is one line with file, fault and remedy. The command line prints it and exits with code 2.
    """
