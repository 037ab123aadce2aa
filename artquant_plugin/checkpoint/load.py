"""Reading checkpoints: a full model, or an adapter and its base model, whole or not at all."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.checkpoint.adapter import (
    ADAPTER_FILE,
    adapter_config,
    add_adapter,
    base_of,
    extra_names,
    load_extra_weights,
    mark_trained,
)
from artquant_plugin.checkpoint.attention import attention_errors_in_one_line, check_attention, check_loaded_type
from artquant_plugin.checkpoint.files import WEIGHTS, check_files, check_size
from artquant_plugin.checkpoint.identity import Identity, files_hash, identify
from artquant_plugin.checkpoint.library_errors import library_errors_in_one_line
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE, OTHER_WEIGHTS, locate
from artquant_plugin.checkpoint.other_trainers import check_other_forms
from artquant_plugin.checkpoint.presets import choose_scoring
from artquant_plugin.checkpoint.processor import load_processor
from artquant_plugin.checkpoint.spec import ScoringSpec
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.hub import commit_of, split_revision
from artquant_plugin.common.text import listed

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint.

    Args:
        model: a `transformers` model, or a `peft.PeftModel` around one, in evaluation mode on its device.
        processor: the model's `transformers` processor, with chat template and tokenizer.
        spec: what the model is asked and how its answer is read.
        name: what the user typed to name the checkpoint, a folder or a Hub id.
        folder: the local folder that it was loaded from; None for a model that was never saved.
        base_folder: the local folder of the base model that an adapter was put on; None where there is none.
    """

    model: Any
    processor: Any
    spec: ScoringSpec
    name: str
    folder: Path | None = None
    base_folder: Path | None = None

    @property
    def identity(self) -> Identity:
        """Name, revision and hash of the weights; each call hashes the files, which takes seconds for a large model.

        Raises:
            ArtQuantError: the checkpoint was not loaded from a folder.
        """
        if self.folder is None:
            raise ArtQuantError(f"checkpoint {self.name!r} is in no folder; save it first")
        return identify(self.name, self.folder)

    @property
    def files_hash(self) -> str:
        """Hash of all files that a score depends on; each call reads them to the end.

        Raises:
            ArtQuantError: the checkpoint was not loaded from a folder.
        """
        if self.folder is None:
            raise ArtQuantError(f"checkpoint {self.name!r} is in no folder; save it first")
        return files_hash([self.folder] if self.base_folder is None else [self.folder, self.base_folder])


