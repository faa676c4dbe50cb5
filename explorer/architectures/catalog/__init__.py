"""Named architectures as data: config, published figures and their sources, offline.

`data/` has one file a publisher. Every total was checked three ways: against a published
exact figure, by a closed form in the tests, and by building the config with transformers
5.23 on a device without memory (Grok-1, which it does not know, against its JAX source).
"""
