"""The words in one small model: tensors, parameters, weights, biases and buffers."""

import jax
import jax.numpy as jnp
from flax import linen as nn

import explorer as ex


class Classifier(nn.Module):
    """An embedding, one normalised hidden layer, and a head."""

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = nn.Embed(1000, 32, name="embed")(tokens).mean(axis=1)
        x = nn.Dense(64, name="hidden")(x)
        x = nn.BatchNorm(use_running_average=True, name="norm")(x)
        return nn.Dense(10, name="classifier")(nn.relu(x))


tokens = jax.ShapeDtypeStruct((1, 16), jnp.int32)
inventory = ex.explore(Classifier(), tokens)  # shapes only: nothing is allocated
print(inventory)
print()

# a tensor is a bookshelf, a parameter a book
print(f"{inventory.num_tensors} tensors hold {inventory.num_parameters:,} parameters")
assert inventory.num_weights + inventory.num_biases == inventory.num_parameters
print(f"of them {inventory.num_weights:,} multiply and {inventory.num_biases:,} are added;")
print(f"{inventory.num_buffers} running statistics are stored but not learned")
