"""The Flax modules of architectures: attention, experts, masks, and the smallest models."""
