"""Prompts for a model that was not trained: many are tried on a split, and the best becomes a scoring file."""
