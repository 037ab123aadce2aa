"""Heat maps: where in a painting a checkpoint's vision encoder looks, and what of it moves the score."""

from artquant_plugin.heatmaps.maps import METHODS, HeatMap, PaintingMaps, heat_maps

__all__ = ["METHODS", "HeatMap", "PaintingMaps", "heat_maps"]
