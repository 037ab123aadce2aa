"""AVA: vote counts of 255,530 photographs, in AVA.txt as its authors publish it (Murray, Marchesotti, Perronnin 2012).

A line has 15 whole numbers between spaces: its own number, the photograph's id, the votes for 1, 2, … 10, two ids of
tags and the id of the challenge. There is no header. The authors' lists of photographs by tag are no split of the
whole, so that a seeded one is made.
"""

from pathlib import Path

from artquant_plugin.common.tables import TableRow
from artquant_plugin.data.dataset import Painting
from artquant_plugin.data.importers.annotations import check_once, read_annotations, read_rows
from artquant_plugin.data.importers.importing import Annotations, seeded_split
from artquant_plugin.data.importers.raters import rated_in_counts, rated_painting
from artquant_plugin.data.ratings import PaintingRatings

FILE, ID = "AVA.txt", "2"
VOTES = tuple(map(str, range(3, 13)))  # columns of a table without a header are called by their numbers
SCALE = (1.0, 10.0)
TEST_SHARE = 0.1


def read_ava(annotations: Path, *, seed: int = 0) -> Annotations:
    """Read AVA. The score is the mean of the votes, from 1 to 10.

    Args:
        annotations: AVA.txt or its folder; a photograph's file is its id with ``.jpg``.
        seed: of the split, from 0; a tenth of the photographs is the test split.

    Raises:
        ArtQuantError: the file is absent or faulty.
    """
    path = annotations / FILE if annotations.is_dir() else annotations
    rows = read_annotations(path, (ID, *VOTES), delimiter=" ", header=False)
    check_once([rows], ID)
    rated = read_rows(rows, _painting)
    paintings = [painting for painting, _ in rated]
    parts = seeded_split([painting.id for painting in paintings], {"train": 1 - TEST_SHARE, "test": TEST_SHARE}, seed)
    return Annotations(
        name="ava",
        score_range=SCALE,
        splits={split: [paintings[index] for index in indices] for split, indices in parts.items()},
        source="AVA, https://github.com/imfing/ava_downloader",
        license="research use; the photographs belong to their authors (dpchallenge.com)",
        official=True,
        split_method=f"random, {TEST_SHARE:g} for test, by id (numpy default_rng permutation); no split is published",
        split_seed=seed,
        ratings={painting.id: ratings for painting, ratings in rated},
    )


def _painting(row: TableRow) -> tuple[Painting, PaintingRatings]:
    ratings = rated_in_counts(row, VOTES, SCALE)
    return rated_painting(row.text(ID), f"{row.text(ID)}.jpg", ratings), ratings
