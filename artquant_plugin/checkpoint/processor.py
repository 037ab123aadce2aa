"""The processor of a checkpoint: it turns images and text into a model's inputs."""

from pathlib import Path
from typing import Any

from artquant_plugin.checkpoint.library_errors import library_errors_in_one_line
from artquant_plugin.common.errors import ArtQuantError

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")
TEMPLATE_FILE = "chat_template.jinja"


def load_processor(folder: Path, base_folder: Path, pretrained: str, trust_remote_code: bool) -> Any:
    """Load the processor of a checkpoint, or that of an adapter's base model where the adapter brings none.

    An adapter may bring its tokenizer alone, or a chat template alone. They then take the place of the base's. A
    template in tokenizer_config.json counts where no file holds the processor's own.

    Args:
        folder: the local folder of the checkpoint.
        base_folder: the local folder of its base model; for a full model, `folder` again.
        pretrained: what the user typed for the checkpoint, for error messages.
        trust_remote_code: whether Python code of the repository may run.

    Returns:
        A `transformers.ProcessorMixin` with a tokenizer.

    Raises:
        ArtQuantError: both folders lack the processor's files, or the processor cannot be loaded from them.
    """
    from transformers import AutoProcessor, AutoTokenizer, ProcessorMixin

    source = folder if any((folder / name).is_file() for name in PROCESSOR_FILES) else base_folder
    missing = (
        f"checkpoint {pretrained!r} has no whole processor; copy {PROCESSOR_FILES[0]} or {PROCESSOR_FILES[1]} and "
        "the tokenizer's files from the model that it was trained from"
    )
    if not any((source / name).is_file() for name in PROCESSOR_FILES):
        raise ArtQuantError(missing)
    # Where mistral-common is installed, transformers prefers its tokenizer, which knows no chat templates.
    options = {"mistral_format": False} if (source / "tekken.json").is_file() else {}
    remedy = "copy the processor's and the tokenizer's files from the model that it was trained from"
    with library_errors_in_one_line(f"the processor of {pretrained!r}", remedy):
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=trust_remote_code, **options)
    # Without a whole processor, transformers falls back to a tokenizer or an image processor.
    if not isinstance(processor, ProcessorMixin):
        raise ArtQuantError(f"{missing} ({type(processor).__name__} alone was found)")
    if source != folder and any((folder / name).is_file() for name in TOKENIZER_FILES):
        with library_errors_in_one_line(f"the tokenizer of {pretrained!r}", remedy):
            processor.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
            own = processor.tokenizer.chat_template  # of tokenizer_config.json, or of chat_template.jinja
        processor.chat_template = own or processor.chat_template
    elif source != folder and (folder / TEMPLATE_FILE).is_file():
        processor.chat_template = (folder / TEMPLATE_FILE).read_text(encoding="utf-8")
    if processor.chat_template is None:
        processor.chat_template = processor.tokenizer.chat_template
    return processor
