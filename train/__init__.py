"""Everything before a checkpoint exists: dataset sources, labels on disk, losses, trainer, stages."""
