"""Sidhu and others 2018: 240 abstract paintings, rated from 1 to 9 for beauty by 49 people and for liking by 43.

The tables have one row per rater and painting, and call the pictures ``1.jpg`` to ``240.jpg``; the files have leading
zeros, other endings, and ``cropped`` in the names of some. Data: OSF 2sy4f, doi 10.1371/journal.pone.0200431.
"""

from pathlib import Path
from typing import Literal

from artquant_plugin.data.importers.annotations import read_annotations
from artquant_plugin.data.importers.importing import Annotations, seeded_split
from artquant_plugin.data.importers.picture_names import Match
from artquant_plugin.data.importers.raters import rated_in_rows, rated_painting

Rating = Literal["beauty", "liking"]
FILES: dict[Rating, str] = {"beauty": "Abstract_All_Raters.csv", "liking": "Abstract_Liking_All_Raters.csv"}
RATER, IMAGE = "Rater", "Painting"
SCALE = (1.0, 9.0)
CROPPED = (22, 43, 51, 63, 89, 90, 92, 142, 165)
CROPPED_TO_FIT = (189, 191, 204, 209, 229)


def read_sidhu(annotations: Path, *, rating: Rating = "beauty", seed: int = 0) -> Annotations:
    """Read the ratings of the abstract paintings. The score is the mean rating, from 1 to 9.

    Args:
        annotations: the table of the rating, or the folder that holds it under its published name.
        rating: which of the two ratings to read; the dataset is called ``sidhu_beauty`` or ``sidhu_liking``.
        seed: of the split, from 0; a fifth of the paintings is the test split.

    Raises:
        ArtQuantError: the file is absent or faulty.
    """
    path = annotations / FILES[rating] if annotations.is_dir() else annotations
    column = rating.capitalize()
    rows = read_annotations(path, (RATER, IMAGE, column))
    rated = rated_in_rows(rows, image=IMAGE, rater=RATER, score=column, score_range=SCALE)
    paintings = [rated_painting(Path(row.text(IMAGE)).stem, row.text(IMAGE), ratings) for row, ratings in rated]
    parts = seeded_split([painting.id for painting in paintings], {"train": 0.8, "test": 0.2}, seed)
    files = {f"{number}.jpg": f"{number}cropped.jpg" for number in CROPPED}
    files |= {f"{number}.jpg": f"{number}croppedtofit.jpg" for number in CROPPED_TO_FIT}
    return Annotations(
        name=f"sidhu_{rating}",
        score_range=SCALE,
        splits={split: [paintings[index] for index in indices] for split, indices in parts.items()},
        source="Sidhu, McDougall, Jalava, Bodner 2018, https://osf.io/2sy4f",
        license="CC BY 4.0 (the article); the paintings belong to their artists",
        official=True,
        split_method="random 80/20 by file name (numpy default_rng permutation); no split is published",
        split_seed=seed,
        ratings={painting.id: ratings for painting, (_, ratings) in zip(paintings, rated, strict=True)},
        match=Match(stem=True, files=files),
    )
