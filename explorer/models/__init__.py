"""Architectures: layer records, families that translate configs into them, Flax modules.

Records (specs, architecture, declare, fields, names) and families load no JAX; modules do.
"""
