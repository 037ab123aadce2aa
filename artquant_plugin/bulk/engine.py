"""What gives scores: a checkpoint of this machine. A server is `artquant_plugin.bulk.endpoint`."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from artquant_plugin.bulk.places import content_key
from artquant_plugin.bulk.rows import Form, Row
from artquant_plugin.checkpoint import ScoringSpec, locate
from artquant_plugin.errors import ArtQuantError

MODEL_SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".jinja", ".txt")
AUTO_BATCH_SIZE = 16


class Engine(Protocol):
    """Scores a stream of images and knows what its scores depend on."""

    @property
    def form(self) -> Form:
        """Columns of its rows."""
        ...

    @property
    def options(self) -> dict[str, Any]:
        """What scores depend on besides the model."""
        ...

    def identity(self) -> dict[str, Any]:
        """The model's name and a hash of its files."""
        ...

    def results(self, images: Iterable[Path | Image.Image]) -> Iterator[dict[str, Any] | ArtQuantError]:
        """One result or error per image, in order: score, levels, entropy, extras."""
        ...


@dataclass
class LocalEngine:
    """A checkpoint on this machine, loaded when the first image comes.

    Args:
        model: folder or Hub id.
        dtype: see `ArtQuantScorer.from_pretrained`.
        attn: see there.
        device: see there.
        batch_size: images per forward pass, or ``auto``.
    """

    model: str
    dtype: str = "auto"
    attn: str = "sdpa"
    device: str | None = None
    batch_size: int | str = "auto"
    _scorer: Any = field(default=None, init=False, repr=False)

    @cached_property
    def _folder(self) -> Path:
        return locate(self.model)

    @cached_property
    def form(self) -> Form:
        """Columns: the checkpoint's levels."""
        return Form(ScoringSpec.load(self._folder).scale.names)

    @property
    def options(self) -> dict[str, Any]:
        """What changes scores beyond rounding; batch size and device do not."""
        return {"engine": "checkpoint", "dtype": self.dtype, "attn": self.attn}

    def identity(self) -> dict[str, Any]:
        """Name, and a hash of each file that the model is loaded from."""
        files = sorted(file for file in self._folder.iterdir() if file.suffix in MODEL_SUFFIXES and file.is_file())
        kept = [file for file in files if not file.name.startswith(".") and file.name != "training.json"]
        local = Path(self.model).expanduser()
        name = str(local.resolve()) if local.is_dir() else self.model
        return {"name": name, "files": {file.name: content_key(str(file)) for file in kept}}

    def results(self, images: Iterable[Path | Image.Image]) -> Iterator[dict[str, Any] | ArtQuantError]:
        """Load the checkpoint and score."""
        if self._scorer is None:
            self._scorer = self._load()
        for result in self._scorer.score_each(images):
            if isinstance(result, ArtQuantError):
                yield result
            else:
                yield asdict(result) | {"extras": {}}

    def _load(self) -> Any:
        from artquant_plugin.scoring import ArtQuantScorer

        size = AUTO_BATCH_SIZE if self.batch_size == "auto" else int(self.batch_size)
        return ArtQuantScorer.from_pretrained(
            self.model, dtype=self.dtype, attn=self.attn, device=self.device, batch_size=size
        )


def make_row(form: Form, name: str, result: dict[str, Any] | ArtQuantError) -> Row:
    """The row of an engine's result."""
    if isinstance(result, ArtQuantError):
        return form.failed(name, str(result))
    return form.scored(name, result["score"], result["levels"], result["entropy"], result["extras"])
