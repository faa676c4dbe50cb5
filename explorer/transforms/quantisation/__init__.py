"""Quantisation: numbers stored in fewer bits, and back."""
