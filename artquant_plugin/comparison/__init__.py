"""Models against each other on the same images: differences of correlations, their intervals and tests."""
