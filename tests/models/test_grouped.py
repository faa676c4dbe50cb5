"""Products of groups of rows against NumPy, group by group, and what they cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.models.grouped import _product_by_blocks, grouped_product

rng = np.random.default_rng(0)
# rows of each group: even, none, one that holds all, more groups than rows, many blocks, no row
SIZES = [
    [3, 3, 3],
    [0, 5, 0, 0, 2, 0],
    [0, 0, 40],
    [1] + [0] * 30 + [1],
    [129, 1, 300, 0, 7],
    [0, 0],
    [17],
]


def by_group(x: np.ndarray, kernel: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Return the product in float64, one group after the other."""
    ends = np.cumsum(sizes)
    parts = [
        x[end - size : end] @ kernel[g] for g, (end, size) in enumerate(zip(ends, sizes))
    ]
    return np.concatenate(parts)


def operands(sizes: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, matrices, and what a product of both is weighted by."""
    rows, groups = sum(sizes), len(sizes)
    shapes = ((rows, 5), (groups, 5, 4), (rows, 4))
    x, kernel, weights = (rng.normal(size=shape) for shape in shapes)
    return x, kernel, weights


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_each_row_is_multiplied_with_the_matrix_of_its_group(sizes: list[int]):
    x, kernel, weights = operands(sizes)
    found = jax.jit(grouped_product)(
        jnp.float32(x), jnp.float32(kernel), jnp.array(sizes, jnp.int32)
    )
    np.testing.assert_allclose(found, by_group(x, kernel, sizes), rtol=1e-5, atol=1e-5)

    def weighted(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return (grouped_product(x, kernel, jnp.array(sizes)) * jnp.float32(weights)).sum()

    to_x, to_kernel = jax.jit(jax.grad(weighted, (0, 1)))(
        jnp.float32(x), jnp.float32(kernel)
    )
    turned = kernel.transpose(0, 2, 1)
    np.testing.assert_allclose(to_x, by_group(weights, turned, sizes), rtol=1e-5, atol=1e-5)
    ends = np.cumsum(sizes)
    expected = [x[e - s : e].T @ weights[e - s : e] for e, s in zip(ends, sizes)]
    np.testing.assert_allclose(to_kernel, expected, rtol=1e-5, atol=2e-5)


def test_what_is_not_finite_stays_in_its_group():
    x, kernel, _ = operands([3, 4])
    x[2] = np.nan
    kernel[1] = np.inf
    found = np.asarray(
        grouped_product(jnp.float32(x), jnp.float32(kernel), jnp.array([3, 4]))
    )
    assert np.isnan(found[2]).all()
    assert np.isfinite(found[:2]).all()
    assert not np.isfinite(found[3:]).any()

    def first_group(kernel: jax.Array) -> jax.Array:
        return grouped_product(jnp.float32(x), kernel, jnp.array([3, 4]))[4:].sum()

    found = np.asarray(jax.grad(first_group)(jnp.float32(kernel)))
    assert np.isfinite(found[1]).all()


def test_half_precision_stays_half_precision():
    x, kernel, _ = operands([4, 9])
    half = [jnp.bfloat16(each) for each in (x, kernel)]
    found = grouped_product(*half, jnp.array([4, 9]))
    assert found.dtype == jnp.bfloat16
    expected = by_group(*(np.asarray(each, np.float64) for each in half), [4, 9])
    np.testing.assert_allclose(
        np.asarray(found, np.float64), expected, rtol=2e-2, atol=2e-2
    )
    grads = jax.grad(lambda *both: grouped_product(*both, jnp.array([4, 9])).sum(), (0, 1))(
        *half
    )
    assert [each.dtype for each in grads] == [jnp.bfloat16, jnp.bfloat16]


def test_on_a_cpu_no_product_has_an_axis_of_groups():
    # lax.ragged_dot makes one of [groups, rows, inputs] there
    sizes = jnp.array([40] * 8)
    x, kernel, _ = operands([40] * 8)

    def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.square(grouped_product(x, kernel, sizes)).sum()

    def largest(compute) -> int:
        text = (
            jax.jit(jax.grad(compute, (0, 1)))
            .lower(jnp.float32(x), jnp.float32(kernel))
            .as_text()
        )
        shapes = [part.split(">")[0].split("x")[:-1] for part in text.split("tensor<")[1:]]
        sizes = [
            np.prod([int(n) for n in shape if n.isdecimal()], dtype=int) for shape in shapes
        ]
        return max(sizes)

    rows_with_a_last_block = (320 + 64) * 5
    assert largest(loss) <= rows_with_a_last_block
    dense = lambda x, kernel: jnp.square(jax.lax.ragged_dot(x, kernel, sizes)).sum()  # noqa: E731
    assert largest(dense) >= 8 * 320 * 4


def test_elsewhere_it_is_the_ragged_product_of_jax():
    x, kernel = (
        jax.ShapeDtypeStruct((6, 5), jnp.float32),
        jax.ShapeDtypeStruct((2, 5, 4), jnp.float32),
    )
    traced = jax.jit(grouped_product).trace(
        x, kernel, jax.ShapeDtypeStruct((2,), jnp.int32)
    )
    assert "while" in traced.lower(lowering_platforms=("cpu",)).as_text()
    elsewhere = traced.lower(lowering_platforms=("tpu",)).as_text()
    assert "ragged_dot" in elsewhere
    assert "while" not in elsewhere


def test_blocks_are_as_the_whole_under_vmap_and_remat():
    x, kernel, _ = operands([6, 2])
    rows, matrices, sizes = jnp.float32(x), jnp.float32(kernel), jnp.array([[6, 2], [1, 7]])
    several = jax.vmap(_product_by_blocks, (None, None, 0))(rows, matrices, sizes)
    for found, own in zip(several, sizes):
        np.testing.assert_allclose(found, by_group(x, kernel, own.tolist()), rtol=1e-5)
    remat = jax.grad(lambda k: jax.checkpoint(grouped_product)(rows, k, sizes[0]).sum())
    plain = jax.grad(lambda k: grouped_product(rows, k, sizes[0]).sum())
    np.testing.assert_array_equal(remat(matrices), plain(matrices))
