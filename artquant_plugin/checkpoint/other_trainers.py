"""What the output folders of other trainers hold: ms-swift, LLaMA-Factory, unsloth, axolotl and TRL.

All of them write with peft and the Trainer of `transformers`: an output folder with a `checkpoint-N/` for each save,
in which the adapter lies beside the state of the training (`optimizer.pt`, `rng_state*.pth`, `training_args.bin`,
DeepSpeed's `global_stepN/`). None of that state is read or unpickled here. This module knows where else the weights
and the name of the base model may be, and what helps where the weights are in a form that is not loaded.
"""

import re
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.json_text import read_object
from artquant_plugin.common.text import listed

ARGUMENTS_FILE = "args.json"  # the arguments of a run of ms-swift, in the output folder and in each checkpoint
STATE_FILE = "trainer_state.json"
PICKLED_ADAPTER = "adapter_model.bin"
GATHER = "zero_to_fp32.py"  # a script that DeepSpeed puts beside its shards
VALUE_HEAD = "value_head.safetensors"  # of reward models and of PPO, which no score of level words needs
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def checkpoints_in(folder: Path) -> list[Path]:
    """The `checkpoint-N/` folders of an output folder, in the order of their numbers of steps; empty where none is."""
    found = {path: _CHECKPOINT.fullmatch(path.name) for path in folder.iterdir() if path.is_dir()}
    return sorted((path for path, match in found.items() if match), key=lambda path: int(path.name.partition("-")[2]))


def which_checkpoint(folder: Path) -> str:
    """The remedy for an output folder without weights of its own: the checkpoints in it, the newest and the best.

    Args:
        folder: the output folder of a training, with or without checkpoints in it.

    Returns:
        A part of a sentence, such as ``name one of its 2 checkpoints: the newest is 'run/checkpoint-10'``; empty where
        the folder holds no `checkpoint-N/`.
    """
    found = checkpoints_in(folder)
    if not found:
        return ""
    remedy = f"name one of its {len(found)} checkpoints: the newest is '{found[-1]}'"
    if len(found) == 1:
        return f"name its checkpoint '{found[0]}'"
    best = _best(found[-1])
    if best is not None and best in {path.name for path in found[:-1]}:
        remedy += f", the best by its {STATE_FILE} '{folder / best}'"
    return remedy


def base_in_arguments(folder: Path) -> str | None:
    """The base model that ms-swift wrote down beside an adapter, as the user of the training named it.

    `adapter_config.json` then names the folder of the training machine to which the base was downloaded.

    Args:
        folder: the local folder of the adapter.

    Returns:
        A folder or a Hub id, with ``@revision`` where one was chosen; None where there is no such file or name.

    Raises:
        ArtQuantError: the file is no JSON object.
    """
    path = folder / ARGUMENTS_FILE
    if not path.is_file():
        return None
    content = read_object(path, remedy="remove it, or fetch it again")
    name, revision = content.get("model"), content.get("model_revision")
    if not isinstance(name, str) or not name:
        return None
    return f"{name}@{revision}" if isinstance(revision, str) and revision else name


def check_other_forms(folder: Path, pretrained: str, wanted: str) -> None:
    """Refuse a folder that holds something else in the place of weights, with the remedy for that.

    Args:
        folder: the local folder of a full model or of an adapter.
        pretrained: what the user typed for it, for the message.
        wanted: the file that is missing, such as ``adapter_model.safetensors``.

    Raises:
        ArtQuantError: there is a pickled adapter, there are checkpoints of a run, or shards of DeepSpeed or FSDP.
    """
    is_adapter = wanted.startswith("adapter")
    problem = f"{'adapter' if is_adapter else 'checkpoint'} {pretrained!r} holds no {wanted}"
    shards = sorted(path.name for path in folder.glob("global_step*") if path.is_dir())
    fsdp = sorted(path.name for path in folder.glob("pytorch_model_fsdp_*") if path.is_dir())
    if is_adapter and (folder / PICKLED_ADAPTER).is_file():
        code = f"import torch, safetensors.torch as s; s.save_file(torch.load('{PICKLED_ADAPTER}', weights_only=True)"
        raise ArtQuantError(
            f"{problem}; save it as safetensors, pickles are not read: in that folder, "
            f"python -c \"{code}, '{wanted}')\""
        )
    if which := which_checkpoint(folder):
        raise ArtQuantError(f"{problem}; {which}")
    if shards:
        remedy = f"gather them there with python {GATHER} . . --safe_serialization"
        if is_adapter:
            remedy = (
                f"gather them there with python {GATHER} . gathered --safe_serialization --exclude_frozen_parameters, "
                "load the result into the peft model, and save its adapter"
            )
        raise ArtQuantError(f"{problem}, but DeepSpeed's shards ({listed(shards, 2)}); {remedy}")
    if fsdp:
        raise ArtQuantError(
            f"{problem}, but the shards of FSDP ({listed(fsdp, 2)}); gather them in that folder with accelerate "
            f"merge-weights {fsdp[0]} ."
        )


