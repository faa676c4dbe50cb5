"""What the numbers look like: statistics in one pass, any format, any size."""
