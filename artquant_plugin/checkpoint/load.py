"""Reading checkpoints: a full model, or an adapter and its base, whole or not at all."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.checkpoint.adapter import (
    ADAPTER_FILE,
    add_adapter,
    base_of,
    extra_names,
    load_extra_weights,
    mark_trained,
)
from artquant_plugin.checkpoint.identity import Identity, identify
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE, OTHER_WEIGHTS, locate
from artquant_plugin.checkpoint.spec import ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hub import commit_of, split_revision
from artquant_plugin.common.text import listed, one_line

DTYPES = ("auto", "float32", "bfloat16", "float16")
ATTENTION = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention")
QUANTIZATION = ("4bit", "8bit")
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint.

    Args:
        model: in evaluation mode, on its device.
        processor: with chat template and tokenizer.
        spec: the scoring file.
        name: what the user typed.
        folder: that it was loaded from; None for a model that never was in one.
    """

    model: Any
    processor: Any
    spec: ScoringSpec
    name: str
    folder: Path | None = None

    @property
    def identity(self) -> Identity:
        """Which weights these are.

        Raises:
            ArtQuantError: it was not loaded from a folder.
        """
        if self.folder is None:
            raise ArtQuantError(f"checkpoint {self.name!r} is in no folder; save it first")
        return identify(self.name, self.folder)


def load_checkpoint(
    pretrained: str,
    *,
    base: str | None = None,
    dtype: str = "auto",
    device: str = "cpu",
    attn: str = "sdpa",
    quantization: str | None = None,
    trust_remote_code: bool = False,
) -> Checkpoint:
    """Load weights, processor and scoring file.

    Args:
        pretrained: a folder or Hub id, see `locate`: of a full model, or of a peft adapter that names its base.
            ``extra_weights.safetensors`` in it replaces weights of the (base) model. Checkpoints in the layout of the
            paper's own code are read, too.
        base: folder or Hub id of an adapter's base model, where it is not the one that the adapter names.
        dtype: torch's name of a floating type, or ``auto`` for the checkpoint's own.
        device: where the model goes.
        attn: attention implementation, one of `ATTENTION`; ``sdpa`` is ``eager`` in parts that have no sdpa.
        quantization: ``4bit`` or ``8bit`` for the (base) model's linear layers.
        trust_remote_code: whether Python code of the checkpoint's repository may run.

    Raises:
        ArtQuantError: the checkpoint cannot be found, is not whole, or does not fit together.
    """
    import torch

    from artquant_plugin.backbones import register_architecture
    from artquant_plugin.backbones.mplug_owl2.layout import is_original

    _check_options(dtype, device, attn, quantization)
    folder = locate(pretrained)
    if is_original(folder):
        if quantization is not None:
            raise ArtQuantError(f"{pretrained!r} is not quantised as it is; convert it first, with `artquant convert`")
        return _load_original(pretrained, base, dtype, device, attn)
    spec = ScoringSpec.load(folder)
    is_adapter = (folder / ADAPTER_CONFIG_FILE).is_file()
    base = (base or base_of(folder, pretrained)) if is_adapter else pretrained
    base_folder = _base_folder(base, pretrained) if is_adapter else folder
    register_architecture(base_folder)
    extra = extra_names(folder)
    options: dict[str, Any] = {
        "dtype": dtype if dtype == "auto" else getattr(torch, dtype),
        # Left to itself, transformers takes sdpa for each part of the model that has it (Gemma 2 has not).
        "attn_implementation": None if attn == "sdpa" else attn,
    }
    if quantization is not None:
        options["quantization_config"] = _quantized(quantization, dtype, extra)
        options["device_map"] = {"": device}
    if is_original(base_folder):  # what was trained from the paper's own base
        model = _original_base(base, options)
        processor = load_processor(folder, folder, pretrained, trust_remote_code)
    else:
        processor = load_processor(folder, base_folder, pretrained, trust_remote_code)
        model = _load_model(base_folder, base, options, trust_remote_code)
    load_extra_weights(model, folder)
    if is_adapter:
        model = add_adapter(model, folder, pretrained)
        mark_trained(model, extra)
    if quantization is None:
        model = _placed(model, dtype, device)
    return Checkpoint(model=model.eval(), processor=processor, spec=spec, name=pretrained, folder=folder)


