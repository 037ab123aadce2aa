"""ArtQuant for lmms-eval: score paintings as people do.

Installed, `tasks/`, `train/` and `configs/` of the repository are the sub-packages `artquant_plugin.tasks`,
`artquant_plugin.train` and `artquant_plugin.configs` (setup.cfg maps them). A checkout that shadows an installed
wheel, because Python runs from its root, gets the same mapping from the line below.
"""

from pathlib import Path

__version__ = "0.1.0.dev0"

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "setup.cfg").is_file() and (_checkout / "tasks" / "scoring.py").is_file():
    __path__.append(str(_checkout))
