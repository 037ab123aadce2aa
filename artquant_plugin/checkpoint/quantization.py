"""Weights of 4 or 8 bits through bitsandbytes: what is quantised of a model, and where that is possible."""

import importlib.util
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from artquant_plugin.checkpoint.locate import CONFIG_FILE
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning

QUANTIZATION = ("4bit", "8bit")
# bitsandbytes 0.50 on a CPU takes 4-bit weights in blocks of 64 that must not cross from one row to the next. Rows of
# another length end in a RuntimeError on CPUs with AVX512-BF16 (functional.py, _convert_weight_packed_for_cpu), which
# also take 32 rows at a time; other code paths (backends/cpu/ops.py, dequantize_4bit) compute wrong products of them.
CPU_INPUTS, CPU_OUTPUTS = 64, 32
_RULE = f"on a CPU, 4-bit weights need inputs in multiples of {CPU_INPUTS} and outputs in multiples of {CPU_OUTPUTS}"


def check_quantization(quantization: str, device: str) -> None:
    """Refuse a quantisation that cannot be had, before anything is loaded.

    Args:
        quantization: what the user asks for; ``4bit`` and ``8bit`` exist.
        device: torch's name of the device that the model goes to, such as ``cuda:1``.

    Raises:
        ArtQuantError: there is no such quantisation, bitsandbytes is not installed, or it does not run on the device.
    """
    if quantization not in QUANTIZATION:
        raise ArtQuantError(f"quantization {quantization!r} is unknown; use {' or '.join(QUANTIZATION)}")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ArtQuantError(
            f"quantization {quantization} needs bitsandbytes; pip install 'artquant-plugin[quantized]'"
        )
    if torch.device(device).type not in ("cuda", "cpu"):
        raise ArtQuantError(f"quantization {quantization} runs on cuda or cpu, not {device!r}; use one of them")


def quantization_config(
    quantization: str, *, dtype: str, device: str, folder: Path, extra: Iterable[str], trust_remote_code: bool
) -> Any:
    """The configuration with which transformers quantises a model's linear layers while it loads them.

    The output head and the modules that have extra weights are not quantised: those weights could not be put into
    quantised ones. With ``4bit`` on a CPU, layers that `fits_cpu_kernels` excludes stay unquantised, with a warning.

    Args:
        quantization: ``4bit`` (NF4) or ``8bit``, as `check_quantization` accepts it.
        dtype: torch's name of the type to compute in; ``auto`` means bfloat16.
        device: torch's name of the device that the model goes to.
        folder: the local folder of the model that is quantised, with its config.json.
        extra: names of weights that a checkpoint keeps beside its adapter; empty where it keeps none.
        trust_remote_code: whether Python code of the model's repository may run.

    Returns:
        A `transformers.BitsAndBytesConfig`.

    Raises:
        ArtQuantError: no layer of the model can be quantised on this device.
    """
    from transformers import BitsAndBytesConfig

    kept = {name.rpartition(".")[0] for name in extra}
    if quantization == "4bit" and torch.device(device).type == "cpu":
        kept |= _layers_to_keep(folder, kept, trust_remote_code)
    return BitsAndBytesConfig(
        load_in_4bit=quantization == "4bit",
        load_in_8bit=quantization == "8bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16 if dtype == "auto" else getattr(torch, dtype),
        # With None, transformers finds the output head itself; with a list, it leaves out what the list names alone.
        llm_int8_skip_modules=["lm_head", *sorted(kept)] if kept else None,
    )


