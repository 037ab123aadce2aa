"""Adding one vector to chosen rows of a model's output head, in the form in which the checkpoint keeps it.

A head that is saved whole is changed itself. Beside an adapter the head stays on the base model, so that the adapter
gets a LoRA matrix of rank 1 on it: A is the vector, and B is 1 in the chosen rows and 0 in all others.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from artquant_plugin.backbones.interface import core


def head_obstacle(model: Any, ids: Sequence[int]) -> str | None:
    """Why a vector cannot be added to rows of the output head, so that the checkpoint has it; None where it can.

    Args:
        model: The model, in a peft wrapper or without one.
        ids: Indices of the rows, which are token ids of the level words.
    """
    head = core(model).get_output_embeddings()
    config = _adapter_config(model)
    if type(head) is nn.Linear:
        if config is None or head.weight.requires_grad:
            return None  # the head is saved whole
        return _adapter_obstacle(config)
    if (matrices := row_vector(model)) and _rows(matrices[1]) == sorted(ids):
        return None
    return "its output head is adapted or quantised"


def shares_embedding(model: Any) -> bool:
    """Whether a changed row of the output head would change the embedding as well.

    Args:
        model: The model, in a peft wrapper or without one. A head with a LoRA matrix leaves its embedding as it is.
    """
    head = core(model).get_output_embeddings()
    tied = head.weight is core(model).get_input_embeddings().weight
    return tied and type(head) is nn.Linear and (_adapter_config(model) is None or head.weight.requires_grad)


def row_vector(model: Any) -> list[Tensor]:
    """The weights of the matrix of rank 1 that `add_to_rows` puts on the output head, A and B.

    Args:
        model: The model, in a peft wrapper or without one.

    Returns:
        Two parameters of shapes (1, hidden) and (vocabulary, 1); none where the model has no such matrix.
    """
    config = _adapter_config(model)
    if config is None or (getattr(config, "rank_pattern", None) or {}).get(_head_name(model)) != 1:
        return []
    head = core(model).get_output_embeddings()
    return [matrices[model.active_adapter].weight for matrices in (head.lora_A, head.lora_B)]


def add_to_rows(model: Any, ids: Sequence[int], vector: Tensor) -> Callable[[], None]:
    """Add a vector to rows of the output head, of which `head_obstacle` found that it can be done.

    Args:
        model: The model, in a peft wrapper or without one, which is changed in place.
        ids: Indices of the rows, which are token ids of the level words.
        vector: What is added to each of them, shape (hidden,).

    Returns:
        A function that undoes it.
    """
    head: Any = core(model).get_output_embeddings()
    if matrices := row_vector(model):
        weight = matrices[0]
    elif _adapter_config(model) is not None and not head.weight.requires_grad:
        _add_matrix(model, ids, vector)
        return lambda: _remove_matrix(model, head)
    else:
        weight = head.weight
    before = weight.detach().clone()
    with torch.no_grad():
        if weight is head.weight:
            weight[list(ids)] += vector.to(weight)
        else:
            weight += vector.to(weight)

    def undo() -> None:
        with torch.no_grad():
            weight.copy_(before)

    return undo


def _adapter_config(model: Any) -> Any:
    """The configuration of a model's active adapter; None without a peft wrapper."""
    return None if core(model) is model else model.peft_config[model.active_adapter]


def _head_name(model: Any) -> str:
    head = core(model).get_output_embeddings()
    return next(name for name, module in core(model).named_modules() if module is head)


def _adapter_obstacle(config: Any) -> str | None:
    """Why an adapter cannot have a further matrix on the output head; None where it can."""
    from peft import LoraConfig

    kind = type(config).__name__.removesuffix("Config")
    if not isinstance(config, LoraConfig) or config.use_dora:
        return f"its output head is not trained, and an adapter of kind {kind} holds no rows of it"
    if config.layers_to_transform is not None or config.exclude_modules:
        return "its output head is not trained, and the adapter's configuration leaves modules out"
    return None


def _add_matrix(model: Any, ids: Sequence[int], vector: Tensor) -> None:
    """Put a LoRA matrix of rank 1 on the output head, and name it in the adapter's configuration."""
    from peft import LoraConfig, inject_adapter_in_model

    name, adapter, config = _head_name(model), model.active_adapter, _adapter_config(model)
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    with warnings.catch_warnings():
        # A head that is the embedding as well: the matrix is on the head alone, which is what is wanted.
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        inject_adapter_in_model(LoraConfig(r=1, lora_alpha=1, target_modules=name), core(model), adapter)
    model.base_model.peft_config[adapter] = config  # in whose place peft put that of the new matrix alone
    head = core(model).get_output_embeddings()
    with torch.no_grad():
        # float32, as all weights of an adapter are saved, also beside a head in bfloat16.
        matrices = head.lora_A[adapter].float().weight, head.lora_B[adapter].float().weight
        matrices[0].copy_(vector[None])
        matrices[1].zero_()[list(ids)] = 1.0
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)
    targets = config.target_modules
    config.target_modules = f"(?:{targets})|{name}" if isinstance(targets, str) else {*targets, name}
    config.rank_pattern = {**(config.rank_pattern or {}), name: 1}
    config.alpha_pattern = {**(config.alpha_pattern or {}), name: 1}


def _remove_matrix(model: Any, head: Any) -> None:
    """Put the plain head back, and take its name out of the adapter's configuration."""
    name, config = _head_name(model), _adapter_config(model)
    core(model).set_output_embeddings(head)
    targets = config.target_modules
    own = targets.removeprefix("(?:").removesuffix(f")|{name}") if isinstance(targets, str) else targets - {name}
    config.target_modules = own
    for pattern in (config.rank_pattern, config.alpha_pattern):
        del pattern[name]


def _rows(factors: Tensor) -> list[int]:
    """The rows that a vector is added to, for a matrix B of shape (vocabulary, 1); none where it adds multiples."""
    column = factors[:, 0]
    rows = column.nonzero().flatten().tolist()
    return rows if bool((column[rows] == 1).all()) else []
