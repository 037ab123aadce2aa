"""Reading checkpoints in the layout of the paper's code: base models, and LoRA folders with other trained weights.

Source: GitHub Henglin-Liu/ArtQuant at f6b1fca, which writes them, and X-PLUG/mPLUG-Owl, whose base model it trains.
The state dict of a base model has the keys of ours. A LoRA folder holds `adapter_model.bin` or `.safetensors`,
`non_lora_trainables.bin` and a `config.json`; the paper's code merges it into the base model at loading, and so do we,
in float32. Pickled files are read with `weights_only`, which runs no code that they contain.
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2Config
from artquant_plugin.backbones.mplug_owl2.layout import ADAPTER_CONFIG, PUBLISHED_BASE, is_original, read_json
from artquant_plugin.backbones.mplug_owl2.modeling import MPLUGOwl2ForConditionalGeneration
from artquant_plugin.backbones.mplug_owl2.processing import MPLUGOwl2ImageProcessor, MPLUGOwl2Processor
from artquant_plugin.backbones.mplug_owl2.tokenization import tokenizer_from_sentencepiece
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.stand_ins import stand_in
from artquant_plugin.common.text import one_line

OTHER_WEIGHTS = "non_lora_trainables.bin"
PEFT_PREFIX = "base_model.model."
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # for shards, .index.json follows the name

StateDict = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class OriginalCheckpoint:
    """A checkpoint in the layout of the paper's code, read and merged.

    Args:
        config: the configuration, converted to that of our architecture.
        weights: the complete state dict; merged tensors are float32, the others have the type that they are stored in.
        processor: a processor with the image handling and the tokens of the paper's code.
    """

    config: MPLUGOwl2Config
    weights: StateDict
    processor: MPLUGOwl2Processor


def read_original(folder: Path, base: Path | None = None) -> OriginalCheckpoint:
    """Read a base model, or read a LoRA folder and merge it into its base model.

    Args:
        folder: the local folder of the checkpoint.
        base: the local folder of the base model, which a LoRA folder needs; it is not looked at for a base model.

    Raises:
        ArtQuantError: a file is missing, cannot be read, or is a pickle of more than tensors; or weights and
            configuration do not fit together.
    """
    source = base if (folder / ADAPTER_CONFIG).is_file() else folder
    if source is None:
        raise ArtQuantError(f"{folder} is an adapter; give its base model's folder with base=FOLDER_OR_ID")
    if not is_original(source):
        raise ArtQuantError(
            f"base model '{source}' is no mPLUG-Owl2 in the original's layout; give a copy of {PUBLISHED_BASE}"
        )
    content = read_json(source / "config.json")
    try:
        config = MPLUGOwl2Config.from_original(content)
    except (KeyError, TypeError, ValueError) as error:
        reason = one_line(error)
        raise ArtQuantError(f"{source / 'config.json'} is not an mPLUG-Owl2's ({reason}); fetch it again") from error
    weights = {name: value for name, value in _base_weights(source) if not name.endswith("rotary_emb.inv_freq")}
    _check_weights(weights, config, source)
    if source is not folder:
        _merge(weights, folder)
    return OriginalCheckpoint(config=config, weights=weights, processor=_processor(source, config))


def _processor(folder: Path, config: MPLUGOwl2Config) -> MPLUGOwl2Processor:
    """Build a processor from the base model's SentencePiece file and image settings."""
    settings = read_json(folder / "preprocessor_config.json")
    vocabulary = folder / "tokenizer.model"
    if not vocabulary.is_file():
        raise ArtQuantError(f"{folder} holds no tokenizer.model; copy it from {PUBLISHED_BASE}")
    side = config.vision.image_size
    images = MPLUGOwl2ImageProcessor(
        size={"height": side, "width": side}, image_mean=settings["image_mean"], image_std=settings["image_std"]
    )
    tokenizer = tokenizer_from_sentencepiece(vocabulary, max_length=config.max_position_embeddings)
    return MPLUGOwl2Processor(images, tokenizer, tokens_per_image=config.tokens_per_image)


