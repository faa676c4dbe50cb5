"""Examples and batches, in an order that can be resumed anywhere."""
