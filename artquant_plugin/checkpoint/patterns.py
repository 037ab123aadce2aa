"""Regular expressions in an adapter's configuration, tried on the model's names before peft uses them.

peft matches them in this process, where a match that never ends could not be stopped. So they are matched first in a
process of its own, which is ended when it takes too long.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from artquant_plugin.common.errors import ArtQuantError

SECONDS = 20  # for all patterns on all names; the names of a large model take milliseconds
# How peft 0.21 embeds each kind of pattern (tuners/tuners_utils.py and utils/other.py).
_EMBEDDED = {
    "target_modules": "(?:{})$",
    "exclude_modules": "(?:{})$",
    "rank_pattern": r"(.*\.)?({})$",
    "alpha_pattern": r"(.*\.)?({})$",
    "layers_pattern": r"(?:^|.*?\.){}\.(?P<idx>\d+)\.",
    "modules_to_save": r"(^|.*\.){}($|\..*)",
}
_MATCH = """
import json, re, sys
patterns, names = json.load(sys.stdin)
for field, pattern, embedded in patterns:
    print(json.dumps([field, pattern, None]), flush=True)
    try:
        compiled = re.compile(embedded)
    except re.error as error:
        print(json.dumps([field, pattern, str(error)]), flush=True)
        break
    for name in names:
        compiled.match(name)
else:
    print(json.dumps(None))
"""


def check_patterns(config: Any, names: Iterable[str], place: str, *, seconds: float = SECONDS) -> None:
    """Refuse regular expressions that are wrong, or that take too long on the names of a model's modules.

    Args:
        config: a `peft.PeftConfig`, of which those fields are tried that peft takes as regular expressions.
        names: the names of the model's modules.
        place: where the configuration stands, for the message.
        seconds: how long all patterns may take on all names.

    Raises:
        ArtQuantError: a pattern is no regular expression, or the time did not suffice.
    """
    patterns = list(_patterns(config))
    if not patterns:
        return
    given = json.dumps([[(field, text, _EMBEDDED[field].format(text)) for field, text in patterns], list(names)])
    # Without site packages the interpreter starts in milliseconds.
    command = [sys.executable, "-I", "-S", "-c", _MATCH]
    try:
        said = subprocess.run(command, input=given, capture_output=True, text=True, timeout=seconds, check=True).stdout
        in_time = True
    except subprocess.TimeoutExpired as error:
        said, in_time = (error.stdout or b"").decode(), False
    last = json.loads(said.splitlines()[-1])
    if last is None:
        return
    field, pattern, problem = last
    if in_time:
        raise ArtQuantError(f"{place}: {field} {pattern!r} is no regular expression ({problem}); mend it")
    raise ArtQuantError(
        f"{place}: {field} {pattern!r} takes more than {seconds:g} s on the names of the model's modules; write a "
        "simpler regular expression, or list the modules' names"
    )


def _patterns(config: Any) -> Iterable[tuple[str, str]]:
    """The regular expressions of a configuration, each with the field that it is from."""
    for field in _EMBEDDED:
        value = getattr(config, field, None)
        is_pattern = isinstance(value, str) and value != "all-linear"
        if field in ("target_modules", "exclude_modules"):  # a list of these holds names
            texts = [value] if is_pattern else []
        else:
            texts = [value] if is_pattern else list(value or ())
        for text in texts:
            if isinstance(text, str):
                yield field, text
