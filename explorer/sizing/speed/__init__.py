"""Bounds of speed from bytes and operations, and what they cost."""
