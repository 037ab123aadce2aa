"""Finding a checkpoint: a local folder, or a Hub id with an optional revision."""

from collections.abc import Sequence
from pathlib import Path

from artquant_plugin.checkpoint.other_trainers import checkpoints_in, which_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hub import fetch_snapshot, is_hub_id, split_revision
from artquant_plugin.common.paths import expanded

CONFIG_FILE = "config.json"
ADAPTER_CONFIG_FILE = "adapter_config.json"
# File names of weights that are not loaded: pickles, which are read for checkpoints of the paper's own code alone, and
# the formats of other frameworks.
PICKLES = ("*.bin",)
OTHER_WEIGHTS = ("*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.tflite")


def locate(pretrained: str, *, ignore: Sequence[str] = (*PICKLES, *OTHER_WEIGHTS)) -> Path:
    """Find the local folder of a checkpoint, which is downloaded where it is not on this machine.

    Args:
        pretrained: a folder, or a Hub id with an optional revision, such as ``name/model@v1``.
        ignore: patterns of names, such as ``*.bin``, of files that are not downloaded.

    Returns:
        A folder with a config.json or adapter_config.json. An output folder that holds nothing but one
        `checkpoint-N/` stands for that.

    Raises:
        ArtQuantError: there is no such folder, the Hub does not have it or cannot be reached, or the folder holds no
            checkpoint, or several `checkpoint-N/` of which one has to be chosen.
    """
    folder = expanded(pretrained)
    if not folder.is_dir():
        if not is_hub_id(split_revision(pretrained)[0]):
            raise ArtQuantError(f"checkpoint {pretrained!r} is no folder and no Hub id; train one or mend the path")
        folder = fetch_snapshot(pretrained, ignore=list(ignore))
    if not _holds_checkpoint(folder):
        found = checkpoints_in(folder)
        if len(found) == 1 and _holds_checkpoint(found[0]):
            return found[0]
        if found:
            raise ArtQuantError(
                f"{pretrained!r} holds no {CONFIG_FILE} and no {ADAPTER_CONFIG_FILE}; {which_checkpoint(folder)}"
            )
        raise ArtQuantError(
            f"{pretrained!r} holds no {CONFIG_FILE} and no {ADAPTER_CONFIG_FILE}; name the folder that training wrote"
        )
    return folder


def _holds_checkpoint(folder: Path) -> bool:
    """Whether there is a configuration of a model or of an adapter."""
    return any((folder / name).is_file() for name in (CONFIG_FILE, ADAPTER_CONFIG_FILE))
