"""Whether the files of a checkpoint are what their names promise, before a library reads them.

A download that broke off, a Git LFS pointer or a web page under a file's name make `transformers`, `tokenizers` and
`safetensors` complain of headers, columns and characters. What is found here names the file, the cause and its remedy.
Of the weights the first bytes alone are read.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.json_text import read_object
from artquant_plugin.common.stand_ins import stand_in
from artquant_plugin.common.text import listed, literal, one_line

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
# JSON files that `transformers` and peft read. tokenizer.json is not among them: it is large, and looked at otherwise.
OBJECTS = (
    "config.json",
    "generation_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "vocab.json",
    "adapter_config.json",
    INDEX,
)
TEXTS = ("chat_template.jinja", "merges.txt")
TOKENIZER = "tokenizer.json"
_FETCH_AGAIN = "fetch or save it again"
_LARGEST_HEADER = 100_000_000  # bytes; the limit of `safetensors`
_OTHER_FORMATS = {
    b"PK\x03\x04": "a ZIP archive, as `torch.save` writes it",
    b"\x80": "a pickle of Python",
    b"GGUF": "a GGUF file",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive",
}


def check_files(folder: Path) -> None:
    """Check every file of a checkpoint that is there: JSON, texts, the tokenizer, and the weights' headers.

    Files that are missing are no concern of this function, except shards that an index names.

    Args:
        folder: the local folder of a full model or of an adapter.

    Raises:
        ArtQuantError: a file is empty, a pointer, a web page, of another format, or cut off.
        OSError: a file cannot be read for a reason of this machine.
    """
    for file in OBJECTS:
        if _there(folder / file):
            read_object(folder / file, remedy=_FETCH_AGAIN)
    for file in TEXTS:
        if _there(folder / file):
            _check_text(folder / file)
    for path in (folder / "tokenizer.model", *sorted(folder.glob("*.bin"))):
        if _there(path) and (instead := stand_in(path)) is not None:
            raise ArtQuantError(f"{path} {instead}")
    if _there(folder / TOKENIZER):
        _check_tokenizer(folder / TOKENIZER)
    whole = _there(folder / WEIGHTS)
    if _there(folder / INDEX) and not whole:
        _check_shards(folder)
    for path in sorted(folder.glob("*.safetensors")):
        check_safetensors(path)


def check_size(folder: Path, config: Any, name: str) -> None:
    """Refuse a configuration that describes a far larger model than the weights beside it can fill.

    A config.json whose text model is missing stands for the default one, of 7,000,000,000 weights, which
    `transformers` would make up at random for minutes before it says which weights are missing.

    Args:
        folder: the local folder of a full model.
        config: its configuration, a `transformers` object.
        name: what the user typed for it, for error messages.

    Raises:
        ArtQuantError: the configuration has more layers than there are tensors, or layers of more numbers than the
            files hold.
    """
    tensors = [tensor for path in _weights(folder) for tensor in check_safetensors(path)]
    if not tensors:
        return
    text = config.get_text_config()
    layers, width = getattr(text, "num_hidden_layers", None), getattr(text, "hidden_size", None)
    if not isinstance(layers, int) or not isinstance(width, int):
        return
    # A layer has several matrices of about width times width, of which one is counted. Two numbers of 4 bits may be
    # packed into one.
    if layers > len(tensors) or layers * width * width > 2 * sum(tensors):
        raise ArtQuantError(
            f"checkpoint {name!r} cannot be loaded: its config.json describes a language model of {layers:,} layers "
            f"of width {width:,}, and its files hold {len(tensors):,} tensors of {sum(tensors):,} numbers; fetch or "
            "save both again"
        )


def check_safetensors(path: Path) -> list[int]:
    """Check that a file is in the format of safetensors and has the length that its header describes.

    Args:
        path: the weights file, whose first bytes and header are read.

    Returns:
        How many numbers each of its tensors has.

    Raises:
        ArtQuantError: it is something else, or it is cut off.
        OSError: the file cannot be read for a reason of this machine.
    """
    instead = stand_in(path)
    if instead is not None:
        raise ArtQuantError(f"{path} {instead}")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        for start, kind in _OTHER_FORMATS.items():
            if head.startswith(start) and not head[8:9] == b"{":
                raise ArtQuantError(f"{path} is {kind}, under the name of safetensors; save it as safetensors")
        (length,) = struct.unpack("<Q", head[:8].ljust(8, b"\0"))
        if head[8:9] != b"{" or length > _LARGEST_HEADER:
            shown = literal(head[:24].decode("latin-1"), 100)
            raise ArtQuantError(f"{path} is no safetensors file, it begins with {shown}; {_FETCH_AGAIN}")
        if 8 + length > size:
            raise ArtQuantError(
                f"{path} is cut off: {size:,} bytes are there, its header alone has {8 + length:,}; {_FETCH_AGAIN}"
            )
        file.seek(8)
        header = file.read(length)
    try:
        tensors = {key: value for key, value in json.loads(header).items() if key != "__metadata__"}
        end = max((int(value["data_offsets"][1]) for value in tensors.values()), default=0)
        sizes = [math.prod(value["shape"]) for value in tensors.values()]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ArtQuantError(
            f"{path} has a header that is none of safetensors ({one_line(error)}); {_FETCH_AGAIN}"
        ) from error
    if 8 + length + end != size:
        state = "is cut off" if 8 + length + end > size else "is longer than its header says"
        raise ArtQuantError(f"{path} {state}: {size:,} of {8 + length + end:,} bytes; {_FETCH_AGAIN}")
    return sizes


def _weights(folder: Path) -> list[Path]:
    """The files that hold a full model's weights: one, or those that the index names."""
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        return [folder / WEIGHTS] if (folder / WEIGHTS).exists() else []
    names = set(read_object(folder / INDEX, remedy=_FETCH_AGAIN).get("weight_map", {}).values())
    return [folder / name for name in sorted(names)]


