"""From y = a x + b to DeepSeek-V3: tensors, parameters, weights and biases of each.

Nothing is allocated: the largest model here would fill 1.3 TB.
"""

import jax
import jax.numpy as jnp

import explorer as ex
from explorer.models.small import (
    ConvolutionalNetwork,
    LinearRegression,
    MultilayerPerceptron,
)

x = jax.ShapeDtypeStruct((1, 1), jnp.float32)
image = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
models = {
    "y = a x + b": ex.explore(LinearRegression(), x),  # a is the weight, b the bias
    "perceptron": ex.explore(MultilayerPerceptron((128, 10)), image),
    "small CNN": ex.explore(ConvolutionalNetwork(), image),
}
for name in (
    "gpt2",
    "bert-base-uncased",
    "llama-2-7b",
    "llama-2-70b",
    "grok-1",
    "deepseek-v3",
):
    models[name] = ex.explore(name)

print(
    f"{'':18}{'tensors':>8}{'parameters':>17}{'= weights':>17}{'+ biases':>11}{'active':>16}"
)
for name, inventory in models.items():
    active = ex.ledger(inventory).active_parameters
    one_token = active.with_embedding_and_head if active else inventory.num_parameters
    assert inventory.num_weights + inventory.num_biases == inventory.num_parameters
    print(
        f"{name:18}{inventory.num_tensors:8,}{inventory.num_parameters:17,}"
        f"{inventory.num_weights:17,}{inventory.num_biases:11,}{one_token:16,}"
    )

# the same architecture as a Flax module, its 58 equal layers stacked for nn.scan
module = ex.build_model("deepseek-v3", scan=True)
tokens = jax.ShapeDtypeStruct((1, 8), jnp.int32)
stacked = ex.explore(module, tokens)
experts = stacked["params/stages_1/block_0/moe/experts/up_proj/kernel"]
print(f"\nscanned, DeepSeek-V3 has {stacked.num_tensors} tensors of the same parameters;")
print(f"{experts.name} stacks {experts.multiplicity:,} matrices {experts.shape[-2:]}")
assert stacked.num_parameters == models["deepseek-v3"].num_parameters
