"""Accelerators and laptops: memory, bandwidth, peaks; what fits them."""
