"""The end of a run: its last checkpoint and its record go into the output folder, together."""

from collections.abc import Sequence
from typing import Any

from artquant_plugin.common.files import atomic_files, link_file
from artquant_plugin.train.model import Setting
from artquant_plugin.train.parts import count_trained
from artquant_plugin.train.record import Summary, write_record
from artquant_plugin.train.stages import RunFolder, StageResult

# Of either kind of checkpoint; those of the other kind go when a run is written over.
_WEIGHT_FILES = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "extra_weights.safetensors",
)


def write_outcome(
    setting: Setting, model: Any, run: RunFolder, results: Sequence[tuple[str, StageResult]], summary: Summary
) -> None:
    """Put the last stage's checkpoint and the record into the output, and drop what the run needed to go on.

    Args:
        setting: of the run.
        model: as trained.
        run: folder of the stages.
        results: name and result of each stage.
        summary: for the record.
    """
    final = run.stage(results[-1][0]).final
    is_adapter = (final / "adapter_config.json").is_file()
    last = "adapter_config.json" if is_adapter else "config.json"
    with atomic_files(setting.config.output, last=last, replaced=_WEIGHT_FILES) as part:
        for path in final.iterdir():
            link_file(path, part / path.name)
        counts = count_trained(model)
        trained: dict[str, Any] = {part: {"trained": some, "all": total} for part, (some, total) in counts.items()}
        write_record(part, setting.config, setting.material.datasets, results, summary, trained)
    run.clear()
