"""Paths as people type them."""

from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError


def expanded(path: str | Path) -> Path:
    """A path with ``~`` and ``~name`` at its beginning replaced by the home folder that they stand for.

    Raises:
        ArtQuantError: nobody of that name has a home folder on this machine.

    Example:
        >>> expanded("a/b.png").as_posix()
        'a/b.png'
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = str(path).partition("/")[0]
        raise ArtQuantError(
            f"'{path}' begins with the home folder of '{user[1:]}', who is no user here; write './{path}' where "
            f"'{user}' is the name of a folder"
        ) from error
