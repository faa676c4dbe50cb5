"""Pure functions on pytrees: walking, collections, partition and combine."""
