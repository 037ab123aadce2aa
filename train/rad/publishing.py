"""Exports of RAD runs -> one dataset repository on the Hub, with a configuration for each source."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.run_record import read_record
from artquant_plugin.data.dataset import INFO_FILE, Dataset
from artquant_plugin.data.hub_rad import RAD_FILE
from artquant_plugin.data.paintings import PARQUET_FOLDER
from artquant_plugin.publish.contents import Whitelist
from artquant_plugin.publish.faults import Target
from artquant_plugin.publish.hashes import Content
from artquant_plugin.publish.model import checked
from artquant_plugin.publish.repository import Publication
from artquant_plugin.train.rad.card import card_header, card_sections, column_table
from artquant_plugin.train.rad.table import COLUMNS

CARD_FILE = "README.md"
EXPORT = Whitelist(
    kind="an export of RAD",
    belongs=(r"(dataset|rad|folds)\.json", rf"{PARQUET_FOLDER}/(train|validation|test)-\d+-of-\d+\.parquet"),
    left_out=(r"README\.md", r"\.gitattributes"),
    loaded=(),
)


@dataclass(frozen=True, slots=True)
class Source:
    """One configuration of the repository.

    Args:
        config: its name.
        dataset: that it holds.
        record: how it was made.
    """

    config: str
    dataset: Dataset
    record: dict[str, Any]


def rad_publication(
    folder: Path,
    target: Target,
    *,
    config: str | None = None,
    with_images: bool = False,
    license: str | None = None,
    overwrite: bool = False,
) -> tuple[Publication, str]:
    """The files of an export, beside those of other sources that the repository has.

    Args:
        folder: of `artquant rad export`.
        target: the repository; a dataset.
        config: name of the configuration; that of the source dataset when None.
        with_images: whether the export's pictures are to be published.
        license: of the pictures; must be the dataset's own to publish them.
        overwrite: see `Publication`.

    Returns:
        The publication, and the name of its configuration.

    Raises:
        ArtQuantError: the folder is no export, holds something else, or pictures without the user's word.
    """
    source = _source(folder, config)
    terms = source.dataset.info.license
    embedded = bool(source.record["with_images"])
    if embedded and not (with_images and license == terms):
        raise ArtQuantError(
            f"'{folder}' holds the pictures of {source.record['data']['name']!r}, which are under {terms!r}; export "
            f"it without them, or pass --with-images --confirm-license {terms!r} if you may publish copies"
        )
    if with_images and not embedded:
        raise ArtQuantError(f"'{folder}' holds no pictures; export it again with --with-images, or leave it out here")
    files: dict[str, Content] = {f"{source.config}/{name}": path for name, path in EXPORT.files(folder).items()}
    files[f"{source.config}/{INFO_FILE}"] = _info(folder)
    prefix = f"{source.config}/"
    publication = Publication(
        target,
        checked(files),
        # What `datasets` would read as rows, whoever put it there.
        replace(EXPORT, loaded=(rf"{source.config}/{PARQUET_FOLDER}/.*",)),
        overwrite=overwrite,
        stays=lambda name: "/" in name and not name.startswith(prefix),
    )
    everything = sorted([source, *_others(publication)], key=lambda item: item.config)
    publication.add(CARD_FILE, rad_card(target, everything).encode())
    return publication, source.config


def rad_card(target: Target, sources: list[Source]) -> str:
    """README.md: metadata of all configurations, and a chapter on each.

    Args:
        target: the repository.
        sources: at least one.
    """
    headers = [card_header(item.dataset.info, item.config, f"{item.config}/{PARQUET_FOLDER}") for item in sources]
    configs = [config for header in headers for config in header["configs"]]
    if len(configs) > 1:
        for config in configs:
            config.pop("default", None)
    licenses = {(header["license"], header.get("license_name")) for header in headers}
    header = headers[0] | {"pretty_name": "RAD: aesthetic descriptions of paintings", "configs": configs}
    if len(licenses) > 1:  # one field for all of them: the chapters name each source's own
        header |= {"license": "other", "license_name": "per-configuration"}
    rows = sum(split.n for item in sources for split in item.dataset.info.splits.values())
    header["size_categories"] = [_size_category(rows)]
    text = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---",
        f"# {target.name.partition('/')[2]}",
        "",
        "Descriptions of paintings on three levels - perception, cognition, emotion - that agree with how people "
        "scored them; made as the RAD dataset of ArtQuant (arXiv:2512.23413).",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'rows = load_dataset("{target.name}", "{sources[0].config}")',
        "```",
        "",
        "To train on it with artquant-plugin, which finds the pictures in your own import of the source:",
        "",
        f"    artquant train CONFIG --set 'data=[\"{target.name}:{sources[0].config}\"]'",
        "",
    ]
    for item in sources:
        pictures = "The rows hold the pictures." if item.record["with_images"] else "Pictures are not part of it."
        text += [f"## {item.config}", "", pictures, "", *card_sections(item.dataset.info, item.record)]
    names = [*(name for name, _, _ in COLUMNS), "attributes", "image"]
    text += ["## Columns", "", *column_table(names), "", "`attributes` and `image` where a source has them.", ""]
    text += ["## Use and limits", "", _LIMITS, ""]
    return "\n".join(text)


_LIMITS = (
    "For research. The texts were written by a language model that saw a painting and its score, and were judged by "
    "another: they give reasons that fit a score, and no fact about a work or its maker. Scores are the means of the "
    "raters of each source. The sources' terms, most of which forbid commercial use, hold for what is made from them."
)


def _source(folder: Path, config: str | None) -> Source:
    record = _read(folder)
    name = config or str(record["data"]["name"])
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise ArtQuantError(f"configuration {name!r} is not of small letters, digits, _ and -; pass --config NAME")
    return Source(name, Dataset.load(folder), record)


def _read(folder: Path) -> dict[str, Any]:
    """The record of an export.

    Raises:
        ArtQuantError: the folder has none.
    """
    remedy = "name the folder of `artquant rad export`"
    fields = ("data", "models", "with_images", "splits", "rounds")
    record = read_record(folder / RAD_FILE, kind="record of an export of RAD", remedy=remedy, fields=fields)
    if record is None:
        raise ArtQuantError(f"'{folder}' is no export of RAD (no {RAD_FILE}); {remedy}")
    return record


def _info(folder: Path) -> bytes:
    """dataset.json without the place of the pictures on this machine."""
    content = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
    return (json.dumps(content | {"image_root": "pictures"}, indent=2, ensure_ascii=False) + "\n").encode()


def _others(publication: Publication) -> list[Source]:
    """The configurations that are on the Hub already."""
    infos = publication.staying(f"/{INFO_FILE}")
    records = publication.staying(f"/{RAD_FILE}")
    return [
        Source(
            name.partition("/")[0],
            Dataset.load(infos[f"{path.parent.name}/{INFO_FILE}"].parent),
            _read(path.parent),
        )
        for name, path in records.items()
    ]


def _size_category(rows: int) -> str:
    """The Hub's name of a number of rows.

    Example:
        >>> [_size_category(rows) for rows in (12, 70_000)]
        ['n<1K', '10K<n<100K']
    """
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")]
    return next((name for bound, name in bounds if rows < bound), "100K<n<1M")
