"""A mixture of experts from 4 to 64 experts, of which each token visits two.

The time of one layer, forward and backward, beside that of the same rows through one dense
network, which does the same arithmetic, and through `jax.lax.ragged_dot`.

    python benchmarks/experts.py
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from timing import best_call

from explorer.models.grouped import grouped_product

TOKENS, SIZE, INNER, PER_TOKEN = 4096, 256, 512, 2


def network(
    product: Callable[..., jax.Array],
    x: jax.Array,
    kernels: list[jax.Array],
    sizes: jax.Array,
) -> jax.Array:
    """Return the sum of a gated network over rows, so that it has a gradient."""
    gate, up, down = kernels
    inner = jax.nn.silu(product(x, gate, sizes)) * product(x, up, sizes)
    return jnp.square(product(inner, down, sizes)).sum()


def dense(x: jax.Array, kernel: jax.Array, sizes: jax.Array) -> jax.Array:
    """Return the rows times the one matrix."""
    return x @ kernel[0]


def _finished(call: Callable[[], object]) -> None:
    jax.block_until_ready(call())


def main() -> None:
    """Print the milliseconds of each, and their ratios."""
    rng = np.random.default_rng(0)
    rows = TOKENS * PER_TOKEN
    x = jnp.asarray(rng.normal(size=(rows, SIZE)), jnp.float32)
    print(
        f"{jax.devices()[0].platform}: {TOKENS:,} tokens, {PER_TOKEN} experts each,",
        end=" ",
    )
    print(f"of {SIZE} x {INNER}, forward and backward")
    first = 0.0
    for experts in (4, 16, 64):
        shapes = ((SIZE, INNER), (SIZE, INNER), (INNER, SIZE))
        kernels = [
            jnp.asarray(rng.normal(size=(experts, *shape)) / 16, jnp.float32)
            for shape in shapes
        ]
        counts = np.bincount(rng.integers(0, experts, rows), minlength=experts)
        sizes = jnp.asarray(counts, jnp.int32)
        times = {}
        for name, product in (
            ("grouped", grouped_product),
            ("dense", dense),
            ("ragged_dot", jax.lax.ragged_dot),
        ):
            step = jax.jit(jax.grad(partial(network, product), (0, 1)))
            call = partial(step, x, kernels, sizes)
            jax.block_until_ready(call())
            times[name] = best_call(partial(_finished, call))
        first = first or times["grouped"]
        print(
            f"{experts:3} experts  {times['grouped'] * 1e3:7.1f} ms  {times['grouped'] / first:.2f}x"
            f" that of 4  {times['grouped'] / times['dense']:.2f}x one dense network"
            f"  {times['ragged_dot'] / times['grouped']:.1f}x faster than ragged_dot",
            flush=True,
        )


if __name__ == "__main__":
    main()
