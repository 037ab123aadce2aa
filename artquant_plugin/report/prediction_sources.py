"""What the command line names: a model's output folder or prediction file, with a name of the user's choice."""

from dataclasses import dataclass
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError


@dataclass(frozen=True, slots=True)
class PredictionSource:
    """Something to be read, as the command line names it: ``[NAME=]PATH[@DATASET]``.

    Args:
        path: a folder that ``--output_path`` named, or a CSV file.
        name: the model's, instead of the folder's or the file's.
        dataset: of a CSV file.
    """

    path: Path
    name: str | None = None
    dataset: str | None = None


def parse_prediction_source(text: str) -> PredictionSource:
    """Read ``[NAME=]PATH[@DATASET]``; a path that exists as it stands is taken so.

    Raises:
        ArtQuantError: there is no such file or folder, or a name is empty.
    """
    name: str | None = None
    dataset: str | None = None
    path = text
    if not Path(path).expanduser().exists() and "=" in path:
        name, _, path = path.partition("=")
    if not Path(path).expanduser().exists() and "@" in path:
        path, _, dataset = path.rpartition("@")
    found = Path(path).expanduser()
    if not path or not found.exists():
        raise ArtQuantError(
            f"'{path or text}' does not exist; name a folder that lmms-eval's --output_path named, or a CSV file"
        )
    if name == "" or dataset == "":
        raise ArtQuantError(f"'{text}' has an empty name; write [NAME=]PATH[@DATASET]")
    return PredictionSource(found, name, dataset)
