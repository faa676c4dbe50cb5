"""The step: pure, jitted once; its state, gradients, freezing and finite checks."""
