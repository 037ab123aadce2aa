"""Makes the card of an export, and the files of a dataset repository on the Hub that holds several exports.

Each export is a configuration of the repository; its files are in a folder with the configuration's name.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import FileContent
from artquant_plugin.common.run_record import read_record
from artquant_plugin.data.dataset import INFO_FILE, Dataset, DatasetInfo
from artquant_plugin.data.hub_rad import RAD_FILE
from artquant_plugin.data.paintings import PARQUET_FOLDER
from artquant_plugin.publish.checkpoint_files import check_no_home_folders
from artquant_plugin.publish.hub_errors import Target
from artquant_plugin.publish.repository import Publication
from artquant_plugin.publish.whitelist import Whitelist
from artquant_plugin.train.rad.table import COLUMNS

CARD_FILE = "README.md"
EXPORT = Whitelist(
    kind="an export of RAD",
    belongs=(r"(dataset|rad|folds)\.json", rf"{PARQUET_FOLDER}/(train|validation|test)-\d+-of-\d+\.parquet"),
    left_out=(r"README\.md", r"\.gitattributes"),
    loaded=(),
)
LICENSES = {  # the Hub's identifiers of licenses, by the name that a dataset gives
    "Apache-2.0": "apache-2.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-NC-ND 4.0": "cc-by-nc-nd-4.0",
    "CC0": "cc0-1.0",
}


@dataclass(frozen=True, slots=True)
class PublishedExport:
    """An export as one configuration of the repository.

    Args:
        config: name of the configuration and of its folder.
        dataset: the export's rows and its dataset.json.
        record: the content of the export's rad.json.
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
    """Prepare the publication of an export in a repository that may hold exports of other datasets.

    Args:
        folder: the folder of `artquant rad export`.
        target: the dataset repository on the Hub.
        config: name of the configuration, of small letters, digits, _ and -; None for the source dataset's name.
        with_images: publish the export's pictures; must be True for an export with pictures, and False without.
        license: the license of the pictures, exactly as the dataset names it; required to publish pictures.
        overwrite: replace files in the repository that somebody else put there or changed.

    Returns:
        The publication, and the name of its configuration.

    Raises:
        ArtQuantError: the folder is no export, holds files that do not belong to one, or holds pictures whose
            publication the user has not confirmed.
    """
    source = _open_export(folder, config)
    terms = source.dataset.info.license
    embedded = bool(source.record["with_images"])
    if embedded and not (with_images and license == terms):
        raise ArtQuantError(
            f"'{folder}' holds the pictures of {source.record['data']['name']!r}, which are under {terms!r}; export "
            f"it without them, or pass --with-images --confirm-license {terms!r} if you may publish copies"
        )
    if with_images and not embedded:
        raise ArtQuantError(f"'{folder}' holds no pictures; export it again with --with-images, or leave it out here")
    files: dict[str, FileContent] = {f"{source.config}/{name}": path for name, path in EXPORT.files(folder).items()}
    files[f"{source.config}/{INFO_FILE}"] = _info_without_place(folder)
    prefix = f"{source.config}/"
    publication = Publication(
        target,
        check_no_home_folders(files),
        # `datasets` reads every file in this folder as rows, whoever put it there.
        replace(EXPORT, loaded=(rf"{source.config}/{PARQUET_FOLDER}/.*",)),
        overwrite=overwrite,
        stays=lambda name: "/" in name and not name.startswith(prefix),
    )
    everything = sorted([source, *_exports_on_hub(publication)], key=lambda item: item.config)
    publication.add(CARD_FILE, rad_card(target, everything).encode())
    return publication, source.config


def rad_card(target: Target, sources: list[PublishedExport]) -> str:
    """Write the repository's README.md: metadata of all configurations, and a chapter on each.

    Args:
        target: the repository on the Hub.
        sources: the exports that the repository holds, one at least.
    """
    headers = [card_header(item.dataset.info, item.config, f"{item.config}/{PARQUET_FOLDER}") for item in sources]
    configs = [config for header in headers for config in header["configs"]]
    if len(configs) > 1:
        for config in configs:
            config.pop("default", None)
    licenses = {(header["license"], header.get("license_name")) for header in headers}
    header = headers[0] | {"pretty_name": "RAD: aesthetic descriptions of paintings", "configs": configs}
    if len(licenses) > 1:  # the metadata have one field; the chapters name each source's license
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


def _open_export(folder: Path, config: str | None) -> PublishedExport:
    record = _read_rad_record(folder)
    name = config or str(record["data"]["name"])
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise ArtQuantError(f"configuration {name!r} is not of small letters, digits, _ and -; pass --config NAME")
    return PublishedExport(name, Dataset.load(folder), record)


def _read_rad_record(folder: Path) -> dict[str, Any]:
    """Read the record rad.json of an export.

    Raises:
        ArtQuantError: the folder has no such record.
    """
    remedy = "name the folder of `artquant rad export`"
    fields = ("data", "models", "with_images", "splits", "rounds")
    record = read_record(folder / RAD_FILE, kind="record of an export of RAD", remedy=remedy, fields=fields)
    if record is None:
        raise ArtQuantError(f"'{folder}' is no export of RAD (no {RAD_FILE}); {remedy}")
    return record


