"""The whitelist of files that may be uploaded from a folder; any other file is refused by its name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from artquant_plugin.checkpoint import SCORING_FILE
from artquant_plugin.checkpoint.adapter import ADAPTER_FILE, EXTRA_FILE
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE, CONFIG_FILE
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import listed, one_line

SHOWN = 5  # names that an error lists


@dataclass(frozen=True, slots=True)
class Whitelist:
    """Which files belong into a repository of one kind.

    All patterns are regular expressions that have to match the whole path, relative to the folder and with forward
    slashes.

    Args:
        kind: what the folder is, for messages, such as ``a checkpoint``.
        belongs: patterns of the files that are uploaded.
        left_out: patterns of files that are expected in such a folder and are not uploaded.
        loaded: patterns of files that programs load from the repository as a part of it, whoever put them there.
    """

    kind: str
    belongs: tuple[str, ...]
    left_out: tuple[str, ...]
    loaded: tuple[str, ...]

    def is_loaded(self, name: str) -> bool:
        """Whether programs that load the repository would load a file of this path as a part of it."""
        return _matches_any(self.loaded, name)

    def chosen(self, folder: Path) -> dict[str, Path]:
        """The files that belong, from a folder in which other files are expected, as in a checkpoint of a run.

        Args:
            folder: an existing folder; everything below it is searched.

        Returns:
            Path relative to the folder -> file, in the order of the paths.
        """
        paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        return {name: path for name, path in paths.items() if _matches_any(self.belongs, name)}

    def files(self, folder: Path) -> dict[str, Path]:
        """The files of a folder that are to be uploaded.

        Args:
            folder: an existing folder; it and everything below it is searched.

        Returns:
            Path in the repository -> file, in the order of the paths.

        Raises:
            ArtQuantError: the folder holds a file or an empty folder that does not belong, or a link that leads out
                of the folder.
        """
        found, strangers = {}, []
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()) and not _matches_any(self.left_out, f"{name}/"):
                    strangers.append(f"{name}/")
                continue
            if _matches_any(self.left_out, name):
                continue
            if not path.resolve().is_relative_to(folder.resolve()):
                strangers.append(f"{name} (a link out of the folder)")
            elif not path.is_file() or not _matches_any(self.belongs, name):
                strangers.append(name)
            else:
                found[name] = path
        if strangers:
            # Of a whole folder that does not belong, the error names the folder alone.
            tops = list(dict.fromkeys(_top(name) for name in strangers))
            shown = listed(tops, SHOWN)
            raise ArtQuantError(
                f"'{folder}' holds {shown}, which {'do' if len(tops) > 1 else 'does'} not belong to {self.kind} and "
                "might hold secrets or code; move what is not to be published away"
            )
        return found


def _matches_any(patterns: Sequence[str], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _top(name: str) -> str:
    """The topmost folder of a path, as the error names it; the path itself for a file without one or for a link."""
    parts = PurePosixPath(name).parts
    return f"{parts[0]}/" if len(parts) > 1 and " (" not in name else name


_WEIGHTS = (
    r"model(-\d{5}-of-\d{5})?\.safetensors",
    r"model\.safetensors\.index\.json",
    re.escape(CONFIG_FILE),
    re.escape(ADAPTER_CONFIG_FILE),
    re.escape(ADAPTER_FILE),
    re.escape(EXTRA_FILE),
)
_PROCESSOR = (
    r"(processor|preprocessor|video_preprocessor|image_processor|generation|tokenizer)_config\.json",
    r"chat_template\.(jinja|json)",
    r"additional_chat_templates/[\w-]+\.jinja",
    r"(tokenizer|special_tokens_map|added_tokens|vocab|tekken)\.json",
    r"(vocab|merges)\.txt",
    r"(tokenizer|spiece|sentencepiece(\.bpe)?)\.model",
)
_RECORDS = (
    re.escape(SCORING_FILE),
    r"training\.json",
    r"config\.train\.yaml",
    r"training-curves\.(csv|png)",
    r"conversion\.json",
)

CHECKPOINT = Whitelist(
    kind="a checkpoint",
    belongs=(*_WEIGHTS, *_PROCESSOR, *_RECORDS),
    # The card is written anew; training, evaluation, logging and downloads leave the others beside a checkpoint.
    left_out=(r"README\.md", r"\.gitattributes", r"\.training\.lock", r"(results|tensorboard|\.cache)/.*"),
    loaded=(*_WEIGHTS, *_PROCESSOR, re.escape(SCORING_FILE), r".*\.(bin|pt|pth|ckpt|pkl|py)"),
)


def check_weights(files: dict[str, Path], folder: Path) -> None:
    """Check that the files of a checkpoint's weights are there and have readable headers.

    Args:
        files: the files of the checkpoint, as `Whitelist.files` returns them.
        folder: the checkpoint's folder, for messages.

    Raises:
        ArtQuantError: a file of weights is missing, cut short or unreadable, or the folder holds both an adapter and a
            whole model.
    """
    import json

    from safetensors import SafetensorError, safe_open

    wanted = [ADAPTER_FILE] if ADAPTER_CONFIG_FILE in files else ["model.safetensors"]
    if (index := files.get("model.safetensors.index.json")) and ADAPTER_CONFIG_FILE not in files:
        try:
            wanted = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise ArtQuantError(f"'{index}' is no index of weights ({one_line(error)}); save it again") from error
    if ADAPTER_CONFIG_FILE in files and any(name.startswith("model") for name in files):
        raise ArtQuantError(
            f"'{folder}' holds an adapter and a model of its own; remove the one that is not to be published"
        )
    if missing := [name for name in wanted if name not in files]:
        raise ArtQuantError(
            f"'{folder}' holds no {missing[0]}; save the checkpoint as safetensors, since pickles are not published"
        )
    for name, path in files.items():
        if name.endswith(".safetensors"):
            try:
                with safe_open(path, framework="pt") as file:
                    file.keys()
            except (SafetensorError, OSError) as error:
                raise ArtQuantError(f"'{path}' cannot be read ({one_line(error)}); save it again") from error
