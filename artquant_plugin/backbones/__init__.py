"""Vision-language models that are scored with: what they must offer, and those of our own."""


def register_architectures() -> None:
    """Make our own architectures known to the Auto classes of transformers; doing it again changes nothing."""
    from artquant_plugin.backbones.mplug_owl2 import register

    register()
