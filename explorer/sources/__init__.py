"""Anything -> Inventory, from headers only; and anything -> arrays, lazily."""
