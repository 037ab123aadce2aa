"""The parts of a vision-language model, and which of its weights are trained."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint.patterns import check_patterns
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import did_you_mean
from artquant_plugin.train.output_head import row_vector
from artquant_plugin.train.sections import LoraSection, PartName, TrainedSection

Part = PartName | Literal["other"]
PARTS: tuple[PartName, ...] = get_args(PartName)  # those that can be trained
# How models name what leads from the vision tower to the language model, where it is a module inside one of the two.
_PROJECTORS = ("projector", "merger", "connector", "abstractor", "resampler", "perceiver", "qformer", "aligner")
_ORIGINAL = ("q_proj", "v_proj.multiway.1")
_ORIGINAL_ELSEWHERE = ("q_proj", "v_proj")


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of a model are.

    Args:
        places: names of modules or weights of the model, and the part that they and all below them are of; the
            longest that fits a name decides. The empty name stands for all others.
    """

    places: Mapping[str, Part]

    def of(self, name: str) -> Part:
        """The part that a module or weight is of.

        Args:
            name: Its name in the model without a peft wrapper.
        """
        pieces = name.split(".")
        for end in range(len(pieces), 0, -1):
            found = self.places.get(".".join(pieces[:end]))
            if found is not None:
                return found
        return self.places[""]


def find_parts(model: Any) -> Parts:
    """Find vision tower, projector and language model.

    `transformers` knows the vision tower and, of models that are not all in one, the language model. What else stands
    beside them leads from one to the other. Modules inside them that do so are known by their name.

    Args:
        model: A model of `AutoModelForImageTextToText`, with or without a peft wrapper.

    Raises:
        ArtQuantError: the model has no vision tower that `transformers` knows.
    """
    inner = core(model)
    base, vision, language = inner.base_model, inner.get_encoder(modality="image"), inner.get_decoder()
    names = {id(module): name for name, module in inner.named_modules()}
    if vision is inner or vision is base or id(vision) not in names:
        raise ArtQuantError(
            f"{type(inner).__name__} does not tell its vision tower (get_encoder), so that its parts cannot be "
            "trained apart; use another architecture"
        )
    whole = language is base or language is inner  # the language model's layers stand beside the vision tower
    places: dict[str, Part] = {"": "language"}
    before = f"{names[id(base)]}." if names[id(base)] else ""
    for name, child in base.named_children():
        if not whole or _leads(name):
            places[before + name] = "other" if "audio" in name else "projector"
        if any(module is language for module in child.modules()):
            places[before + name] = "language"
    if not whole:
        places |= {before + name: "projector" for name, _ in base.named_parameters(recurse=False)}
    places[names[id(vision)]] = "vision"
    for name, _ in vision.named_children():
        if _leads(name):
            places[f"{names[id(vision)]}.{name}"] = "projector"
    return Parts(places)


def _leads(name: str) -> bool:
    return any(word in name.lower() for word in _PROJECTORS)


