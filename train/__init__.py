"""Everything before a checkpoint exists: the trainer, its stages and losses, and descriptions made by language models.

    from artquant_plugin.train import ArtQuantConfig, ArtQuantTrainer

Both are imported when they are first used, because they bring torch and transformers along.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artquant_plugin.train.config import ArtQuantConfig as ArtQuantConfig
    from artquant_plugin.train.trainer import ArtQuantTrainer as ArtQuantTrainer

__all__ = ["ArtQuantConfig", "ArtQuantTrainer"]


def __getattr__(name: str) -> Any:
    if name == "ArtQuantConfig":
        from artquant_plugin.train import config

        return config.ArtQuantConfig
    if name == "ArtQuantTrainer":
        from artquant_plugin.train import trainer

        return trainer.ArtQuantTrainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