def _there(path: Path) -> bool:
    """Whether a file is there, or a link that leads nowhere, which a cache that was cleared leaves."""
    return path.exists() or path.is_symlink()


def _check_text(path: Path) -> None:
    """A text file in UTF-8 that is not something else."""
    if (instead := stand_in(path)) is not None:
        raise ArtQuantError(f"{path} {instead}")
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ArtQuantError(f"{path} is not UTF-8 ({one_line(error)}); {_FETCH_AGAIN}") from error


def _check_tokenizer(path: Path) -> None:
    """The beginning and the end of a JSON object; the library parses what is between, which takes a second."""
    if (instead := stand_in(path)) is not None:
        raise ArtQuantError(f"{path} {instead}")
    with path.open("rb") as file:
        first = file.read(256).lstrip()[:1]
        file.seek(max(path.stat().st_size - 256, 0))
        last = file.read().rstrip()[-1:]
    if first != b"{":
        shown = ascii(first.decode("latin-1"))
        raise ArtQuantError(f"{path} holds no JSON object, it begins with {shown}; {_FETCH_AGAIN}")
    if last != b"}":
        raise ArtQuantError(f"{path} is cut off after {path.stat().st_size:,} bytes; {_FETCH_AGAIN}")


def _check_shards(folder: Path) -> None:
    """Every shard that the index names is a file in the folder."""
    weight_map = read_object(folder / INDEX, remedy=_FETCH_AGAIN).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise ArtQuantError(f"{folder / INDEX} has no weight_map of names and files; {_FETCH_AGAIN}")
    shards = sorted(set(weight_map.values()))
    if outside := [shard for shard in shards if Path(shard).name != shard or not shard.endswith(".safetensors")]:
        raise ArtQuantError(
            f"{folder / INDEX} names {ascii(outside[0])}, which is no safetensors file beside it; {_FETCH_AGAIN}"
        )
    if missing := [shard for shard in shards if not _there(folder / shard)]:
        raise ArtQuantError(
            f"{folder} lacks {listed(missing, 2)}, of {len(shards)} files that {INDEX} names; fetch or save it again"
        )
