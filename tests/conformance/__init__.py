"""What reference implementations answer for tiny random models, and how that was made.

`configs` and `cases` are what is asked, `weights` numbers made from names alone, `reference` the
answers of transformers, `grok` those of a NumPy forward of Grok-1. `make` writes the
answers down, `live` gives them again and compares. None of these imports explorer or JAX.
"""
