"""Products of groups of rows against NumPy, group by group, and what they cost."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.models.grouped import grouped_product

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
    several = jax.vmap(grouped_product, (None, None, 0))(rows, matrices, sizes)
    for found, own in zip(several, sizes):
        np.testing.assert_allclose(found, by_group(x, kernel, own.tolist()), rtol=1e-5)
    remat = jax.grad(lambda k: jax.checkpoint(grouped_product)(rows, k, sizes[0]).sum())
    plain = jax.grad(lambda k: grouped_product(rows, k, sizes[0]).sum())
    np.testing.assert_array_equal(remat(matrices), plain(matrices))


def test_forward_mode_and_second_derivatives_are_those_of_gathered_matrices():
    x, kernel, _ = (jnp.float32(each) for each in operands([5, 0, 20, 7]))
    sizes, groups = jnp.array([5, 0, 20, 7]), np.repeat(np.arange(4), [5, 0, 20, 7])
    along = jax.tree.map(jnp.cos, (x, kernel))

    def by_gather(x: jax.Array, kernel: jax.Array, sizes: jax.Array) -> jax.Array:
        return jnp.einsum("ri,rio->ro", x, kernel[groups])

    def forward(product, x: jax.Array, kernel: jax.Array):
        def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return (product(x, kernel, sizes) ** 3).sum()

        both = (x, kernel)
        of_product = jax.jvp(lambda x, kernel: product(x, kernel, sizes), both, along)
        return of_product, jax.jvp(jax.grad(loss, (0, 1)), both, along)

    def backward(product, x: jax.Array, kernel: jax.Array):
        def slope(x: jax.Array, kernel: jax.Array) -> jax.Array:
            loss = lambda x, kernel: (product(x, kernel, sizes) ** 3).sum()  # noqa: E731
            found = jax.grad(loss, (0, 1))(x, kernel)
            return sum(jnp.vdot(*pair) for pair in zip(found, along))

        return jax.grad(slope, (0, 1))(x, kernel)

    for derive, product in ((forward, grouped_product), (backward, grouped_product)):
        found = jax.jit(partial(derive, product))(x, kernel)
        expected = jax.jit(partial(derive, by_gather))(x, kernel)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-3),
            found,
            expected,
        )


def test_gradients_of_several_at_once_are_those_of_each():
    x, kernel, _ = operands([6, 2])
    rows, matrices = jnp.float32(np.stack([x, 2 * x])), jnp.float32(kernel)
    sizes = jnp.array([[6, 2], [1, 7]])

    def total(matrices: jax.Array) -> jax.Array:
        several = jax.vmap(grouped_product, (0, None, 0))(rows, matrices, sizes)
        return jnp.square(several).sum()

    expected = 0
    for own, of in zip((x, 2 * x), sizes.tolist()):
        change, ends = 2 * by_group(own, kernel, of), np.cumsum(of)
        expected += np.stack(
            [own[e - s : e].T @ change[e - s : e] for e, s in zip(ends, of)]
        )
    np.testing.assert_allclose(jax.jit(jax.grad(total))(matrices), expected, rtol=1e-4)


def test_a_product_of_two_precisions_has_the_wider_one():
    x, kernel, _ = operands([4, 9])
    for left, right in (("bfloat16", "float32"), ("float32", "bfloat16")):
        both = jnp.asarray(x, left), jnp.asarray(kernel, right)
        found = grouped_product(*both, jnp.array([4, 9]))
        expected = by_group(*(np.asarray(each, np.float64) for each in both), [4, 9])
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        grads = jax.grad(lambda *b: grouped_product(*b, jnp.array([4, 9])).sum(), (0, 1))(
            *both
        )
        assert [each.dtype.name for each in grads] == [left, right]


def test_matrices_that_are_frozen_cost_no_gradient():
    x, kernel, _ = (jnp.float32(each) for each in operands([4, 9]))
    loss = lambda x, kernel: grouped_product(x, kernel, jnp.array([4, 9])).sum()  # noqa: E731
    frozen = str(jax.make_jaxpr(jax.grad(loss))(x, kernel))
    assert frozen.count("products_of_groups") == 0
    learned = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(x, kernel))
    assert learned.count("products_of_groups") == 1
