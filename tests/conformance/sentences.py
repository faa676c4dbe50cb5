"""The inputs for real weights, shared by the reference and explorer."""

import numpy as np

__all__ = ["SENTENCES", "token_rows"]

SENTENCES = (
    "How many parameters does this model have?",
    "Count the weights and biases of a network.",
    "The cat sleeps in the sun.",
    "A kitten naps where it is warm.",
    "Paris is the capital of France.",
    "Das ist ein Satz auf Deutsch.",
    "x = jnp.einsum('bqhd,bkhd->bhqk', q, k)",
    "Rain is expected tomorrow, with strong winds in the north and snow on the hills.",
    "No.",
    "A bookshelf is not a book: a tensor holds many parameters.",
)


def token_rows(vocab_size: int) -> np.ndarray:
    """Return four rows of 700 random tokens, each after a start token.

    They are longer than Gemma's window of 512, so that windows matter.
    """
    rows = np.random.RandomState(7).randint(3, vocab_size, (4, 700))
    rows[:, 0] = 2
    return rows