def locate_original(pretrained: str, base: str | None) -> tuple[Path, Path | None]:
    """The local folders of a checkpoint in the layout of the paper's code, and of its base model.

    Args:
        pretrained: a folder or Hub id, see `locate`.
        base: the same of a LoRA checkpoint's base model; what its adapter names when None.

    Raises:
        ArtQuantError: one of them cannot be had, or the checkpoint is not in that layout.
    """
    from artquant_plugin.backbones.mplug_owl2.layout import base_name, is_original

    folder = locate(pretrained, ignore=OTHER_WEIGHTS)
    if not is_original(folder):
        raise ArtQuantError(f"{pretrained!r} is not in the layout of the paper's code; load it as it is")
    named = base_name(folder, base)
    try:
        return folder, locate(named, ignore=OTHER_WEIGHTS) if named else None
    except ArtQuantError as error:
        raise ArtQuantError(f"base model of {pretrained!r}: {error}; name it with base=FOLDER_OR_ID") from error


def _load_original(pretrained: str, base: str | None, dtype: str, device: str, attn: str) -> Checkpoint:
    import torch

    from artquant_plugin.checkpoint.original import load_original

    options = {"dtype": dtype if dtype == "auto" else getattr(torch, dtype), "attn_implementation": attn}
    folder, base_folder = locate_original(pretrained, base)
    model, processor, spec = load_original(folder, base_folder, options)
    if base_folder is None:
        _name(model, pretrained, folder)
    return Checkpoint(_placed(model, dtype, device).eval(), processor, spec, pretrained, folder)


def _original_base(base: str, options: dict[str, Any]) -> Any:
    """The base model of an adapter of ours, in the original's layout."""
    from artquant_plugin.checkpoint.original import load_original

    folder, lora_base = locate_original(base, None)
    if lora_base is not None or "quantization_config" in options:
        raise ArtQuantError(f"{base!r} is no base model as it is; convert it first, with `artquant convert`")
    model, _, _ = load_original(folder, None, options)
    _name(model, base, folder)
    return model


def _name(model: Any, name: str, folder: Path) -> None:
    """Have the model know where it is from, for an adapter to name it; on the Hub, which commit."""
    if Path(name).is_dir():
        model.name_or_path = str(folder.resolve())
        return
    commit = commit_of(folder)
    model.name_or_path = name if split_revision(name)[1] or commit is None else f"{name}@{commit}"


def _placed(model: Any, dtype: str, device: str) -> Any:
    """On its device; weights stored as float16 become float32 where no GPU is to compute with them."""
    import torch

    if dtype == "auto" and model.dtype == torch.float16 and torch.device(device).type == "cpu":
        model = model.float()
    return model.to(device)


def _check_options(dtype: str, device: str, attn: str, quantization: str | None) -> None:
    from artquant_plugin.common.device import check_device

    kind = check_device(device)
    if dtype not in DTYPES:
        raise ArtQuantError(f"dtype {dtype!r} is unknown; use {', '.join(DTYPES[:-1])} or {DTYPES[-1]}")
    if dtype == "float16" and kind == "cpu":
        raise ArtQuantError("dtype float16 needs a GPU; use float32 or bfloat16 on the CPU")
    if attn not in ATTENTION:
        raise ArtQuantError(f"attn {attn!r} is unknown; use {', '.join(ATTENTION[:-1])} or {ATTENTION[-1]}")
    if quantization is None:
        return
    if quantization not in QUANTIZATION:
        raise ArtQuantError(f"quantization {quantization!r} is unknown; use {' or '.join(QUANTIZATION)}")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ArtQuantError(
            f"quantization {quantization} needs bitsandbytes; pip install 'artquant-plugin[quantized]'"
        )
    if kind not in ("cuda", "cpu"):
        raise ArtQuantError(f"quantization {quantization} runs on cuda or cpu, not {device!r}; use one of them")


def _base_folder(base: str, pretrained: str) -> Path:
    try:
        folder = locate(base)
    except ArtQuantError as error:
        raise ArtQuantError(f"the base of adapter {pretrained!r} is not there: {error}") from error
    if (folder / ADAPTER_CONFIG_FILE).is_file():
        raise ArtQuantError(
            f"the base {base!r} of adapter {pretrained!r} is an adapter itself; merge it into its base"
        )
    return folder


