"""Modules of Linen, NNX and Equinox, and plain trees, as pure functions of their parameters."""
