"""Find an unused layer, a frozen one and a tied embedding in a model with meaningless names."""

import secrets

import jax
import jax.numpy as jnp
import optax

import explorer as ex

TABLE, HIDDEN, HIDDEN_BIAS, GAIN, FROZEN, DEAD = (secrets.token_hex(4) for _ in range(6))


def model(params, tokens):
    """A small language model."""
    x = params[TABLE][tokens]
    x = jax.nn.gelu(x @ params[HIDDEN] + params[HIDDEN_BIAS]) * params[GAIN]
    x = x @ jax.lax.stop_gradient(params[FROZEN])
    unused = x @ params[DEAD]  # never returned
    del unused
    return x @ params[TABLE].T


shapes = {
    TABLE: (1000, 64),
    HIDDEN: (64, 64),
    HIDDEN_BIAS: (64,),
    GAIN: (64,),
    FROZEN: (64, 64),
    DEAD: (64, 64),
}
params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
tokens = jax.ShapeDtypeStruct((1, 16), jnp.int32)

# nothing runs: the roles are found in the program of the forward pass
roles = ex.trace_roles(model, params, tokens)
for name, role in roles.items():
    uses = ", ".join(f"{use.manner} ({use.source})" for use in role.uses) or "unused"
    print(f"{name}  {role.role:9}  {uses}")

audit = ex.audit_roles(roles, params)
print(f"{audit.weights} weights and {audit.biases} biases, {audit.trainable} of them learn")
print("dead:", *audit.unused, " frozen:", *audit.frozen, " tied:", *audit.tied)
assert (audit.unused, audit.frozen, audit.tied) == ((DEAD,), (FROZEN,), (TABLE,))
assert roles[HIDDEN_BIAS].role == "bias"
assert roles[GAIN].role == "scale"

# an optimizer may freeze more: this one changes only the table
labels = {name: "learn" if name == TABLE else "keep" for name in params}
optimizer = optax.partition(
    {"learn": optax.adam(1e-3), "keep": optax.set_to_zero()}, labels
)
audit = ex.audit_roles(roles, params, optimizer)
print(f"with this optimizer {audit.trainable} learn")
assert audit.trainable == 1000 * 64