def choose_trained(model: Any, section: TrainedSection) -> Any:
    """Have the chosen weights, and no others, count as trained.

    Args:
        model: A model of `AutoModelForImageTextToText`. If it has a peft adapter, that adapter is trained on.
        section: How each part of the model is trained.

    Returns:
        The model, with a peft adapter where a part is trained by LoRA. Trained weights are float32.

    Raises:
        ArtQuantError: nothing is trained, a target is not there, or the model's own adapter is another one.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    methods: dict[Part, str] = {part: getattr(section, part).method for part in PARTS}
    if all(method == "frozen" for method in methods.values()):
        raise ArtQuantError(
            "every part of the model is frozen; set trained.language, vision or projector to full or lora"
        )
    parts = find_parts(model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    targets = lora_targets(model, parts, section) if "lora" in methods.values() else []
    if isinstance(model, PeftModel):
        _check_adapter(model, targets, section.lora)
    elif targets:
        config = LoraConfig(
            r=section.lora.rank,
            lora_alpha=section.lora.alpha,
            lora_dropout=section.lora.dropout,
            target_modules=targets,
        )
        model = get_peft_model(model, config, autocast_adapter_dtype=False)
    fixed = {id(parameter) for parameter in row_vector(model)}  # it adds the same to all levels and trains nothing
    for name, parameter in core(model).named_parameters():
        adapter = ".lora_" in name
        method = methods.get(parts.of(name))
        if method == ("lora" if adapter else "full") and id(parameter) not in fixed:
            parameter.requires_grad_(True)
            parameter.data = parameter.data.float()
    return model


def add_adapter(model: Any, peft_config: Any, full_parts: Sequence[str] | None, *, seed: int) -> Any:
    """Add an adapter to a model, and choose the parts whose own weights are trained.

    Args:
        model: A model of `AutoModelForImageTextToText`, without an adapter if `peft_config` is given.
        peft_config: Configuration of the adapter; None for none. A `LoraConfig` without `target_modules` adapts every
            linear layer of the language model.
        full_parts: Parts whose own weights are trained. With None these are none beside an adapter, and without one
            those that require gradients already.
        seed: Seed of the adapter's weights.

    Returns:
        The model, with a peft wrapper where there is an adapter. Trained weights are float32.

    Raises:
        ArtQuantError: The model has an adapter already, nothing is trained, weights are quantised that would be
            trained, or a regular expression of `peft_config` is wrong or takes too long.
    """
    from peft import PeftModel, get_peft_model
    from transformers import set_seed

    if getattr(core(model), "is_quantized", False):
        _check_quantized(model, peft_config, full_parts)
    if peft_config is not None:
        if isinstance(model, PeftModel):
            raise ArtQuantError("the model has an adapter already, which is trained on; leave peft_config out")
        if peft_config.target_modules is None:
            section = TrainedSection.model_validate({"language": "lora", "vision": "frozen", "projector": "frozen"})
            peft_config = copy.copy(peft_config)
            peft_config.target_modules = set(lora_targets(model, find_parts(model), section))
        check_patterns(peft_config, (name for name, _ in model.named_modules()), "peft_config")
        set_seed(seed)
        model = get_peft_model(model, peft_config, autocast_adapter_dtype=False)
    if full_parts is not None:
        parts = find_parts(model)
        for name, parameter in core(model).named_parameters():
            if ".lora_" not in name:
                parameter.requires_grad_(parts.of(name) in full_parts)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ArtQuantError("no weight of the model is trained; name parts in full_parts, or pass a peft_config")
    for parameter in trained:
        parameter.data = parameter.data.float()
    return model


def _check_quantized(model: Any, peft_config: Any, full_parts: Sequence[str] | None) -> None:
    """Refuse to train quantised weights themselves."""
    from peft import PeftModel

    if full_parts:
        raise ArtQuantError(
            f"full_parts names {full_parts[0]!r}, but the model is quantised, and quantised weights cannot be "
            "trained; leave full_parts out, or load the model without quantisation"
        )
    if peft_config is None and not isinstance(model, PeftModel):
        raise ArtQuantError(
            "the model is quantised, and quantised weights cannot be trained; pass a peft_config, or load the model "
            "without quantisation"
        )


def processor_of(model: Any, *, trust_remote_code: bool) -> Any:
    """The processor of the name that a loaded model was loaded from.

    Args:
        model: The model, with or without an adapter.
        trust_remote_code: Whether Python code of the repository may run.

    Raises:
        ArtQuantError: The model does not say where it was loaded from.
    """
    from transformers import AutoProcessor

    name = core(model).config._name_or_path
    if not name:
        raise ArtQuantError("the model does not say where its processor is; pass processing_class")
    return AutoProcessor.from_pretrained(name, trust_remote_code=trust_remote_code)


def checkpoint_activations(model: Any, options: Mapping[str, Any]) -> None:
    """Have a model compute activations again in the backward pass instead of keeping them.

    Args:
        model: The model, with or without an adapter.
        options: What `torch.utils.checkpoint` is called with; ``every_n_layers`` and ``offload`` are of
            transformers.
    """
    options = dict(options)
    every_n_layers, offload = options.pop("every_n_layers", 1), options.pop("offload", False)
    core(model).activation_checkpointing_enable(
        activation_checkpointing_kwargs=options, every_n_layers=every_n_layers, offload=offload
    )


def lora_targets(model: Any, parts: Parts, section: TrainedSection) -> list[str]:
    """Names of the linear modules that get LoRA matrices.

    Args:
        model: The model, with or without a peft adapter.
        parts: Where the parts of the model are.
        section: How each part is trained, and which modules the matrices are for.

    Raises:
        ArtQuantError: a target fits no linear module of the parts that are trained by LoRA.
    """
    chosen = {part for part in PARTS if getattr(section, part).method == "lora"}
    linear = [
        name
        for name, module in core(model).named_modules()
        # The module of an adapter stands around the linear one, which is then its `base_layer`.
        for name in [name.removesuffix(".base_layer")]
        if isinstance(module, nn.Linear) and ".lora_" not in name and parts.of(name) in chosen and name != "lm_head"
    ]
    targets = section.lora.targets
    if targets == "all-linear":
        if not linear:
            raise ArtQuantError(f"no linear module in {', '.join(sorted(chosen))}; train it full or frozen")
        return linear
    if targets == "original":
        targets = _ORIGINAL if any(_ends(name, _ORIGINAL[1]) for name in linear) else _ORIGINAL_ELSEWHERE
    for target in targets:
        if not any(_ends(name, target) for name in linear):
            ends = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
            remedy = did_you_mean(target, ends) or f"they end in {', '.join(ends)}"
            raise ArtQuantError(f"trained.lora.targets: no linear module of the model ends in {target!r}; {remedy}")
    return [name for name in linear if any(_ends(name, target) for target in targets)]


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _check_adapter(model: Any, targets: list[str], lora: LoraSection) -> None:
    """Training goes on with an adapter as it is, or not at all."""
    fixed = {id(parameter) for parameter in row_vector(model)}
    own = {
        name.rpartition(".lora_A.")[0]
        for name, parameter in core(model).named_parameters()
        if ".lora_A." in name and id(parameter) not in fixed
    }
    config = model.peft_config[model.active_adapter]
    wanted = (set(targets), lora.rank, lora.alpha)
    if (own, config.r, config.lora_alpha) != wanted:
        raise ArtQuantError(
            f"the checkpoint's adapter has rank {config.r} and alpha {config.lora_alpha} on {len(own)} modules, "
            f"trained.lora asks for {lora.rank} and {lora.alpha} on {len(targets)}; set the same, or start from its "
            "base"
        )


def optimizer_groups(
    model: Any, decayed: Iterable[str], *, weight_decay: float, rates: Mapping[Part, float]
) -> list[dict[str, Any]]:
    """Parameter groups by part, each with its own learning rate, and by whether weights decay.

    Args:
        model: The model, with or without a peft adapter.
        decayed: Names of the parameters whose weights decay.
        weight_decay: Factor of that decay, at least 0; other parameters have 0.
        rates: Learning rate by part, above 0; parts that are not named have the optimizer's own.

    Returns:
        Groups as torch's optimizers take them; none is empty.
    """
    parts, decayed = find_parts(model), set(decayed)
    prefix = "" if core(model) is model else "base_model.model."
    groups: dict[tuple[Part, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part, decays = parts.of(name.removeprefix(prefix)), name in decayed
        group = groups.setdefault((part, decays), {"params": [], "weight_decay": weight_decay if decays else 0.0})
        group["params"].append(parameter)
        if part in rates:
            group["lr"] = rates[part]
    return list(groups.values())


def grouped_by_part(
    kind: Any,
    options: dict[str, Any],
    model: Any,
    decayed: Iterable[str],
    *,
    weight_decay: float,
    rates: Mapping[Part, float],
) -> dict[str, Any]:
    """The options of an optimizer, with the groups of `optimizer_groups` where it does not group the weights itself.

    Args:
        kind: The class of the optimizer, or a factory that makes one.
        options: What `Trainer` would give it beside the weights.
        model: The model, with or without a peft adapter.
        decayed: Names of the parameters whose weights decay.
        weight_decay: Factor of that decay, at least 0; other parameters have 0.
        rates: Learning rate by part, above 0; parts that are not named have the optimizer's own.

    Raises:
        ArtQuantError: Parts have learning rates of their own, and the optimizer groups the weights itself.
    """
    is_plain = isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    if is_plain and not {"params", "model", "optimizer_dict"} & options.keys():
        return options | {"params": optimizer_groups(model, decayed, weight_decay=weight_decay, rates=rates)}
    if rates:
        name = getattr(kind, "__name__", type(kind).__name__)
        raise ArtQuantError(
            f"the optimizer {name} groups the weights itself and knows no learning rate by part; leave the parts' "
            "learning rates out, or take another one, as with optim adamw_torch_fused"
        )
    return options


def count_trained(model: Any) -> dict[Part, tuple[int, int]]:
    """Number of trained weights and of all weights, by part; a part's LoRA matrices are among both."""
    parts = find_parts(model)
    counts: dict[Part, tuple[int, int]] = {}
    for name, parameter in core(model).named_parameters():
        part = parts.of(name)
        trained, total = counts.get(part, (0, 0))
        weights = parameter.numel() * (2 if parameter.dtype == torch.uint8 else 1)  # of 4 bits, two are in a byte
        counts[part] = (trained + weights * parameter.requires_grad, total + weights)
    return counts


def trained_bytes(model: Any) -> tuple[int, int]:
    """Bytes of all weights, and of gradients and Adam's two moments of those that are trained."""
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    moments = sum(3 * 4 * parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return weights, moments
