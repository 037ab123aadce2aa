"""File names for what has a name of its own: a dataset's page, the plot of a run."""

import re
from collections.abc import Collection, Sequence


def file_names(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """A file name without an ending for each name, with a number where two would be the same.

    Args:
        names: the names, which may hold any characters.
        taken: file names that none may get.

    Example:
        >>> file_names(["baid-runs/demo", "baid-runs:demo", "index"], taken=["index"])
        ['baid-runs-demo', 'baid-runs-demo-2', 'index-2']
    """
    found: list[str] = []
    for name in names:
        chosen = base = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "dataset"
        number = 2
        while chosen in found or chosen in taken:
            chosen, number = f"{base}-{number}", number + 1
        found.append(chosen)
    return found
