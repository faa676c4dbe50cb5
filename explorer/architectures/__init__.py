"""Architectures as records without JAX: layers, configs, checkpoint names, the catalogue."""
