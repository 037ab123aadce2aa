"""Reports a run's quality on one HTML page: what was accepted, how varied the texts are, and what they cost."""
