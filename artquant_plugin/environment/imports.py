"""Whether lmms-eval and our own model and trainer can be imported.

Versions do not tell whether an import succeeds: a torchvision built for another torch, a missing system library or a
broken file make it fail. The modules are therefore imported, in a process of its own while the other checks run: that
takes some seconds, and a crash must become a finding like any other.
"""

import json

from artquant_plugin.environment.findings import Finding, failure_text
from artquant_plugin.environment.probes import ProbeError, probe
from artquant_plugin.environment.requirements import reinstall_command
from artquant_plugin.environment.startup import PRIVATE_MODULES

_USED_BY = {
    "lmms_eval.evaluator": "lmms-eval",
    "artquant_plugin.harness.artquant": "lmms-eval --model artquant",
    "artquant_plugin.train.run": "artquant train",
    **dict.fromkeys(PRIVATE_MODULES.values(), "every evaluation of lmms-eval"),
}


def check_imports() -> list[Finding]:
    """Import the modules that the commands need; each that fails is a problem with its reason."""
    try:
        lines = probe("probe_imports", *_USED_BY)
    except ProbeError as error:
        message = f"importing {', '.join(_USED_BY)} ended the process ({error})"
        return [Finding("problem", "import", "lmms_eval.evaluator", "failed", "", message, reinstall_command())]
    findings = []
    for line in lines:
        result = json.loads(line)
        module = result["module"]
        if result["kind"] is None:
            findings.append(Finding("ok", "import", module, f"{result['seconds']:.1f} s"))
            continue
        reason = failure_text(result["kind"], result["text"])
        message = f"{module} cannot be imported ({reason}); {_USED_BY[module]} needs it"
        findings.append(Finding("problem", "import", module, "failed", "", message, reinstall_command()))
    return findings
