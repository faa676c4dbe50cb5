"""Named architectures as data: config, published figures and their sources, offline.

`data/` has one file per publisher. Every total was checked three ways: against a published
exact figure, by a closed form in the tests, and by building the config with transformers
5.23 on the meta device (Grok-1, which it lacks, against its JAX source).
"""
