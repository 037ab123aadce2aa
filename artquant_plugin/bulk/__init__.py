"""Scoring many images: finds the inputs, scores their images, and writes results that a rerun completes."""
