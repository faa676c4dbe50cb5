"""Arrays that no device can hold are refused before XLA, which would end the process."""

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn

from explorer.errors import InputError
from explorer.training.step.state import create_state


class Wide(nn.Module):
    rows: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x * self.param("w", nn.initializers.zeros, (self.rows, 1 << 20)).sum()


@pytest.mark.parametrize("power", [51, 60, 61, 62])
def test_a_parameter_of_two_to_the_62_is_one_line(power: int):
    shape = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    with pytest.raises(InputError) as error:
        create_state(Wide(1 << (power - 20)), optax.adam(1e-3), jax.random.key(0), shape)
    assert str(error.value) == (
        f"params/w: an array of {4 << power:,} bytes; expected at most 1,125,899,906,842,624; "
        "check the sizes of the module"
    )
