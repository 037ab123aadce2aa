"""From this machine to the Hub: what may be uploaded, its card, and commits that a rerun does not repeat."""