def check_further_weights(folder: Path, pretrained: str, read: tuple[str, ...]) -> None:
    """Refuse an adapter beside which there are weights that are not read, since its scores would be wrong.

    ms-swift writes such a file (`vit.safetensors`) where the vision model was trained whole beside an adapter. The
    value head of reinforcement learning is no part of what the level words are read from, and is left out.

    Args:
        folder: the local folder of the adapter.
        pretrained: what the user typed for the adapter, for the message.
        read: the names of the files that are read.

    Raises:
        ArtQuantError: there is a file of safetensors that is none of `read`, no value head and no merged model.
    """
    names = {path.name for path in folder.glob("*.safetensors")} - {*read, VALUE_HEAD}
    if further := sorted(name for name in names if not re.fullmatch(r"model(-\d+-of-\d+)?\.safetensors", name)):
        raise ArtQuantError(
            f"adapter {pretrained!r} has {listed(further, 2)} beside it, weights that are not read; merge all of it "
            "into its base with the tool that wrote it (ms-swift: swift export --merge_lora true), and name the "
            "merged folder"
        )


def grow_embeddings(base: Any, weights: dict[str, Any]) -> None:
    """Give a base model the rows of the tokens that were added in training, where an adapter holds the whole matrices.

    Args:
        base: the base model, a `transformers` model that is changed in place. Nothing is done where the adapter's
            matrices have as many rows, or fewer, or where the matrix of one side is missing.
        weights: the adapter's weights by their names in its file.
    """
    embedding, head = base.get_input_embeddings(), base.get_output_embeddings()
    own = {id(module): name for name, module in base.named_modules() if module is embedding or module is head}
    tied = head is None or head.weight is embedding.weight
    rows = []
    for module in (embedding,) if tied else (embedding, head):
        ending = own[id(module)].rpartition(".")[2]
        found = [
            value
            for name, value in weights.items()
            if re.search(rf"\.{re.escape(ending)}\.(modules_to_save\.)?(base_layer\.)?weight$", name)
        ]
        if len(found) != 1 or found[0].ndim != 2 or found[0].shape[1] != module.weight.shape[1]:
            return
        rows.append(found[0].shape[0])
    if len(set(rows)) == 1 and rows[0] > embedding.weight.shape[0]:
        base.resize_token_embeddings(rows[0], mean_resizing=False)  # all rows are then replaced by the adapter's


def use_todays_names(config: Any, base: Any, weights: dict[str, Any]) -> None:
    """Let an adapter that was trained under older names of a model's modules find them under today's.

    Newer releases of `transformers` renamed modules (``language_model.model`` became ``model.language_model``). peft
    renames the weights while it loads them, but not the modules that the configuration names by a pattern.

    Args:
        config: the adapter's `peft.PeftConfig`, whose target modules are replaced by those that have weights.
        base: the base model, a `transformers` model.
        weights: the adapter's weights by their names in its file.
    """
    try:
        from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers
    except ImportError:  # releases of peft before it renamed weights, which then refuse the adapter
        return
    present = {name for name, _ in base.named_modules()}
    if _modules(weights) <= present:
        return
    renamed = _modules(convert_peft_adapter_state_dict_for_transformers(base, config, weights))
    if renamed and renamed <= present:
        config.target_modules = renamed


def _modules(weights: dict[str, Any]) -> set[str]:
    """The modules that have LoRA weights, by their names in the base model."""
    return {name.removeprefix("base_model.model.").partition(".lora_")[0] for name in weights if ".lora_" in name}


def _best(checkpoint: Path) -> str | None:
    """The name of the best checkpoint of a run, from the state of its newest; None where none was chosen."""
    if not (checkpoint / STATE_FILE).is_file():
        return None
    try:
        best = read_object(checkpoint / STATE_FILE, remedy="").get("best_model_checkpoint")
    except ArtQuantError:  # a state that broke off costs a hint, no more
        return None
    return Path(best).name if isinstance(best, str) else None
