"""What a checkpoint is asked and how its answer is read: its scoring file, a preset by name, or a file of the user's.

The presets ship as `configs/scoring/NAME.yaml`. Such a file is a scoring file in YAML with four more keys: ``source``
(the repository and commit that the questions and values were taken from), ``architectures`` (the model types for which
the preset is made; any when absent), ``by_architecture`` (what differs for one model type), and of the latter
``values_in_config`` (a list in config.json that replaces the levels' values).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.checkpoint.known import known_checkpoint
from artquant_plugin.checkpoint.locate import CONFIG_FILE
from artquant_plugin.checkpoint.spec import SCORING_FILE, ScoringSpec, check_keys, has_scoring_file
from artquant_plugin.common.config import read_mapping, shipped_folder
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.json_text import read_object
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.text import did_you_mean, literal, one_line
from artquant_plugin.prompting.levels import LevelScale

_REMEDY = "compare it with a preset of configs/scoring"
_KEYS = ("source", "architectures", "by_architecture")
_DIFFERENCES = ("image_first", "images", "values_in_config")
# Only the paper's own training code writes this key into config.json, so that it tells a checkpoint of that code.
_PAPER_KEY = "score_weight"
_PAPER_PRESET = "artquant"


@dataclass(frozen=True, slots=True)
class ScoringPreset:
    """A preset, or a user's scoring file.

    Args:
        spec: the questions, level words and handling of images; its name is that of the preset or file.
        source: the repository, commit and file that the spec was taken from; empty where the file names none.
        architectures: the model types, as config.json names them, for which the spec is made; empty for any.
        differences: by model type, what differs for it: keys of the spec with their values, and ``values_in_config``.
    """

    spec: ScoringSpec
    source: str = ""
    architectures: tuple[str, ...] = ()
    differences: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def fits(self) -> str:
        """The architectures for which the preset is made, in words."""
        return ", ".join(self.architectures) or "any model"

    def spec_for(self, config: dict[str, Any], checkpoint: str) -> ScoringSpec:
        """The spec for one checkpoint.

        Args:
            config: the content of the checkpoint's config.json; empty where it is not known, as behind a server.
            checkpoint: what the user typed for the checkpoint, for messages.

        Raises:
            ArtQuantError: the preset is made for other architectures, or config.json holds values that are none.
        """
        kind = config.get("model_type")
        if kind is not None and self.architectures and kind not in self.architectures:
            others = ", ".join(name for name, other in shipped_presets().items() if other.takes(kind))
            raise ArtQuantError(
                f"scoring {self.spec.name!r} is made for {self.fits}, and checkpoint {checkpoint!r} is of "
                f"the architecture {literal(kind)}; use one that fits it ({others}), or a scoring file of your own"
            )
        different = self.differences.get(str(kind), {})
        spec = self.spec
        if "images" in different:
            spec = dataclasses.replace(spec, images=different["images"])
        if "image_first" in different:
            prompt = dataclasses.replace(spec.prompt, image_first=different["image_first"])
            spec = dataclasses.replace(spec, prompt=prompt)
        if values := config.get(different.get("values_in_config", "")):
            try:
                scale = LevelScale(spec.scale.names, tuple(values))
            except (ArtQuantError, TypeError) as error:
                raise ArtQuantError(
                    f"{different['values_in_config']} in the {CONFIG_FILE} of {checkpoint!r}: {one_line(error)}"
                ) from error
            spec = dataclasses.replace(spec, scale=scale)
        return spec

    def takes(self, kind: str) -> bool:
        """Whether the preset may be used for a model type, such as ``mplug_owl2``."""
        return not self.architectures or kind in self.architectures


def shipped_presets() -> dict[str, ScoringPreset]:
    """The presets that ship, by their names, sorted."""
    files = {path.stem: path for path in (shipped_folder() / "scoring").glob("*.yaml")}
    return {name: _read_yaml(files[name], name) for name in sorted(files)}


def choose_scoring(
    scoring: str | ScoringSpec | None, pretrained: str, folder: Path | None, base_folder: Path | None = None
) -> ScoringSpec:
    """Find what a checkpoint is asked and how its answer is read.

    The first of these that is there counts: what the user asks for; the checkpoint's own scoring file; the preset of a
    checkpoint whose Hub id is known; the preset ``artquant`` for a checkpoint that the paper's own code wrote.

    Args:
        scoring: the name of a preset, a scoring file (JSON or YAML) or a folder with one, or a ready spec; None to
            leave the choice to the checkpoint.
        pretrained: what the user typed for the checkpoint: a folder, or a Hub id with an optional ``@revision``.
        folder: the checkpoint's local folder; None where it is not on this machine, as behind a server.
        base_folder: the local folder of an adapter's base model; None where there is none.

    Raises:
        ArtQuantError: the preset is unknown, the file is no scoring file, the preset does not fit the checkpoint's
            architecture, or nothing says what the checkpoint is asked.
    """
    if isinstance(scoring, ScoringSpec):
        return scoring
    config = _config(folder) or _config(base_folder)
    if scoring is not None:
        return _named(str(scoring)).spec_for(config, pretrained)
    if folder is not None and has_scoring_file(folder):
        return ScoringSpec.load(folder)
    presets = shipped_presets()
    known = known_checkpoint(pretrained)
    if known is not None:
        return presets[known.scoring].spec_for(config, pretrained)
    if config.get(_PAPER_KEY):
        return presets[_PAPER_PRESET].spec_for(config, pretrained)
    raise ArtQuantError(
        f"nothing says what checkpoint {pretrained!r} is asked and how its answer is read: it has no {SCORING_FILE}, "
        f"and it is none of `artquant models`; name a preset or a file with scoring=NAME (--scoring NAME): "
        + "; ".join(f"{name} ({preset.fits})" for name, preset in presets.items())
    )


def _named(scoring: str) -> ScoringPreset:
    """The preset of a name, or a user's scoring file."""
    presets = shipped_presets()
    if scoring in presets:
        return presets[scoring]
    path = expanded(scoring)
    if path.is_dir():
        return ScoringPreset(dataclasses.replace(ScoringSpec.load(path), name=path.resolve().name))
    if not path.exists():
        hints = filter(None, (did_you_mean(scoring, presets), f"presets: {', '.join(presets)}"))
        raise ArtQuantError(f"scoring {scoring!r} is no preset and no file; {' '.join(hints)}")
    if path.suffix in (".yaml", ".yml"):
        return _read_yaml(path, path.name)
    if path.suffix != ".json":
        raise ArtQuantError(f"scoring file '{path}' is no {SCORING_FILE} and no .yaml file; name one of these")
    return ScoringPreset(dataclasses.replace(ScoringSpec.load_file(path), name=path.name))