def load_checkpoint(
    pretrained: str,
    *,
    scoring: str | ScoringSpec | None = None,
    base: str | None = None,
    dtype: str = "auto",
    device: str = "cpu",
    attn: str = "sdpa",
    quantization: str | None = None,
    trust_remote_code: bool = False,
    moved_later: bool = False,
) -> Checkpoint:
    """Load weights and processor, and find out what the model is asked.

    Args:
        pretrained: folder, or Hub id with an optional ``@revision``, of a full model or of a peft adapter that names
            its base model. ``extra_weights.safetensors`` in it replaces weights of the (base) model. Checkpoints in
            the layout of the paper's own code are read, too.
        scoring: the name of a preset, a scoring file, a folder with one, or a ready spec; None for what
            `choose_scoring` finds for the checkpoint.
        base: folder or Hub id of an adapter's base model; None for the one that the adapter names. It is not looked
            at for a full model.
        dtype: torch's name of the weights' type, one of `DTYPES`. ``auto`` keeps the checkpoint's own, but on a CPU
            float16 becomes float32, and so does bfloat16 where the CPU has no instructions for it.
        device: torch's name of the device that the model goes to, such as ``cuda:1``.
        attn: attention implementation, one of `artquant_plugin.checkpoint.attention.ATTENTION` or a kernel of the Hub
            such as ``kernels-community/flash-attn2``. With ``sdpa``, parts of a model that have no sdpa use ``eager``.
        quantization: ``4bit`` or ``8bit`` to load the (base) model's linear layers through bitsandbytes; None to
            load them as they are stored.
        trust_remote_code: whether Python code of the checkpoint's repository may run.
        moved_later: whether the caller moves the model to another device before it computes, as training does. Then
            the caller has called `check_attention` for that device, and here `attn` is not checked.

    Returns:
        The checkpoint, with the model in evaluation mode on the device.

    Raises:
        ArtQuantError: an option is unknown or impossible on this machine, the checkpoint or its base model cannot be
            found, weights are missing, parts do not fit together, or nothing says what the model is asked.
    """
    from artquant_plugin.backbones import register_architecture
    from artquant_plugin.backbones.linear_attention import warn_of_missing_packages
    from artquant_plugin.backbones.mplug_owl2.layout import is_original
    from artquant_plugin.checkpoint.quantization import check_layers

    _check_options(dtype, device, None if moved_later else attn, quantization)
    folder = locate(pretrained)
    _check_files(folder, pretrained)
    if is_original(folder):
        if quantization is not None:
            raise _not_quantisable(pretrained)
        return _load_original(pretrained, scoring, base, dtype, device, attn)
    is_adapter = (folder / ADAPTER_CONFIG_FILE).is_file()
    if is_adapter:
        base = base or base_of(folder, pretrained)
        base_folder = _locate_base(base, pretrained)
        _check_files(base_folder, base)
        config = adapter_config(folder, pretrained)  # a kind that cannot be used is told before the base is loaded
    else:
        base, base_folder, config = pretrained, folder, None
    spec = choose_scoring(scoring, pretrained, folder, base_folder)
    register_architecture(base_folder)
    extra = extra_names(folder)
    options = _loading_options(dtype, attn)
    if is_original(base_folder):  # the adapter was trained on the published base model, which has no processor of ours
        if quantization is not None:
            raise _not_quantisable(base)
        model = _load_original_base(base, options)
        processor = load_processor(folder, folder, pretrained, trust_remote_code)
    else:
        _check_config(base_folder, base, quantization, trust_remote_code)
        processor = load_processor(folder, base_folder, pretrained, trust_remote_code)
        if quantization is not None:
            options |= _quantization_options(quantization, dtype, device, base, base_folder, extra, trust_remote_code)
        model = _load_model(base_folder, base, options, attn, trust_remote_code)
        if not moved_later:
            check_loaded_type(attn, str(model.dtype).removeprefix("torch."))
        if getattr(model, "is_quantized", False):  # as it is stored, or as the user asks
            check_layers(model, base)
    load_extra_weights(model, folder)
    if is_adapter:
        model = add_adapter(model, config, folder, pretrained)
        mark_trained(model, extra)
    if quantization is None:
        with library_errors_in_one_line(f"checkpoint {pretrained!r}", "use another device"):
            model = _place(model, dtype, device)
    base_of_adapter = base_folder if is_adapter else None
    _set_template(processor, spec)
    warn_of_missing_packages(model)
    return Checkpoint(model.eval(), processor, spec, name=pretrained, folder=folder, base_folder=base_of_adapter)


