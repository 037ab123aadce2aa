"""The documented place of `Timings`; the code is in `artquant_plugin.scoring.timings`."""

from artquant_plugin.scoring.timings import Timings

__all__ = ["Timings"]
