"""A checkpoint: what `transformers` saves plus one scoring file; from a local folder or the Hub."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from artquant_plugin.errors import ArtQuantError
from artquant_plugin.files import atomic_write
from artquant_plugin.images import Handling
from artquant_plugin.levels import LevelScale
from artquant_plugin.prompting import PromptSpec

SCORING_FILE = "artquant.json"
FORM_VERSION = 1


@dataclass(frozen=True, slots=True)
class ScoringSpec:
    """The scoring file: everything beyond weights and processor that a score depends on.

    Args:
        scale: level words and values.
        prompt: questions, answer prefix, order of image and text.
        images: how image files are opened, see `artquant_plugin.images.open_image`.
    """

    scale: LevelScale = field(default_factory=LevelScale)
    prompt: PromptSpec = field(default_factory=PromptSpec)
    images: Handling = "as_shown"

    def save(self, folder: Path) -> None:
        """Write the scoring file into a checkpoint folder."""
        content = {
            "form_version": FORM_VERSION,
            "levels": dict(zip(self.scale.names, self.scale.values, strict=True)),
            "prompt": dataclasses.asdict(self.prompt),
            "images": self.images,
        }
        with atomic_write(folder / SCORING_FILE) as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "ScoringSpec":
        """Read a folder's scoring file; a folder without one is scored with the defaults.

        Raises:
            ArtQuantError: the file is not of this form.
        """
        path = folder / SCORING_FILE
        if not path.is_file():
            return cls()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content["form_version"]
            if version != FORM_VERSION:
                raise ArtQuantError(
                    f"{path} has form version {version}, this release reads {FORM_VERSION}; update artquant-plugin"
                )
            levels = content["levels"]
            scale = LevelScale(names=tuple(levels), values=tuple(float(value) for value in levels.values()))
            images = content.get("images", "as_shown")
            if images not in get_args(Handling):
                raise ArtQuantError(f"{path} has images {images!r}; use one of {', '.join(get_args(Handling))}")
            return cls(scale=scale, prompt=PromptSpec(**content["prompt"]), images=images)
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ArtQuantError(f"{path} is not a scoring file ({error!r}); save the checkpoint again") from error


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint.

    Args:
        model: in evaluation mode, on its device.
        processor: with chat template and tokenizer.
        spec: the scoring file.
        name: what the user typed.
    """

    model: Any
    processor: Any
    spec: ScoringSpec
    name: str


def locate(pretrained: str) -> Path:
    """The local folder of a checkpoint.

    Args:
        pretrained: a folder, or a Hub id with an optional revision (``name/model@v1``), which is downloaded.

    Raises:
        ArtQuantError: no such folder, and the Hub does not give it.
    """
    folder = Path(pretrained).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ArtQuantError(f"{pretrained!r} holds no config.json; name the folder that training wrote")
        return folder
    name, _, revision = pretrained.partition("@")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ArtQuantError(f"checkpoint {pretrained!r} is no folder and no Hub id; train one or mend the path")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision or None))
    except RepositoryNotFoundError as error:
        raise ArtQuantError(f"the Hub has no model {name!r} that you may read; mend the id or log in") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ArtQuantError(f"{pretrained!r} could not be fetched from the Hub ({reason}); try again") from error


def locate_original(pretrained: str, base: str | None) -> tuple[Path, Path | None]:
    """The local folders of a checkpoint in the original's layout and of its base model.

    Args:
        pretrained: a folder or Hub id, see `locate`.
        base: the same of a LoRA checkpoint's base model; what its adapter names when None.

    Raises:
        ArtQuantError: one of them cannot be had, or the checkpoint is not in the original's layout.
    """
    from artquant_plugin.backbones.mplug_owl2.original import base_name, is_original

    folder = locate(pretrained)
    if not is_original(folder):
        raise ArtQuantError(f"{pretrained!r} is not in the layout of the paper's code; load it as it is")
    name = base_name(folder) and (base or base_name(folder))
    try:
        return folder, locate(name) if name else None
    except ArtQuantError as error:
        raise ArtQuantError(f"base model of {pretrained!r}: {error}; name it with base=FOLDER_OR_ID") from error


def load_checkpoint(
    pretrained: str, *, base: str | None = None, dtype: str = "auto", device: str = "cpu", attn: str = "sdpa"
) -> Checkpoint:
    """Load weights, processor and scoring file.

    Args:
        pretrained: a folder or Hub id, see `locate`.
        base: folder or Hub id of the base model of an adapter, where it is not the one that the adapter names.
        dtype: torch's name of a floating type, or ``auto`` for the checkpoint's own.
        device: where the model goes.
        attn: attention implementation (``sdpa``, ``eager``, ``flash_attention_2``).

    Raises:
        ArtQuantError: the checkpoint cannot be found or loaded.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from artquant_plugin.backbones import register_architectures
    from artquant_plugin.backbones.mplug_owl2.original import is_original

    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise ArtQuantError(f"dtype {dtype!r} is unknown; use auto, float32, bfloat16 or float16")
    if dtype == "float16" and torch.device(device).type == "cpu":
        raise ArtQuantError("dtype float16 needs a GPU; use float32 or bfloat16 on the CPU")
    register_architectures()
    folder = locate(pretrained)
    options = {"dtype": dtype if dtype == "auto" else getattr(torch, dtype), "attn_implementation": attn}
    if is_original(folder):
        from artquant_plugin.backbones.mplug_owl2.conversion import load_original

        model, processor, spec = load_original(*locate_original(pretrained, base), options)
        return Checkpoint(model=_placed(model, dtype, device), processor=processor, spec=spec, name=pretrained)
    spec = ScoringSpec.load(folder)
    try:
        processor = AutoProcessor.from_pretrained(folder)
        model: Any = AutoModelForImageTextToText.from_pretrained(folder, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ArtQuantError(f"checkpoint {pretrained!r} cannot be loaded: {reason}") from error
    return Checkpoint(model=_placed(model, dtype, device), processor=processor, spec=spec, name=pretrained)


def _placed(model: Any, dtype: str, device: str) -> Any:
    """On its device, to score; weights stored as float16 become float32 where no GPU is to compute with them."""
    import torch

    if dtype == "auto" and model.dtype == torch.float16 and torch.device(device).type == "cpu":
        model = model.float()
    return model.to(device).eval()


def save_checkpoint(folder: Path, model: Any, processor: Any, spec: ScoringSpec) -> None:
    """Write what `load_checkpoint` reads: safetensors, processor, tokenizer and the scoring file, which comes last.

    Args:
        folder: made when absent.
        model: a `transformers` model.
        processor: its processor.
        spec: the scoring file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    spec.save(folder)
