"""BAID: three CSV files of image and score, as GitHub Dreemurr-T/BAID publishes them at d5c9b8c (``dataset/``)."""

from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import TableRow
from artquant_plugin.data.dataset import Painting
from artquant_plugin.data.importers.annotations import REMEDY, check_once, read_annotations, read_rows
from artquant_plugin.data.importers.importing import Annotations

FILES = {"train": "train_set.csv", "validation": "val_set.csv", "test": "test_set.csv"}


def read_baid(annotations: Path) -> Annotations:
    """Read the published split.

    Args:
        annotations: folder of train_set.csv, val_set.csv and test_set.csv; scores from 0 to 10.

    Raises:
        ArtQuantError: a file is absent or faulty.
    """
    if not annotations.is_dir():
        raise ArtQuantError(f"'{annotations}' is no folder; name the one that holds {', '.join(FILES.values())}")
    tables = {split: read_annotations(annotations / name, ("image", "score")) for split, name in FILES.items()}
    check_once(tables.values(), "image")
    splits = {split: read_rows(rows, _painting) for split, rows in tables.items()}
    return Annotations(
        name="baid",
        score_range=(0.0, 10.0),
        splits=splits,
        source="BAID, https://github.com/Dreemurr-T/BAID",
        license="CC BY-NC-ND 4.0",
        official=True,
    )


def _painting(row: TableRow) -> Painting:
    return Painting(
        id=Path(row.text("image")).stem,
        image=row.text("image"),
        sha256="",
        score=row.number("score", 0, 10, REMEDY),
    )
