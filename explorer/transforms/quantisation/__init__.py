"""Weights as small numbers with scales: encoded, held in trees, multiplied, and written."""
