"""The demo dataset: procedural paintings whose scores and descriptions follow from their visible attributes."""
