"""Experts under vmap, inside jit and out of it, against dense products of gathered matrices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from explorer.models.grouped import _PRODUCTS, _ROWS, grouped_product
from tests.models.tiny import IDS, model_of

ROWS, GROUPS, SEVERAL = 12, 5, 3
rng = np.random.default_rng(0)
X = rng.normal(size=(SEVERAL, ROWS, 3)).astype("f4")
KERNEL = rng.normal(size=(SEVERAL, GROUPS, 3, 2)).astype("f4")
SIZES = np.stack([rng.multinomial(ROWS, [1 / GROUPS] * GROUPS) for _ in range(SEVERAL)])
AXES = [(0, 0, 0), (0, None, None), (None, 0, None), (None, None, 0), (0, None, 0)]


def dense(x: jax.Array, kernel: jax.Array, sizes: jax.Array) -> jax.Array:
    """Return each row times the matrix of its group, which is gathered."""
    groups = jnp.searchsorted(jnp.cumsum(sizes), jnp.arange(ROWS), side="right")
    return jnp.einsum("ri,rio->ro", x, kernel[groups])


def loss(product, x: jax.Array, kernel: jax.Array, sizes: jax.Array) -> jax.Array:
    return jnp.square(product(x, kernel, sizes)).sum()


def whole(product, axes, x: jax.Array, kernel: jax.Array, sizes: jax.Array):
    """Return products, gradients of each, and gradients of all together."""
    slopes = jax.grad(partial(loss, product), (0, 1))
    several = jax.vmap(product, axes)
    return (
        several(x, kernel, sizes),
        jax.vmap(slopes, axes)(x, kernel, sizes),
        jax.grad(partial(loss, several), (0, 1))(x, kernel, sizes),
    )


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("compile", [lambda fn: fn, jax.jit], ids=["eager", "jit"])
def test_any_axes_are_mapped_over(axes, compile):
    given = (X, KERNEL, SIZES)
    operands = [a if n == 0 else a[0] for a, n in zip(given, axes, strict=True)]
    found = compile(partial(whole, grouped_product, axes))(*operands)
    expected = jax.jit(partial(whole, dense, axes))(*operands)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_what_other_backends_compute_is_the_same():
    """Their products, computed here: what derivatives ask of JAX's own, by dimensions."""
    x, kernel, sizes = X[0], KERNEL[0], SIZES[0]
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    y = rng.normal(size=(ROWS, 2)).astype("f4")
    for numbers, left, right, expected in (
        (_ROWS[0], x, kernel, [x[part] @ kernel[g] for g, part in enumerate(parts)]),
        (_ROWS[1], y, kernel, [y[part] @ kernel[g].T for g, part in enumerate(parts)]),
        (_PRODUCTS, x, y, [(x[part].T @ y[part])[None] for part in parts]),
    ):
        found = lax.ragged_dot_general(left, right, sizes, numbers)
        np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5, atol=1e-5)


def test_gradients_of_several_lower_for_every_platform():
    axes = (0, None, 0)
    program = jax.jit(partial(whole, grouped_product, axes))
    exported = jax.export.export(program, platforms=("cpu", "cuda", "tpu"))  # pyright: ignore
    found = exported(X, KERNEL[0], SIZES)
    text = found.mlir_module()
    assert found.platforms == ("cpu", "cuda", "tpu")
    assert "ragged_dot" in text
    elsewhere = program.trace(X, KERNEL[0], SIZES).lower(lowering_platforms=("tpu",))
    assert elsewhere.as_text().count("chlo.ragged_dot") >= 3


@pytest.mark.slow  # compiles a model
def test_each_example_of_a_mixture_has_the_gradient_that_it_has_alone():
    model, variables = model_of("mixtral")

    def loss_of(params, ids: jax.Array) -> jax.Array:
        logits = model.apply({"params": params}, ids[None]).logits
        return jnp.square(logits).mean()

    params = variables["params"]
    slopes = jax.jit(jax.vmap(jax.grad(loss_of), (None, 0)))(params, IDS)
    alone = jax.jit(jax.grad(loss_of))
    for number, ids in enumerate(IDS):
        expected = alone(params, ids)
        for ours, theirs in zip(
            jax.tree.leaves(slopes), jax.tree.leaves(expected), strict=True
        ):
            np.testing.assert_allclose(ours[number], theirs, rtol=1e-3, atol=1e-6)
