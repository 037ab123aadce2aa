"""Where a checkpoint is: a local folder, or a Hub id with an optional revision."""

from collections.abc import Sequence
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hub import fetch_snapshot, is_hub_id, split_revision

CONFIG_FILE = "config.json"
ADAPTER_CONFIG_FILE = "adapter_config.json"
# Weights in forms that are not loaded: pickles, save those of the paper's own code, and those of other frameworks.
PICKLES = ("*.bin",)
OTHER_WEIGHTS = ("*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.tflite")


def locate(pretrained: str, *, ignore: Sequence[str] = (*PICKLES, *OTHER_WEIGHTS)) -> Path:
    """The local folder of a checkpoint.

    Args:
        pretrained: a folder, or a Hub id with an optional revision (``name/model@v1``), which is downloaded.
        ignore: patterns of files that are not downloaded.

    Raises:
        ArtQuantError: no such folder, the Hub does not give it, or it holds no checkpoint.
    """
    folder = Path(pretrained).expanduser()
    if not folder.is_dir():
        if not is_hub_id(split_revision(pretrained)[0]):
            raise ArtQuantError(f"checkpoint {pretrained!r} is no folder and no Hub id; train one or mend the path")
        folder = fetch_snapshot(pretrained, ignore=list(ignore))
    if not any((folder / name).is_file() for name in (CONFIG_FILE, ADAPTER_CONFIG_FILE)):
        raise ArtQuantError(
            f"{pretrained!r} holds no {CONFIG_FILE} and no {ADAPTER_CONFIG_FILE}; name the folder that training wrote"
        )
    return folder
