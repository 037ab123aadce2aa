"""From images to scores and descriptions: preparing images, batching, forward passes, generating text."""
