"""Tests of explorer.transforms.pruning."""
