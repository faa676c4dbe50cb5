"""Pytrees and modules in memory -> Listing. No element of an array is ever read."""
