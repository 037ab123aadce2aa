"""The lmms-eval tasks: one YAML each, a shared base, and the scoring functions that they name."""
