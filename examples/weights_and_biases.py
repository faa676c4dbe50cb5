"""Split parameters into weights and biases, decay only the weights, and combine them again."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

import explorer as ex

model = nn.Sequential([nn.Dense(16), nn.relu, nn.LayerNorm(), nn.Dense(1)])
x = jnp.linspace(-1.0, 1.0, 64)[:, None]
y = 2.0 * x + 0.5
params = model.init(jax.random.key(0), x)["params"]

# weight decay for kernels only, by the mask that optax takes
optimizer = optax.adamw(1e-2, weight_decay=1e-2, mask=ex.decay_mask)
state = optimizer.init(params)


@jax.jit
def step(params, state):
    """Take one step of training."""

    def loss_of(params):
        return jnp.mean((model.apply({"params": params}, x) - y) ** 2)

    loss, gradients = jax.value_and_grad(loss_of)(params)
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, loss


for _ in range(200):
    params, state, loss = step(params, state)

weights, biases = ex.split_weights_biases(params)
print("weights", ex.count_parameters(weights), "biases", ex.count_parameters(biases))
print("largest bias", max(float(abs(b).max()) for b in jax.tree.leaves(biases)))
assert jax.tree.structure(ex.combine(weights, biases)) == jax.tree.structure(params)
assert float(loss) < 1e-2

# the optimizer's moments are state, not parameters
print(ex.explore(state))
