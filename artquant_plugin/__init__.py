"""ArtQuant for lmms-eval: score paintings as people do.

Installed, `tasks/`, `train/` and `configs/` of the repository are the sub-packages `artquant_plugin.tasks`,
`artquant_plugin.train` and `artquant_plugin.configs` (setup.cfg maps them). A checkout that shadows an installed
wheel, because Python runs from its root, gets the same mapping from the line below.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artquant_plugin.scoring.scorer import ArtQuantScorer as ArtQuantScorer
    from artquant_plugin.scoring.scorer import Score as Score

__version__ = "0.1.0.dev0"
__all__ = ["ArtQuantScorer", "Score", "__version__"]

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "setup.cfg").is_file() and (_checkout / "tasks" / "scoring.py").is_file():
    __path__.append(str(_checkout))


def __getattr__(name: str) -> Any:
    """The scoring engine, imported when it is first used: it brings torch along."""
    if name in ("ArtQuantScorer", "Score"):
        from artquant_plugin.scoring import scorer

        return getattr(scorer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