def _base_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a base model, from one file or from shards."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            yield from _tensors(folder / name)
            return
        index = folder / f"{name}.index.json"
        if index.is_file():
            for shard in sorted(set(read_json(index)["weight_map"].values())):
                yield from _tensors(folder / shard)
            return
    raise ArtQuantError(f"{folder} holds no weights ({' or '.join(WEIGHTS)}, whole or in shards); fetch it again")


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a file, mapped into memory, so that a large model is read where it is used."""
    if path.exists() and (instead := stand_in(path)) is not None:
        raise ArtQuantError(f"{path} {instead}")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    yield name, file.get_tensor(name)
        else:
            yield from torch.load(path, map_location="cpu", weights_only=True, mmap=True).items()
    except FileNotFoundError as error:
        raise ArtQuantError(f"{path} is missing; fetch the checkpoint again") from error
    except pickle.UnpicklingError as error:
        raise ArtQuantError(f"{path} holds more than tensors and is not unpickled; get it as safetensors") from error
    except (SafetensorError, RuntimeError, OSError, EOFError, AttributeError) as error:
        reason = one_line(error)
        raise ArtQuantError(f"{path} is no weights file ({reason}); fetch it again") from error


def _check_weights(weights: StateDict, config: MPLUGOwl2Config, folder: Path) -> None:
    """Raise where the weights have other names or shapes than the architecture."""
    with torch.device("meta"):
        expected = MPLUGOwl2ForConditionalGeneration(config).state_dict()
    for problem, names in (("lack", expected.keys() - weights.keys()), ("hold", weights.keys() - expected.keys())):
        if names:
            also = "" if problem == "lack" else ", which the architecture has not"
            raise ArtQuantError(
                f"the weights of {folder} {problem} {len(names)} tensors such as {min(names)!r}{also}; fetch it again"
            )
    for name, value in expected.items():
        _check_shape(weights[name], value, name, folder)


def _check_shape(stored: Tensor, expected: Tensor, name: str, folder: Path) -> None:
    if stored.shape != expected.shape:
        raise ArtQuantError(
            f"{name!r} of {folder} has shape {tuple(stored.shape)}, the model's has {tuple(expected.shape)}; give the "
            "base model and the configuration that it was trained with"
        )


def _merge(weights: StateDict, folder: Path) -> None:
    """Merge a LoRA folder into the base model's weights in place: its other trained weights replace them."""
    settings = read_json(folder / ADAPTER_CONFIG)
    unusual = [key for key in ("use_rslora", "use_dora", "fan_in_fan_out", "modules_to_save") if settings.get(key)]
    if unusual or settings.get("bias", "none") != "none":
        raise ArtQuantError(
            f"{folder / ADAPTER_CONFIG} uses {(unusual or ['bias'])[0]}, which the paper's code does not"
        )
    files = [folder / name for name in ("adapter_model.safetensors", "adapter_model.bin") if (folder / name).is_file()]
    if not files:
        raise ArtQuantError(f"{folder} holds no adapter_model.bin or .safetensors; fetch it again")
    adapter = {name.removeprefix(PEFT_PREFIX): value for name, value in _tensors(files[0])}
    downs = [name for name in adapter if name.endswith(".lora_A.weight")]
    if len(downs) * 2 != len(adapter) or not downs:
        raise ArtQuantError(
            f"{files[0]} holds {len(adapter)} tensors that are no pairs lora_A, lora_B; fetch it again"
        )
    for name in downs:
        target = name.replace(".lora_A", "")
        up = adapter.get(name.replace("lora_A", "lora_B"))
        if target not in weights or up is None:
            raise ArtQuantError(
                f"adapter weight {name!r} of {folder} has no counterpart; give the base it was made of"
            )
        change = up.float() @ adapter[name].float() * (settings["lora_alpha"] / settings["r"])
        _check_shape(change, weights[target], target, folder)
        weights[target] = weights[target].float() + change
    if not (folder / OTHER_WEIGHTS).is_file():
        raise ArtQuantError(f"{folder} holds no {OTHER_WEIGHTS} (trained ViT and abstractor); fetch it again")
    for name, value in _tensors(folder / OTHER_WEIGHTS):
        target = name.removeprefix(PEFT_PREFIX)
        if target not in weights:
            raise ArtQuantError(f"{name!r} of {folder / OTHER_WEIGHTS} is no weight of the base; give the right base")
        _check_shape(value, weights[target], target, folder)
        weights[target] = value