def _info_without_place(folder: Path) -> bytes:
    """Return the content of dataset.json without the pictures' folder on this machine."""
    content = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
    return (json.dumps(content | {"image_root": "pictures"}, indent=2, ensure_ascii=False) + "\n").encode()


def _exports_on_hub(publication: Publication) -> list[PublishedExport]:
    """Return the other configurations, which are on the Hub already and stay there."""
    infos = publication.staying(f"/{INFO_FILE}")
    records = publication.staying(f"/{RAD_FILE}")
    return [
        PublishedExport(
            name.partition("/")[0],
            Dataset.load(infos[f"{path.parent.name}/{INFO_FILE}"].parent),
            _read_rad_record(path.parent),
        )
        for name, path in records.items()
    ]


def _size_category(rows: int) -> str:
    """The Hub's name of the range in which a number of rows lies.

    Example:
        >>> [_size_category(rows) for rows in (12, 70_000)]
        ['n<1K', '10K<n<100K']
    """
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")]
    return next((name for bound, name in bounds if rows < bound), "100K<n<1M")


def card_header(info: DatasetInfo, name: str, folder: str = PARQUET_FOLDER) -> dict[str, Any]:
    """Make the card's metadata, by which `datasets` finds the splits.

    Args:
        info: the content of the export's dataset.json.
        name: name by which `datasets.load_dataset` knows the configuration.
        folder: folder of the Parquet files, relative to the card.
    """
    known = LICENSES.get(info.license)
    return {
        "pretty_name": f"RAD of {name}",
        **({"license": known} if known else {"license": "other", "license_name": info.license}),
        "task_categories": ["image-to-text"],
        "tags": ["image-aesthetics", "art", "lmms-eval"],
        "configs": [
            {
                "config_name": name,
                "default": True,
                "data_files": [
                    {"split": split, "path": f"{folder}/{split}-*.parquet"}
                    for split, found in info.splits.items()
                    if found.n  # `datasets` loads nothing at all when one of the splits is empty
                ],
            }
        ],
    }


def card_text(info: DatasetInfo, record: dict[str, Any], columns: Any) -> str:
    """Write the card of one export as a whole.

    Args:
        info: the content of the export's dataset.json.
        record: the content of the export's rad.json.
        columns: the columns of the rows, as `datasets.Features`.
    """
    name = record["data"]["name"]
    header = yaml.safe_dump(card_header(info, name), sort_keys=False, allow_unicode=True)
    return "\n".join(
        [
            f"---\n{header}---",
            f"# RAD of {name}: aesthetic descriptions of paintings on three levels",
            "",
            *card_sections(info, record),
            *column_table(columns),
            "",
        ]
    )


def card_sections(info: DatasetInfo, record: dict[str, Any]) -> list[str]:
    """Write the lines about one export: its splits and scores, how its descriptions were made, and its terms.

    Args:
        info: the content of the export's dataset.json.
        record: the content of the export's rad.json.
    """
    low, high = info.score_range
    return [
        f"Written by `{record['models']['generator']}` from a painting, its human score and its dataset's "
        f"statistics, and judged by `{record['models']['judge']}`, which sees no picture, until text and score "
        "agree (ArtQuant, arXiv:2512.23413, the section on collecting descriptions).",
        "",
        *_split_table(info, record),
        "",
        f"Scores are in [{low:g}, {high:g}]. Every painting has a row; one whose description was not accepted has "
        "its score and the reason. Splits are the dataset's; a picture that stands in several stays in the "
        f"strictest alone ({len(record['left_out']):,} paintings were left out for it).",
        "",
        *_rounds_and_failures(record),
        "",
        f"Scores: {info.source}. Terms: {info.license}.",
        "",
    ]


def _split_table(info: DatasetInfo, record: dict[str, Any]) -> list[str]:
    lines = ["| split | paintings | descriptions | mean score | variance |", "|---|---|---|---|---|"]
    for split, count in record["splits"].items():
        found = info.splits[split]
        numbers = ("-" if value is None else f"{value:.3f}" for value in (found.mean, found.variance))
        lines.append(f"| {split} | {count['paintings']:,} | {count['described']:,} | {' | '.join(numbers)} |")
    return lines


def column_table(columns: Iterable[str]) -> list[str]:
    """Write the lines of a table that says what each column holds.

    Args:
        columns: names of columns, in the order of the lines.
    """
    meanings = {name: text for name, _, text in COLUMNS}
    meanings |= {"attributes": "scores of single aspects, as in the dataset", "image": "the picture's file"}
    return ["| column | holds |", "|---|---|", *(f"| `{name}` | {meanings[name]} |" for name in columns)]


def _rounds_and_failures(record: dict[str, Any]) -> list[str]:
    lines = ["| round | accepted | failed |", "|---|---|---|"]
    for number, count in record["rounds"].items():
        lines.append(f"| {number} | {count['accepted']:,} | {count['failed']:,} |")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in record["failures"].items()) or "none"
    prompts = ", ".join(f"{name} `{digest[:12]}`" for name, digest in record["prompts"].items())
    return [*lines, "", f"Failures: {reasons}. Prompts: {prompts}. Run: `{record['run'][:12]}`; more in `rad.json`."]
