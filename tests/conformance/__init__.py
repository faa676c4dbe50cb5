"""What reference implementations answer for tiny random models, and how that was made.

`configs` and `cases` are the inputs, `weights` the numbers derived from names alone,
`reference` the outputs of transformers, `grok` those of a NumPy forward pass of Grok-1.
`make` writes the outputs, `live` recomputes and compares them. None imports explorer or JAX, but
for `frames`, which makes data frames of records with pandas itself.
"""
