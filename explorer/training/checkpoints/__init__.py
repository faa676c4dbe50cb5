"""The checkpoints of a run's folder, each complete or absent."""
