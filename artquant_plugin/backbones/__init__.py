"""Vision-language models that are scored with: what they must offer, and those of our own."""
