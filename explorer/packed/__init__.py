"""Packed weights of quantised layers and the tensors beside them -> the numbers they stand for."""
