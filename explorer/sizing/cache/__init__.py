"""The cache of keys and values: what a layer keeps a token, and what an engine allocates."""
