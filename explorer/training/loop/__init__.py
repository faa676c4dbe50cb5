"""The loop around the step: it feeds the device, and stops where that does no harm."""