def locate_original(pretrained: str, base: str | None) -> tuple[Path, Path | None]:
    """Find a checkpoint in the layout of the paper's code, and its base model.

    Args:
        pretrained: folder, or Hub id with an optional ``@revision``, which is downloaded.
        base: folder or Hub id of a LoRA checkpoint's base model; None for the one that its adapter names.

    Returns:
        The local folders of both; None in the place of the base for a checkpoint that is a base model itself.

    Raises:
        ArtQuantError: one of them cannot be found, or the checkpoint is not in that layout.
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


def locate_base(pretrained: str, folder: Path, base: str | None) -> Path | None:
    """Find the base model from whose weights a checkpoint is completed.

    Args:
        pretrained: what the user typed for the checkpoint.
        folder: the local folder that `locate` returned for it.
        base: folder or Hub id of the base model; None for the one that the checkpoint names.

    Returns:
        The base model's local folder, which is downloaded where it is not on this machine; None for a checkpoint that
        holds all its weights.

    Raises:
        ArtQuantError: the base model cannot be found.
    """
    from artquant_plugin.backbones.mplug_owl2.layout import is_original

    if is_original(folder):
        return locate_original(pretrained, base)[1]
    if (folder / ADAPTER_CONFIG_FILE).is_file():
        return _locate_base(base or base_of(folder, pretrained), pretrained)
    return None


def _check_files(folder: Path, name: str) -> None:
    """Find files that are not what their names promise, and say a fault of this machine as what it is."""
    with library_errors_in_one_line(f"checkpoint {name!r}", "save or fetch it again"):
        try:
            check_files(folder)
        except ArtQuantError as error:
            raise ArtQuantError(f"checkpoint {name!r} cannot be loaded: {error}") from error


def _check_options(dtype: str, device: str, attn: str | None, quantization: str | None) -> None:
    """Refuse options that are unknown or impossible on this machine, before anything is fetched or read.

    `attn` is None where the caller has checked it.
    """
    from artquant_plugin.checkpoint.quantization import check_quantization
    from artquant_plugin.common.device import check_device

    kind = check_device(device)
    if dtype not in DTYPES:
        raise ArtQuantError(f"dtype {dtype!r} is unknown; use {', '.join(DTYPES[:-1])} or {DTYPES[-1]}")
    if dtype == "float16" and kind == "cpu":
        raise ArtQuantError("dtype float16 needs a GPU; use float32 or bfloat16 on the CPU")
    if attn is not None:
        check_attention(attn, device=kind, dtype=dtype)
    if quantization is not None:
        check_quantization(quantization, device)


def _check_config(folder: Path, name: str, quantization: str | None, trust_remote_code: bool) -> None:
    """Read a model's config.json by itself, so that its faults are not told as those of the processor or weights.

    Raises:
        ArtQuantError: it does not describe a model, it describes one that is far larger than the weights beside it,
            which would be filled with random numbers, or its weights are quantised in another way than asked for.
    """
    from transformers import AutoConfig

    from artquant_plugin.checkpoint.quantization import check_stored_quantization

    what = f"the config.json of {name!r}"
    with library_errors_in_one_line(what, "save or fetch the checkpoint again"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    check_stored_quantization(config, quantization, name)
    check_size(folder, config, name)


def _loading_options(dtype: str, attn: str) -> dict[str, Any]:
    """Type and attention for `from_pretrained`, which takes ``auto`` as a word and the other types as torch's."""
    import torch

    return {
        "dtype": dtype if dtype == "auto" else getattr(torch, dtype),
        # Left to itself, transformers takes sdpa for each part of the model that has it (Gemma 2 has not).
        "attn_implementation": None if attn == "sdpa" else attn,
    }


def _quantization_options(
    quantization: str,
    dtype: str,
    device: str,
    base: str,
    base_folder: Path,
    extra: list[str],
    trust_remote_code: bool,
) -> dict[str, Any]:
    """What `from_pretrained` needs to quantise; it then places the model on the device itself."""
    from artquant_plugin.checkpoint.quantization import quantization_config

    with library_errors_in_one_line(f"checkpoint {base!r}", "save or fetch it again"):
        config = quantization_config(
            quantization,
            dtype=dtype,
            device=device,
            folder=base_folder,
            extra=extra,
            trust_remote_code=trust_remote_code,
        )
    return {"quantization_config": config, "device_map": {"": device}}


def _load_model(folder: Path, name: str, options: dict[str, Any], attn: str, trust_remote_code: bool) -> Any:
    """Load a full model, and refuse one of which a weight is missing or has another shape."""
    from transformers import AutoModelForImageTextToText

    from artquant_plugin.backbones.linear_attention import use_kernels_by_device

    loader: Any = AutoModelForImageTextToText
    if (folder / ADAPTER_FILE).is_file():
        raise ArtQuantError(f"{name!r} holds {ADAPTER_FILE} without {ADAPTER_CONFIG_FILE}; save the adapter again")
    if not any(folder.glob("*.safetensors")):
        check_other_forms(folder, name, WEIGHTS)
    with (
        library_errors_in_one_line(f"checkpoint {name!r}", "save or fetch it again"),
        attention_errors_in_one_line(attn),
    ):
        model, info = loader.from_pretrained(
            folder,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # so that `_check_weights` names them in one line
            output_loading_info=True,
            trust_remote_code=trust_remote_code,
            **options,
        )
    if model.config.is_encoder_decoder:
        raise ArtQuantError(
            f"checkpoint {name!r} is an encoder-decoder ({type(model).__name__}), which reads no prompt before its "
            "answer; use a decoder-only model"
        )
    _check_weights(info, name)
    _set_origin(model, name, folder)
    use_kernels_by_device(model)
    return model


