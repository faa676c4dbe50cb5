"""What is in a model: tensors, their exact totals, and the columns that sources list."""
