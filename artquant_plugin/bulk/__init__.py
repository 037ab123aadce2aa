"""Scoring many images: what is named on the command line -> items -> scores -> files that a rerun completes."""
