"""The datasets that have an importer of their own, for `artquant data import --list`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """A dataset whose authors' files can be imported.

    Args:
        name: the word behind `artquant data import`, which is also the name of the dataset and of its task.
        size: how many images it has, by split where the authors publish one.
        scale: the lowest and the highest possible score, and how many people gave one.
        license: the terms under which the annotations may be used, as the authors state them.
        origin: where the annotations come from.
    """

    name: str
    size: str
    scale: str
    license: str
    origin: str


KNOWN_DATASETS = (
    KnownDataset(
        "apdd",
        "10,023 artworks: 8,019 / 1,002 / 1,002",
        "0-10, means; ten attributes",
        "CC BY-NC-ND 4.0",
        "https://github.com/BestiVictory/APDDv2",
    ),
    KnownDataset(
        "baid",
        "60,337 artworks: 50,737 / 3,200 / 6,400",
        "0-10, from votes",
        "CC BY-NC-ND 4.0",
        "https://github.com/Dreemurr-T/BAID",
    ),
    KnownDataset(
        "vaps",
        "999 paintings; no split",
        "1-10, means (1-7 rescaled)",
        "research use; originals gated",
        "https://github.com/samuelribaric/BAID-Reproducibility",
    ),
    KnownDataset(
        "lapis",
        "11,723 artworks, split by lists",
        "0-100, about 24 raters each",
        "on request, for research",
        "https://github.com/Anne-SofieMaerten/LAPIS",
    ),
    KnownDataset(
        "sidhu",
        "240 abstract paintings; no split",
        "1-9, beauty (49 raters), liking (43)",
        "CC BY 4.0 (the article)",
        "https://osf.io/2sy4f",
    ),
    KnownDataset(
        "ava",
        "about 255,000 photographs; no split",
        "1-10, about 210 votes each",
        "research use",
        "https://github.com/imfing/ava_downloader",
    ),
)
