"""Taking paths of this machine out of what is published, since such paths hold user names, and secrets with them."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.secrets import each_text, without_keys, without_secret_settings

# An absolute path, or one that begins with ~: as the whole text; within quotes, where it reaches up to the closing
# quote; and elsewhere, where it reaches up to a space or a punctuation mark.
_PATH_ALONE = re.compile(r"(?:~?/|[A-Za-z]:\\)[^'\"\n]+")
_QUOTED_PATH = re.compile(r"""(?P<quote>['"])(?P<path>(?:~?/|[A-Za-z]:\\)[^'"\n]+)(?P=quote)""")
_UNQUOTED_PATH = re.compile(r"""(?<![^\s=,(\[{])(?P<path>(?:~?/|[A-Za-z]:\\)[^\s'",;:()\[\]{}]+)""")
_HOMES = re.compile(rb"(?:/home/|/Users/|[A-Za-z]:\\\\?Users\\\\?)[\w.-]+")
# Vocabularies may hold any text, so that a match in them is no path.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json", "tekken.json")
_TEXTS = (".json", ".yaml", ".csv", ".md", ".jinja", ".jsonl")


def scrub(content: Any) -> Any:
    """Shorten paths of this machine to their last part, and take out secrets.

    A secret is known by its form or by the name of the setting that holds it.

    Args:
        content: dictionaries, lists and values as `json` and `yaml` read them; keys are left as they are.

    Returns:
        A copy without such paths and secrets.

    Example:
        >>> scrub({"output": "/home/ann/runs/baid", "skipped": {"3": "image '/data/a b/3.jpg' is broken"}})
        {'output': 'baid', 'skipped': {'3': "image '3.jpg' is broken"}}
        >>> scrub(["pretrained=/mnt/x/llava,base=org/model", "https://huggingface.co/org/model", "a/b", "and/or"])
        ['pretrained=llava,base=org/model', 'https://huggingface.co/org/model', 'a/b', 'and/or']
    """
    return each_text(without_secret_settings(content), lambda text: _without_paths(without_keys(text)))


def _without_paths(text: str) -> str:
    if _PATH_ALONE.fullmatch(text):
        return _last_part(text)
    text = _QUOTED_PATH.sub(lambda found: f"{found['quote']}{_last_part(found['path'])}{found['quote']}", text)
    return _UNQUOTED_PATH.sub(lambda found: _last_part(found["path"]), text)


def _last_part(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name or "."


def check_no_home_folder(name: str, content: bytes) -> None:
    """Check that a text does not name the home folder of a user. Vocabularies and files that are no texts pass.

    Args:
        name: path of the file in the repository.
        content: the bytes of the file.

    Raises:
        ArtQuantError: the text names a home folder.
    """
    if not name.endswith(_TEXTS) or name in _VOCABULARIES:
        return
    home = str(Path.home())
    found = _HOMES.search(content)
    place = found[0].decode() if found else home if len(home) > 1 and f"{home}/".encode() in content else None
    if place:
        raise ArtQuantError(
            f"{name} names '{place}', a folder of this machine; write another name in its place before publishing"
        )