def _read_yaml(path: Path, name: str) -> ScoringPreset:
    """Read a preset, or a user's scoring file in YAML."""
    content = read_mapping(path)
    spec = ScoringSpec.from_content(content, path, further=_KEYS, remedy=_REMEDY)
    architectures = content.get("architectures", [])
    differences = content.get("by_architecture", {})
    if not isinstance(architectures, list) or not all(isinstance(kind, str) for kind in architectures):
        raise ArtQuantError(
            f"{path} has architectures {literal(architectures)}; write a list of model types, such as [mplug_owl2]"
        )
    if not isinstance(differences, dict) or not all(isinstance(part, dict) for part in differences.values()):
        raise ArtQuantError(f"{path} has by_architecture {literal(differences)}; write a mapping for each model type")
    for kind, different in differences.items():
        check_keys(different, _DIFFERENCES, f"{path} is not a scoring file, by_architecture.{kind}", _REMEDY)
    preset = ScoringPreset(
        spec=dataclasses.replace(spec, name=name),
        source=str(content.get("source", "")),
        architectures=tuple(architectures),
        differences=differences,
    )
    for kind in differences:  # a wrong value is an error of the file, not of the first checkpoint that meets it
        try:
            preset.spec_for({"model_type": kind}, str(path))
        except ArtQuantError as error:
            raise ArtQuantError(f"{path}: {error}") from error
    return preset


def _config(folder: Path | None) -> dict[str, Any]:
    """The content of a folder's config.json; empty where there is none. A broken one is told when it is loaded."""
    if folder is None or not (folder / CONFIG_FILE).is_file():
        return {}
    try:
        return read_object(folder / CONFIG_FILE, remedy="fetch it again")
    except ArtQuantError:
        return {}
