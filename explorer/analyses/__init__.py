"""Inventory -> result record: totals, groups, collapsed trees, comparisons. No I/O, no JAX."""
