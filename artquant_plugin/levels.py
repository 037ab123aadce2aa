"""The documented place of the level scale; the code is in `artquant_plugin.prompting.levels`."""

from artquant_plugin.prompting.levels import LEVEL_NAMES, LEVEL_VALUES, LevelScale, entropy

__all__ = ["LEVEL_NAMES", "LEVEL_VALUES", "LevelScale", "entropy"]
