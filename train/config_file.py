"""Reading a training configuration."""

from collections.abc import Sequence
from pathlib import Path

from artquant_plugin.train.config import TrainConfig
from artquant_plugin.train.yaml_config import read_config


def load_config(paths: Path | Sequence[Path], overrides: Sequence[str] = ()) -> TrainConfig:
    """See `artquant_plugin.train.yaml_config.read_config`."""
    return read_config(TrainConfig, paths, overrides)
