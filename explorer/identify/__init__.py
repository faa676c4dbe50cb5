"""Listing -> Inventory: buffers and state, packed formats, ties, extra layers."""