def stored_quantization(folder: Path) -> str | None:
    """How the weights of a checkpoint are quantised already where it is stored.

    Args:
        folder: the local folder of a full model, with its config.json.

    Returns:
        The method that config.json names, such as ``bitsandbytes``, ``gptq``, ``awq`` or ``fp8``; None for weights
        that are not quantised, and for a folder without a config.json.

    Raises:
        ArtQuantError: config.json is no JSON object.
    """
    from artquant_plugin.backbones.mplug_owl2.layout import read_json

    path = folder / CONFIG_FILE
    if not path.is_file():
        return None
    waiting: list[Any] = [read_json(path)]
    while waiting:  # the configuration may stand in that of the language model
        found = waiting.pop()
        for name in ("quantization_config", "compression_config"):
            section = found.get(name)
            if isinstance(section, dict) and not _leaves_all(section):
                return str(section.get("quant_method") or "bitsandbytes")
        waiting += [value for value in found.values() if isinstance(value, dict)]
    return None


def _leaves_all(section: dict[str, Any]) -> bool:
    """Whether a configuration of bitsandbytes quantises nothing, as older versions of transformers wrote it."""
    widths = [section[name] for name in ("load_in_4bit", "load_in_8bit") if name in section]
    return bool(widths) and not any(widths)


def check_stored_quantization(config: Any, wanted: str | None, name: str) -> None:
    """Refuse a quantisation of weights that are stored in another quantised form.

    Args:
        config: the model's configuration, a `transformers` object.
        wanted: ``4bit`` or ``8bit``; None where the user asks for no quantisation.
        name: what the user typed for the checkpoint, for error messages.

    Raises:
        ArtQuantError: the configuration's entry is no object, or describes another form than the one that is wanted.
    """
    stored = getattr(config, "quantization_config", None)
    if stored is None:
        return
    content = stored if isinstance(stored, dict) else getattr(stored, "__dict__", None)
    if content is None:
        kind = type(stored).__name__
        raise ArtQuantError(
            f"the config.json of {name!r} has a quantization_config that is no object, but of type {kind}; fetch it "
            "again"
        )
    form = next((width for width in QUANTIZATION if content.get(f"load_in_{width}")), content.get("quant_method"))
    if wanted is not None and wanted != form:
        raise ArtQuantError(
            f"the weights of {name!r} are stored quantised ({form}), so that {wanted} cannot be had of them; leave "
            "quantization out, or use weights that are not quantised"
        )


def check_layers(model: Any, name: str) -> None:
    """Refuse 4-bit layers that cannot be computed where they are.

    Weights that were quantised and saved on a GPU may have any width. bitsandbytes computes some of them on no CPU.

    Args:
        model: a loaded `transformers` model, on the device where it is used.
        name: what the user typed for the checkpoint, for error messages.

    Raises:
        ArtQuantError: the model is on a CPU, and a 4-bit layer has a width that does not fit there.
    """
    if model.device.type != "cpu":
        return
    unfit = [
        layer for layer in model.modules() if type(layer).__name__ == "Linear4bit" and not fits_cpu_kernels(layer)
    ]
    if unfit:
        raise ArtQuantError(
            f"{len(unfit)} layers of {name!r} are stored in 4 bits with widths such as {unfit[0].in_features} to "
            f"{unfit[0].out_features}; {_RULE}: use a GPU, or weights that are not quantised"
        )


def fits_cpu_kernels(layer: nn.Linear) -> bool:
    """Whether bitsandbytes computes a layer with 4-bit weights correctly on every CPU."""
    return layer.in_features % CPU_INPUTS == 0 and layer.out_features % CPU_OUTPUTS == 0


def _layers_to_keep(folder: Path, kept: set[str], trust_remote_code: bool) -> set[str]:
    """Names of the linear layers that do not fit a CPU, found without reading weights; a warning counts them."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=trust_remote_code)
    head = model.get_output_embeddings()
    candidates = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and name not in kept
    }
    unfit = {name for name, module in candidates.items() if not fits_cpu_kernels(module)}
    if len(unfit) == len(candidates):
        raise ArtQuantError(
            f"none of the {len(candidates)} linear layers can be quantised to 4 bits: {_RULE}; leave quantization "
            "out, or use 8bit"
        )
    if unfit:
        warnings.warn(
            f"{len(unfit)} of {len(candidates)} linear layers stay unquantised: {_RULE}", ArtQuantWarning, stacklevel=2
        )
    return unfit
