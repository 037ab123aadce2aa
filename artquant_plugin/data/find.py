"""Finding a dataset by its name, its folder, or its place on the Hub."""

from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hub import is_hub_id
from artquant_plugin.common.paths import expanded
from artquant_plugin.data.dataset import DEMO, INFO_FILE, data_home
from artquant_plugin.data.hub_rad import fetch_dataset, is_published_name

PUBLISHED = ("apdd", "baid", "vaps")  # datasets with tasks of their own, on which papers publish figures
IMPORTERS = (*PUBLISHED, "lapis", "sidhu", "ava")  # what has an importer of its own in artquant_plugin.data.importers


def find_dataset(name_or_path: str) -> Path:
    """Folder of a dataset.

    Args:
        name_or_path: a name under `data_home`, a folder, or one on the Hub (``namespace/name:config``), which is
            fetched.

    Raises:
        ArtQuantError: it is not there; the message has the command that makes it.
    """
    folder = expanded(name_or_path)
    named = data_home() / name_or_path
    for candidate in (named, folder):
        if (candidate / INFO_FILE).is_file():
            return candidate
    if is_published_name(name_or_path):
        return fetch_dataset(name_or_path)
    remedy = f"`{import_command(name_or_path)}`"
    if is_hub_id(name_or_path):
        remedy += f", or name a configuration of one on the Hub ({name_or_path}:CONFIG)"
    raise ArtQuantError(f"dataset {name_or_path!r} is not in '{data_home()}'; make it with {remedy}")


def import_command(name_or_path: str) -> str:
    """The command that makes a dataset.

    Args:
        name_or_path: the demo's name, that of a published dataset, or a name or folder of the user's own.
    """
    if name_or_path == DEMO:
        return "artquant data demo"
    known = [kind for kind in IMPORTERS if name_or_path in (kind, f"{kind}_beauty", f"{kind}_liking")]
    kind = known[0] if known else f"csv --name {Path(name_or_path).name}"
    return f"artquant data import {kind} --annotations FILE_OR_FOLDER --images FOLDER"
