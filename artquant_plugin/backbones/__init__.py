"""Vision-language models: what scoring needs of any of them, and the architectures that are implemented here."""

from pathlib import Path


def register_architecture(folder: Path) -> None:
    """Register a model's architecture with the Auto classes of transformers, where it is implemented here.

    For a model of another architecture nothing is imported. A second call changes nothing.

    Args:
        folder: the local folder of the model; its config.json names the architecture.
    """
    from artquant_plugin.backbones.mplug_owl2 import register
    from artquant_plugin.backbones.mplug_owl2.layout import is_mplug_owl2

    if is_mplug_owl2(folder):
        register()
