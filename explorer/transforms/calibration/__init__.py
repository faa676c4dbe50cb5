"""Activations of a model on data, and what is made of them: pruned and quantised kernels."""
