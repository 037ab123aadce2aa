"""mPLUG-Owl2, the architecture of the paper: a ViT, an abstractor of learnable queries, a LLaMA with two modalities.

A native implementation for transformers, written after arXiv:2311.04257 and the behaviour of GitHub
Henglin-Liu/ArtQuant at f6b1fca. It reads the state dicts that the latter writes and reproduces its outputs
(tests/backbones/mplug_owl2/).
"""


def register() -> None:
    """Register configuration, model, image processor and processor with the Auto classes; again changes nothing."""
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

    from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2Config
    from artquant_plugin.backbones.mplug_owl2.modeling import MPLUGOwl2ForConditionalGeneration
    from artquant_plugin.backbones.mplug_owl2.processing import MPLUGOwl2ImageProcessor, MPLUGOwl2Processor

    AutoConfig.register(MPLUGOwl2Config.model_type, MPLUGOwl2Config, exist_ok=True)
    AutoModelForImageTextToText.register(MPLUGOwl2Config, MPLUGOwl2ForConditionalGeneration, exist_ok=True)
    AutoImageProcessor.register(
        MPLUGOwl2Config,
        image_processor_classes={"pil": MPLUGOwl2ImageProcessor, "torchvision": MPLUGOwl2ImageProcessor},
        exist_ok=True,
    )
    AutoProcessor.register(MPLUGOwl2Config, MPLUGOwl2Processor, exist_ok=True)
