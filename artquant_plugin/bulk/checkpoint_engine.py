"""Scores from a checkpoint on this machine. `artquant_plugin.bulk.endpoint` has those from a server."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.rows import ScoreColumns
from artquant_plugin.checkpoint import OWN, ScoringSpec, choose_scoring, locate, locate_base
from artquant_plugin.checkpoint.identity import file_keys
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.paths import expanded
from artquant_plugin.prompting.attributes import chosen_attributes


@dataclass
class CheckpointEngine:
    """A checkpoint on this machine, loaded when the first image comes.

    Args:
        model: a checkpoint's folder or Hub id. `ArtQuantScorer.from_pretrained` takes it, and all that follows.
        scoring: the name of a preset or a scoring file; None for what the checkpoint itself says.
        dtype: of the weights: auto, float32, bfloat16 or float16.
        attn: the implementation of attention, as `load_checkpoint` takes it.
        device: such as cuda:1; None takes a GPU where there is one.
        base: the base model of an adapter, where it is not the one that the adapter names.
        batch_size: images per forward pass, from 1; or auto, which finds what fits into memory.
        workers: processes that prepare images, from 0; None takes what suits the device.
        compile: whether to run the model through torch.compile.
        quantization: 4bit or 8bit; None leaves the weights as they are stored.
        attributes: True for columns of all attributes that the checkpoint has, or the names of some; False for none.
    """

    model: str
    scoring: str | None = None
    dtype: str = "auto"
    attn: str = "sdpa"
    device: str | None = None
    base: str | None = None
    batch_size: int | str = "auto"
    workers: int | None = None
    compile: bool = False
    quantization: str | None = None
    attributes: bool | Sequence[str] = False

    @cached_property
    def scorer(self) -> Any:
        """The scorer, loaded when it is first asked for."""
        from artquant_plugin.scoring.scorer import ArtQuantScorer

        return ArtQuantScorer.from_pretrained(
            self.model,
            scoring=self.scoring,
            base=self.base,
            dtype=self.dtype,
            attn=self.attn,
            device=self.device,
            batch_size=self.batch_size,
            workers=self.workers,
            compile=self.compile,
            quantization=self.quantization,
        )

    @cached_property
    def _folder(self) -> Path:
        return locate(self.model)

    @cached_property
    def _base_folder(self) -> Path | None:
        return locate_base(self.model, self._folder, self.base)

    @cached_property
    def spec(self) -> ScoringSpec:
        """What the model is asked and how its answer is read, found without loading the model."""
        return choose_scoring(self.scoring, self.model, self._folder, self._base_folder)

    @cached_property
    def columns(self) -> ScoreColumns:
        """The columns of its rows, which are named after the levels and the attributes."""
        return ScoreColumns(self.spec.scale.names, self._attributes)

    @cached_property
    def _attributes(self) -> tuple[str, ...]:
        """The names of the attributes that are asked for; an error where the checkpoint lacks one."""
        return tuple(each.name for each in chosen_attributes(self.attributes, self.spec.attributes, self.model))

    @property
    def options(self) -> dict[str, Any]:
        """What changes scores beyond rounding. Batch size, device and compilation do not."""
        options: dict[str, Any] = {
            "engine": "checkpoint",
            "dtype": self.dtype,
            "attn": self.attn,
            "base": self.base,
            "quantization": self.quantization,
        }
        if self._attributes:
            options["attribute_columns"] = [*self._attributes]
        # The checkpoint's own scoring file is among the files of `identity`.
        return options if self.spec.name == OWN else options | {"scoring": self.spec.name, **self.spec.content}

    def identity(self) -> dict[str, Any]:
        """The model's name, and a key of each file that it is loaded from, those of an adapter's base included."""
        local = expanded(self.model)
        name = str(local.resolve()) if local.is_dir() else self.model
        found: dict[str, Any] = {"name": name, "files": file_keys(self._folder)}
        return found if self._base_folder is None else found | {"base_files": file_keys(self._base_folder)}

    def results(self, images: Iterable[Path | bytes]) -> Iterator[dict[str, Any] | ArtQuantError]:
        """Load the checkpoint, then score the images as they come."""
        for result in self.scorer.score_each(images, attributes=self._attributes or False):
            if isinstance(result, ArtQuantError):
                yield result
            else:
                yield asdict(result) | {"extras": result.attributes or {}}
