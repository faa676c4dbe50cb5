"""Units of a model removed, so that its shapes shrink: MLP rows, heads, layers, experts."""
