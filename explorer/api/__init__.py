"""The public functions: each resolves its target once and calls one room."""
