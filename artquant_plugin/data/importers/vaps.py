"""VAPS: mean liking of 999 paintings, as GitHub samuelribaric/BAID-Reproducibility publishes it (``dataset/``).

The file holds the ratings rescaled from 1-7 to 1-10. Nobody publishes a split, so a seeded one is made and written
down, with folds for cross-validation.
"""

from pathlib import Path

import numpy as np

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import TableRow
from artquant_plugin.data.dataset import Painting
from artquant_plugin.data.importers.annotations import REMEDY, check_once, read_annotations, read_rows
from artquant_plugin.data.importers.importing import Annotations, seeded_split

FILE, NAME, LIKING = "vaps_dataset.csv", "File Number", "Liking"
FOLDS = 5


def read_vaps(annotations: Path, *, seed: int = 0, fold: int | None = None) -> Annotations:
    """Read VAPS.

    Args:
        annotations: vaps_dataset.csv or its folder; liking from 1 to 10.
        seed: of the 80/20 split and of the folds, from 0.
        fold: the fold, from 0 to 4, that is the test split; None tests with 20 % of the paintings.

    Raises:
        ArtQuantError: the file is absent or faulty; no such fold.
    """
    if fold is not None and not 0 <= fold < FOLDS:
        raise ArtQuantError(f"fold {fold} is not one of 0 to {FOLDS - 1}; pass one of them")
    path = annotations / FILE if annotations.is_dir() else annotations
    rows = read_annotations(path, (NAME, LIKING))
    check_once([rows], NAME)
    paintings = read_rows(rows, _painting)
    ids = [painting.id for painting in paintings]
    order = np.argsort(np.array(ids))[np.random.default_rng((seed, 1)).permutation(len(ids))]
    folds = {ids[index]: position % FOLDS for position, index in enumerate(order.tolist())}
    if fold is None:
        parts = seeded_split(ids, {"train": 0.8, "test": 0.2}, seed)
        method = "random 80/20 by file name (numpy default_rng permutation), folds by another; no split is published"
    else:
        parts = {
            "train": [index for index, name in enumerate(ids) if folds[name] != fold],
            "test": [index for index, name in enumerate(ids) if folds[name] == fold],
        }
        method = f"fold {fold} of {FOLDS} as the test split (folds.json); no split is published"
    return Annotations(
        name="vaps",
        score_range=(1.0, 10.0),
        splits={split: [paintings[index] for index in indices] for split, indices in parts.items()},
        source="VAPS liking, https://github.com/samuelribaric/BAID-Reproducibility",
        license="research use; the original VAPS files are gated",
        official=True,
        split_method=method,
        split_seed=seed,
        folds={name: folds[name] for name in sorted(folds)},
    )


def _painting(row: TableRow) -> Painting:
    return Painting(
        id=Path(row.text(NAME)).stem,
        image=row.text(NAME),
        sha256="",
        score=row.number(LIKING, 1, 10, REMEDY),
    )
