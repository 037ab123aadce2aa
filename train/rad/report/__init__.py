"""A run's quality as one page: what was accepted, how the texts are, what they cost."""
