"""From images to scores and descriptions: preparing images, batching, one forward pass, generated text."""
