"""The checkpoints of a run's folder, each whole or not there."""
