"""Output folders and prediction files as the command line names them: ``[NAME=]PATH[@DATASET]``."""

from dataclasses import dataclass
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.paths import expanded


@dataclass(frozen=True, slots=True)
class PredictionSource:
    """An output folder or prediction file that predictions are read from.

    Args:
        path: an existing folder that lmms-eval's ``--output_path`` named, or an existing CSV file.
        name: the name of the model; None to take that of the folder or file.
        dataset: name of the dataset that a CSV file is of; None where the command line does not say.
    """

    path: Path
    name: str | None = None
    dataset: str | None = None


def parse_prediction_source(text: str) -> PredictionSource:
    """Read ``[NAME=]PATH[@DATASET]``.

    Args:
        text: what the user wrote. Where the whole text is an existing path, ``=`` and ``@`` are part of the path.

    Raises:
        ArtQuantError: there is no such file or folder, or NAME or DATASET is empty.
    """
    name: str | None = None
    dataset: str | None = None
    path = text
    if not expanded(path).exists() and "=" in path:
        name, _, path = path.partition("=")
    if not expanded(path).exists() and "@" in path:
        path, _, dataset = path.rpartition("@")
    found = expanded(path)
    if not path or not found.exists():
        raise ArtQuantError(
            f"'{path or text}' does not exist; name a folder that lmms-eval's --output_path named, or a CSV file"
        )
    if name == "" or dataset == "":
        raise ArtQuantError(f"'{text}' has an empty name; write [NAME=]PATH[@DATASET]")
    return PredictionSource(found, name, dataset)
