"""The Flax modules of architectures: attention, experts, masks, and toy models."""
