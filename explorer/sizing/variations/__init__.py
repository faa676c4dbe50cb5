"""What if: a model with more layers, another vocabulary, untied heads, pruned kernels."""
