"""Where a checkpoint is: a local folder, or a Hub id with an optional revision."""

import errno
from collections.abc import Sequence
from pathlib import Path

from artquant_plugin.errors import ArtQuantError

CONFIG_FILE = "config.json"
ADAPTER_CONFIG_FILE = "adapter_config.json"
# Weights in forms that are not loaded: pickles, save those of the paper's own code, and those of other frameworks.
PICKLES = ("*.bin",)
OTHER_WEIGHTS = ("*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.tflite")

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        folder = _downloaded(pretrained, ignore)
    if not any((folder / name).is_file() for name in (CONFIG_FILE, ADAPTER_CONFIG_FILE)):
        raise ArtQuantError(
            f"{pretrained!r} holds no {CONFIG_FILE} and no {ADAPTER_CONFIG_FILE}; name the folder that training wrote"
        )
    return folder


def split_revision(name: str) -> tuple[str, str | None]:
    """A Hub id and its revision, ``main`` as None."""
    identifier, _, revision = name.partition("@")
    return identifier, revision or None


def _downloaded(pretrained: str, ignore: Sequence[str]) -> Path:
    name, revision = split_revision(pretrained)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ArtQuantError(f"checkpoint {pretrained!r} is no folder and no Hub id; train one or mend the path")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(name, revision=revision, ignore_patterns=list(ignore)))
    except RepositoryNotFoundError as error:
        raise ArtQuantError(f"the Hub has no model {name!r} that you may read; mend the id or log in") from error
    except RevisionNotFoundError as error:
        raise ArtQuantError(f"model {name!r} has no revision {revision!r}; name a branch, tag or commit") from error
    except HFValidationError as error:
        raise ArtQuantError(f"checkpoint {pretrained!r} is no folder and no Hub id; mend the path") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            from huggingface_hub.constants import HF_HUB_CACHE

            raise ArtQuantError(
                f"{pretrained!r} does not fit on the disk of '{HF_HUB_CACHE}' ({reason}); make room, or set HF_HOME "
                "to a folder on another"
            ) from error
        raise ArtQuantError(
            f"{pretrained!r} is no folder, and could not be fetched from the Hub ({reason}); mend the path or try "
            "again"
        ) from error
