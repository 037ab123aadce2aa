"""README.md of an export: which files are which split, what the columns hold, how the rows came about."""

from collections.abc import Iterable
from typing import Any

import yaml

from artquant_plugin.data.dataset import DatasetInfo
from artquant_plugin.data.paintings import PARQUET_FOLDER
from artquant_plugin.train.rad.table import COLUMNS

LICENSES = {  # the Hub's names
    "Apache-2.0": "apache-2.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-NC-ND 4.0": "cc-by-nc-nd-4.0",
    "CC0": "cc0-1.0",
}


def card_header(info: DatasetInfo, name: str, folder: str = PARQUET_FOLDER) -> dict[str, Any]:
    """The card's metadata, by which `datasets` finds the splits.

    Args:
        info: of the export.
        name: of the configuration.
        folder: of the Parquet files, relative to the card.
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
    """The whole card.

    Args:
        info: of the export.
        record: its rad.json.
        columns: the rows' `datasets.Features`.
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
    """Lines about one source: its splits, its scores, how its descriptions came about, its terms.

    Args:
        info: of the export.
        record: its rad.json.
    """
    low, high = info.score_range
    return [
        f"Written by `{record['models']['generator']}` from a painting, its human score and its dataset's "
        f"statistics, and judged by `{record['models']['judge']}`, which sees no picture, until text and score "
        "agree (ArtQuant, arXiv:2512.23413, the section on collecting descriptions).",
        "",
        *_splits(info, record),
        "",
        f"Scores are in [{low:g}, {high:g}]. Every painting has a row; one whose description was not accepted has "
        "its score and the reason. Splits are the dataset's; a picture that stands in several stays in the "
        f"strictest alone ({len(record['left_out']):,} paintings were left out for it).",
        "",
        *_making(record),
        "",
        f"Scores: {info.source}. Terms: {info.license}.",
        "",
    ]


def _splits(info: DatasetInfo, record: dict[str, Any]) -> list[str]:
    lines = ["| split | paintings | descriptions | mean score | variance |", "|---|---|---|---|---|"]
    for split, count in record["splits"].items():
        found = info.splits[split]
        numbers = ("-" if value is None else f"{value:.3f}" for value in (found.mean, found.variance))
        lines.append(f"| {split} | {count['paintings']:,} | {count['described']:,} | {' | '.join(numbers)} |")
    return lines


def column_table(columns: Iterable[str]) -> list[str]:
    """Lines of a table that tells what columns hold."""
    told = {name: text for name, _, text in COLUMNS}
    told |= {"attributes": "scores of single aspects, as in the dataset", "image": "the picture's file"}
    return ["| column | holds |", "|---|---|", *(f"| `{name}` | {told[name]} |" for name in columns)]


def _making(record: dict[str, Any]) -> list[str]:
    lines = ["| round | accepted | failed |", "|---|---|---|"]
    for number, count in record["rounds"].items():
        lines.append(f"| {number} | {count['accepted']:,} | {count['failed']:,} |")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in record["failures"].items()) or "none"
    prompts = ", ".join(f"{name} `{digest[:12]}`" for name, digest in record["prompts"].items())
    return [*lines, "", f"Failures: {reasons}. Prompts: {prompts}. Run: `{record['run'][:12]}`; more in `rad.json`."]
