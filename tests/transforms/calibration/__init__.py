"""Tests of explorer.transforms.calibration."""
