"""Heat maps: where in a painting a checkpoint's vision encoder looks, and what of it moves the score."""
