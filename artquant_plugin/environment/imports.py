"""Whether lmms-eval and our own model and trainer can be imported.

Versions alone do not tell: a torchvision of another torch, a missing system library or a broken file fail at import.
The import is therefore done, in a process of its own, while the other checks run: it takes some seconds, and a crash
in it is a finding like any other.
"""

import json

from artquant_plugin.environment.findings import Finding, failure_text
from artquant_plugin.environment.probes import ProbeError, probe
from artquant_plugin.environment.requirements import reinstall_command
from artquant_plugin.environment.startup import PRIVATE_MODULES

_USES = {
    "lmms_eval.evaluator": "lmms-eval",
    "artquant_plugin.harness.artquant": "lmms-eval --model artquant",
    "artquant_plugin.train.run": "artquant train",
    **dict.fromkeys(PRIVATE_MODULES.values(), "every evaluation of lmms-eval"),
}


def check_imports() -> list[Finding]:
    """Import what the commands need; a problem for each module that fails, with its reason."""
    try:
        lines = probe("probe_imports", *_USES)
    except ProbeError as error:
        message = f"importing {', '.join(_USES)} ended the process ({error})"
        return [Finding("problem", "import", "lmms_eval.evaluator", "failed", "", message, reinstall_command())]
    found = []
    for line in lines:
        result = json.loads(line)
        module = result["module"]
        if result["kind"] is None:
            found.append(Finding("ok", "import", module, f"{result['seconds']:.1f} s"))
            continue
        reason = failure_text(result["kind"], result["text"])
        message = f"{module} cannot be imported ({reason}); {_USES[module]} needs it"
        found.append(Finding("problem", "import", module, "failed", "", message, reinstall_command()))
    return found