def _check_weights(info: dict[str, Any], name: str) -> None:
    """Raise where a weight has another shape, or was absent and made up at random; warn of weights that match nothing.

    Args:
        info: what `from_pretrained` reports of the loading.
        name: what the user typed for the checkpoint.
    """
    for key, stored, configured in sorted(info["mismatched_keys"]):
        raise ArtQuantError(
            f"checkpoint {name!r}: {key} has shape {list(stored)}, its config.json asks for {list(configured)}; "
            "save or fetch it again"
        )
    if info["missing_keys"]:
        raise ArtQuantError(
            f"checkpoint {name!r} lacks {listed(sorted(info['missing_keys']), 2)}; save or fetch it again, whole"
        )
    if info["unexpected_keys"]:  # no error, as some architectures publish weights of training alone
        warnings.warn(
            f"checkpoint {name!r} holds {listed(sorted(info['unexpected_keys']), 2)}, which match nothing in the "
            "model that its config.json describes and are left out; look whether both belong together",
            ArtQuantWarning,
            stacklevel=2,
        )


def _load_original(
    pretrained: str, scoring: str | ScoringSpec | None, base: str | None, dtype: str, device: str, attn: str
) -> Checkpoint:
    """Load a checkpoint in the layout of the paper's code."""
    from artquant_plugin.checkpoint.original import load_original

    spec = choose_scoring(scoring, pretrained, locate(pretrained))  # before gigabytes of pickles are fetched
    folder, base_folder = locate_original(pretrained, base)
    # The architecture is our own, and all of its parts have sdpa.
    options = _loading_options(dtype, attn) | {"attn_implementation": attn}
    model, processor = load_original(folder, base_folder, options)
    _set_template(processor, spec)
    if base_folder is None:
        _set_origin(model, pretrained, folder)
    with library_errors_in_one_line(f"checkpoint {pretrained!r}", "use another device"):
        model = _place(model, dtype, device)
    return Checkpoint(model.eval(), processor, spec, pretrained, folder, base_folder)


def _load_original_base(base: str, options: dict[str, Any]) -> Any:
    """Load the base model of an adapter of ours, where the base model is in the layout of the paper's code."""
    from artquant_plugin.checkpoint.original import load_original

    folder, lora_base = locate_original(base, None)
    if lora_base is not None:
        raise _no_base(base)
    model, _ = load_original(folder, None, options)
    _set_origin(model, base, folder)
    return model


def _set_template(processor: Any, spec: ScoringSpec) -> None:
    """Put the conversation of a preset in the place of the processor's own, so that a saved copy has it as well."""
    if spec.chat_template is not None:
        processor.chat_template = spec.chat_template


def _not_quantisable(name: str) -> ArtQuantError:
    return ArtQuantError(
        f"{name!r} is in the layout of the paper's code, which cannot be quantised while it is loaded; convert it "
        "first, with `artquant convert`"
    )


def _no_base(base: str) -> ArtQuantError:
    return ArtQuantError(f"{base!r} is no base model as it is; convert it first, with `artquant convert`")


def _locate_base(base: str, pretrained: str) -> Path:
    """The local folder of an adapter's base model, which must not be an adapter itself."""
    try:
        folder = locate(base)
    except ArtQuantError as error:
        raise ArtQuantError(f"the base of adapter {pretrained!r} is not there: {error}") from error
    if (folder / ADAPTER_CONFIG_FILE).is_file():
        raise ArtQuantError(
            f"the base {base!r} of adapter {pretrained!r} is an adapter itself; merge it into its base"
        )
    return folder


def _set_origin(model: Any, name: str, folder: Path) -> None:
    """Have the model know where it is from, so that an adapter of it names its base, on the Hub with the commit."""
    if Path(name).is_dir():
        model.name_or_path = str(folder.resolve())
        return
    commit = commit_of(folder)
    model.name_or_path = name if split_revision(name)[1] or commit is None else f"{name}@{commit}"


def _place(model: Any, dtype: str, device: str) -> Any:
    """Move a model to its device; on a CPU, ``auto`` takes float32 in place of a stored type that is slow there."""
    import torch

    from artquant_plugin.common.device import cpu_computes_bfloat16

    if dtype == "auto" and torch.device(device).type == "cpu":
        # bfloat16 would take 3 of the 11 significant bits that float16 has.
        slow = model.dtype == torch.float16 or (model.dtype == torch.bfloat16 and not cpu_computes_bfloat16())
        if slow:
            model = model.float()
    return model.to(device)