def _quantized(quantization: str, dtype: str, extra: list[str]) -> Any:
    """Bitsandbytes' configuration; modules with extra weights stay as they are, or those could not be put in."""
    import torch
    from transformers import BitsAndBytesConfig

    compute = torch.bfloat16 if dtype == "auto" else getattr(torch, dtype)
    skipped = sorted({name.rpartition(".")[0] for name in extra})
    return BitsAndBytesConfig(
        load_in_4bit=quantization == "4bit",
        load_in_8bit=quantization == "8bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=compute,
        llm_int8_skip_modules=["lm_head", *skipped] if skipped else None,
    )


def load_processor(folder: Path, base_folder: Path, pretrained: str, trust_remote_code: bool) -> Any:
    """The processor of the checkpoint, or of an adapter's base where the adapter brings none.

    Args:
        folder: of the checkpoint.
        base_folder: of its base model, or the same.
        pretrained: what the user typed, for messages.
        trust_remote_code: whether Python code of the repository may run.

    Raises:
        ArtQuantError: files are missing, or it cannot be loaded.
    """
    from transformers import AutoProcessor, ProcessorMixin

    source = folder if any((folder / name).is_file() for name in PROCESSOR_FILES) else base_folder
    missing = (
        f"checkpoint {pretrained!r} has no whole processor; copy {PROCESSOR_FILES[0]} or {PROCESSOR_FILES[1]} and "
        "the tokenizer's files from the model that it was trained from"
    )
    if not any((source / name).is_file() for name in PROCESSOR_FILES):
        raise ArtQuantError(missing)
    # Where mistral-common is installed, transformers prefers its tokenizer, which knows no chat templates.
    options = {"mistral_format": False} if (source / "tekken.json").is_file() else {}
    remedy = "copy the processor's and the tokenizer's files from the model that it was trained from"
    with _one_line(f"the processor of {pretrained!r}", remedy):
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=trust_remote_code, **options)
    if not isinstance(processor, ProcessorMixin):
        raise ArtQuantError(f"{missing} ({type(processor).__name__} alone was found)")
    return processor


def _load_model(folder: Path, name: str, options: dict[str, Any], trust_remote_code: bool) -> Any:
    """A full model, every weight of which is in its file."""
    from transformers import AutoModelForImageTextToText

    loader: Any = AutoModelForImageTextToText
    if (folder / ADAPTER_FILE).is_file():
        raise ArtQuantError(f"{name!r} holds {ADAPTER_FILE} without {ADAPTER_CONFIG_FILE}; save the adapter again")
    with _one_line(f"checkpoint {name!r}", "save or fetch it again"):
        model, info = loader.from_pretrained(
            folder,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # to name them below
            output_loading_info=True,
            trust_remote_code=trust_remote_code,
            **options,
        )
    if model.config.is_encoder_decoder:
        raise ArtQuantError(
            f"checkpoint {name!r} is an encoder-decoder ({type(model).__name__}), which reads no prompt before its "
            "answer; use a decoder-only model"
        )
    for key, found, wanted in sorted(info["mismatched_keys"]):
        raise ArtQuantError(
            f"checkpoint {name!r}: {key} has shape {list(found)}, its config.json asks for {list(wanted)}; "
            "save or fetch it again"
        )
    if info["missing_keys"]:
        raise ArtQuantError(
            f"checkpoint {name!r} lacks {listed(sorted(info['missing_keys']), 2)}; save or fetch it again, whole"
        )
    _name(model, name, folder)
    return model


@contextmanager
def _one_line(what: str, remedy: str) -> Iterator[None]:
    """Turn what `transformers` raises into one line."""
    from safetensors import SafetensorError

    failures = (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError, TypeError, SafetensorError)
    try:
        yield
    except failures as error:
        if isinstance(error, ArtQuantError):
            raise
        if "trust_remote_code" in str(error):
            raise ArtQuantError(
                f"{what} needs Python code of its own; read it, then pass trust_remote_code=true"
            ) from error
        if isinstance(error, ImportError):
            raise ArtQuantError(f"{what} needs a package that is not there ({one_line(error)}); install it") from error
        raise ArtQuantError(f"{what} cannot be loaded ({one_line(error)}); {remedy}") from error
