"""A program that prints as JSON which GPUs torch can compute on, and what they can do.

It runs in a process of its own, so that a torch that crashes ends this process alone, and the caller reports it.
"""

import json
import os
from typing import Any


def _compute(device: str, dtype: Any) -> str | None:
    """Compute a small matrix product on a device; return the reason in one line where that fails, else None."""
    import torch

    try:
        ones = torch.ones(8, 8, device=device, dtype=dtype)
        return None if float((ones @ ones).sum()) == 512 else "8 x 8 ones multiplied with themselves do not sum to 512"
    except Exception as error:
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__


def _devices() -> list[dict[str, Any]]:
    """The GPUs that torch finds, each with the keys that `machine.device_finding` describes."""
    import torch

    devices = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        place = f"cuda:{index}"
        devices.append(
            {
                "place": place,
                "name": properties.name,
                "capability": f"{properties.major}.{properties.minor}",
                "memory": properties.total_memory,
                "failure": _compute(place, torch.float32),
                # Before capability 8.0 bfloat16 is computed without tensor cores, which is slower than float32.
                "bfloat16": properties.major >= 8 and _compute(place, torch.bfloat16) is None,
            }
        )
    if torch.backends.mps.is_available():
        devices.append(
            {
                "place": "mps",
                "name": "Apple GPU",
                "capability": None,
                "memory": torch.mps.recommended_max_memory(),
                "failure": _compute("mps", torch.float32),
                "bfloat16": _compute("mps", torch.bfloat16) is None,
            }
        )
    return devices


if __name__ == "__main__":
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # stdout is for the answer, so what torch itself prints goes to stderr
    import torch

    answer.write(json.dumps({"cuda_build": torch.version.cuda, "devices": _devices()}) + "\n")
    answer.close()
