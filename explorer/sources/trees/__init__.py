"""Models in memory: pytrees, Linen modules, NNX modules and states, by their arrays."""
