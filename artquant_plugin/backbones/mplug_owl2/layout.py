"""Whether a folder holds an mPLUG-Owl2, and in which layout, read from its JSON files without importing torch.

The layout of the paper's code is described in `artquant_plugin.backbones.mplug_owl2.original`, which reads it.
"""

import json
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.json_text import read_object

MODEL_TYPE = "mplug_owl2"
PUBLISHED_BASE = "MAGAer13/mplug-owl2-llama2-7b"
ADAPTER_CONFIG = "adapter_config.json"


def is_mplug_owl2(folder: Path) -> bool:
    """Whether a folder's config.json describes an mPLUG-Owl2, in the layout of the paper's code or in ours."""
    return _config(folder).get("model_type") == MODEL_TYPE


def is_original(folder: Path) -> bool:
    """Whether a folder holds a checkpoint in the layout of the paper's code."""
    return is_mplug_owl2(folder) and "visual_config" in _config(folder)


def base_name(folder: Path, given: str | None = None) -> str | None:
    """The name of the base model of a LoRA checkpoint in the layout of the paper's code.

    Args:
        folder: the local folder of the checkpoint.
        given: the base model that the user names, a folder or Hub id; None for the one that the adapter's
            configuration names.

    Returns:
        A folder or Hub id; None where the folder holds no adapter, but a base model.

    Raises:
        ArtQuantError: neither the user nor the adapter's configuration names a base model.
    """
    if not (folder / ADAPTER_CONFIG).is_file():
        return None
    name = given or read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not name:
        raise ArtQuantError(f"{folder / ADAPTER_CONFIG} names no base model; give it with base=FOLDER_OR_ID")
    # Adapters name the folder of whoever trained them. Where it has the published base model's name, that is meant.
    return PUBLISHED_BASE if Path(name).name == PUBLISHED_BASE.split("/")[1] and not Path(name).is_dir() else name


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file of a checkpoint.

    Args:
        path: a file in UTF-8 that holds one JSON object.

    Raises:
        ArtQuantError: there is no such file, it cannot be read, or it holds no JSON object.
    """
    return read_object(path, remedy="fetch the checkpoint again")


def _config(folder: Path) -> dict[str, Any]:
    """The JSON object in config.json; empty where it cannot be read, of which loading tells the user."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
