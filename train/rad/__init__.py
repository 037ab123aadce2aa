"""Hierarchical aesthetic descriptions: generated from image and score, judged, refined (the paper's RAD dataset)."""
