"""Modules of Linen, NNX and Equinox as pure functions of their parameters."""
