"""Architectures: layer records, families that translate configs into them, Flax modules.

Records (specs, positions) and families load no JAX; modules do.
"""
