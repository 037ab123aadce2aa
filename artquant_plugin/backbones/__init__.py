"""Vision-language models that are scored with: what they must offer, and those of our own."""

from pathlib import Path


def register_architecture(folder: Path) -> None:
    """Make a folder's architecture known to the Auto classes of transformers, where it is one of our own.

    For all other folders nothing is imported. Doing it again changes nothing.

    Args:
        folder: of a model, with its config.json.
    """
    from artquant_plugin.backbones.mplug_owl2 import register
    from artquant_plugin.backbones.mplug_owl2.layout import is_mplug_owl2

    if is_mplug_owl2(folder):
        register()
