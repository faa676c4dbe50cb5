"""Statistics of every parameter, computed inside the compiled step."""
