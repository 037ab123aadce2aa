"""Ends a run of lmms-eval with an error where its results did not reach the disk.

lmms-eval 0.7.3 (loggers/evaluation_tracker.py) catches whatever goes wrong while it saves, such as a full disk, writes
a warning into its log and exits with 0. What was written until then stays: an empty or half a file of samples.
"""

import functools
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.environment.startup import errors_end_evaluation


def patch_evaluation_tracker(module: ModuleType) -> None:
    """Have `EvaluationTracker` look whether its files are whole; a second call changes nothing.

    lmms-eval 0.7.3 offers no hook: its methods return nothing and raise nothing.

    Args:
        module: the imported module `lmms_eval.loggers.evaluation_tracker`, whose class is changed.
    """
    tracker = module.EvaluationTracker
    save_results, save_samples = tracker.save_results_aggregated, tracker.save_results_samples
    if getattr(save_results, "_artquant", False):
        return

    @functools.wraps(save_results)
    def save_results_aggregated(self: Any, results: Any, *args: Any, **options: Any) -> None:
        save_results(self, results, *args, **options)
        if self.output_path:
            with errors_end_evaluation():
                try:
                    _refuse_broken(_file(self, "results.json"), None)
                except ArtQuantError:
                    from lmms_eval.utils import make_table

                    sys.stdout.write(make_table(results) + "\n")  # or the figures would be lost
                    raise

    @functools.wraps(save_samples)
    def save_results_samples(self: Any, task_name: str, samples: Sequence[Any]) -> None:
        save_samples(self, task_name, samples)
        if self.output_path:
            with errors_end_evaluation():
                _refuse_broken(_file(self, f"samples_{task_name}.jsonl"), len(samples))

    save_results_aggregated._artquant = True  # type: ignore[attr-defined]
    tracker.save_results_aggregated = save_results_aggregated
    tracker.save_results_samples = save_results_samples


def _file(tracker: Any, ending: str) -> Path:
    folder = Path(tracker.output_path) / tracker.general_config_tracker.model_name_sanitized
    return folder / f"{getattr(tracker, 'date_id', '')}_{ending}"


def _refuse_broken(path: Path, rows: int | None) -> None:
    """Remove a file that is not whole, so that nothing reads it as a result.

    Args:
        path: a file that lmms-eval has just written, or has failed to write.
        rows: the number of its lines; None where the file is one JSON document.

    Raises:
        ArtQuantError: the file is not whole.
    """
    try:
        with path.open(encoding="utf-8") as file:
            if rows is not None and sum(line.endswith("\n") for line in file) == rows:
                return
            if rows is None:
                json.load(file)
                return
    except (OSError, ValueError):
        pass
    with suppress(OSError):
        path.unlink(missing_ok=True)
    raise ArtQuantError(
        f"'{path}' could not be written whole, and was removed (lmms-eval's log says why, such as a full disk); "
        "make room, or pass another --output_path, and run again"
    )
