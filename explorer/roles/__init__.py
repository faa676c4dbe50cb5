"""What each tensor does: its role, its component, and whether it is a parameter at all."""
