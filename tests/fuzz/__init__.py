"""Hostile files: built bombs and mutated seeds, each measured in a process of its own."""
