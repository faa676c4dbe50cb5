"""Pytrees and modules in memory -> Listing. Elements of arrays are never read."""
