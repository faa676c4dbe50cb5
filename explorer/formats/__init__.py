"""Bytes -> Listing: one file or folder a format, read from headers alone."""
