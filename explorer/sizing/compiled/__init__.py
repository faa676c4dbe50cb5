"""What XLA itself says of the memory of the real program, compiled for shapes alone."""
