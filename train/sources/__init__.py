"""Readers that turn a dataset as its authors publish it into the dataset form (artquant_plugin.dataset)."""
