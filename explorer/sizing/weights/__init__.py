"""Bytes of the weights: as a dtype, as a file stores them, or under a quantisation scheme."""
