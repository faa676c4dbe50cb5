"""SparseGPT: kernels pruned input by input, the remaining weights corrected for each.

Inputs are taken in blocks. Within a block the entries with the least error w^2 / d^2 are pruned (n
of m are kept: those of each m inputs, when their turn comes), and each error is passed on to the
inputs that follow.

References:
    Frantar & Alistarh, SparseGPT (2023).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from explorer.errors import InputError
from explorer.transforms.calibration.obs import inverse_factor
from explorer.transforms.pruning.patterns import Pattern, parse_pattern

__all__ = ["sparsegpt"]


def sparsegpt(
    weight: jax.Array,
    hessian: jax.Array,
    pattern: Pattern | str,
    *,
    block: int = 128,
    damp: float = 0.01,
) -> jax.Array:
    """Return a pruned and corrected kernel, in float32.

    Args:
        weight: [out, in].
        hessian: [in, in], sums of the products of inputs, X^T X; any multiple of it.
        pattern: a share ("0.5") or n:m.
        block: inputs that are taken together; of n:m, the next multiple of m.
        damp: the share of the mean of the Hessian's diagonal that is added to it.

    Returns:
        [out, in]; exactly the share of the entries is zero, rounded down, or of each m inputs of
        an output all but n.

    Raises:
        InputError: another pattern, shapes that do not fit, groups that do not divide the inputs.

    >>> hessian = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> sparsegpt(jnp.array([[1.0, 2.0]]), hessian, "0.5", damp=0.0).tolist()
    [[0.0, 2.5]]
    """
    if isinstance(pattern, str):
        pattern = parse_pattern(pattern)
    _check(weight, hessian, pattern)
    factor = inverse_factor(hessian, damp)
    result = jnp.where(jnp.diagonal(hessian) == 0, 0.0, jnp.asarray(weight, jnp.float32))
    outputs, inputs = result.shape
    if pattern.block:
        block = -(-block // pattern.block) * pattern.block
    pruned = 0
    for start in range(0, inputs, block):
        width = min(block, inputs - start)
        if pattern.block:
            result = _block_n_of_m(
                result, factor, start, width, pattern.kept, pattern.block
            )
            continue
        number = pattern.number(outputs * (start + width)) - pruned
        pruned += number
        result = _block_of_share(result, factor, start, width, number)
    return result


@partial(jax.jit, static_argnames="width")
def _block_of_share(
    weight: jax.Array, factor: jax.Array, start: int, width: int, number: int
) -> jax.Array:
    """Return the kernel after one block, of which so many entries are pruned."""
    own, rows = _parts(weight, factor, start, width)
    scores = jnp.square(own / jnp.diagonal(rows)).reshape(-1)
    order = jnp.argsort(scores, stable=True)
    chosen = jnp.arange(len(order)) < number
    mask = jnp.zeros_like(chosen).at[order].set(chosen).reshape(own.shape)
    errors = jnp.zeros_like(own)
    own, errors = lax.fori_loop(
        0, width, lambda i, state: _column(i, mask, rows, *state), (own, errors)
    )
    return _passed_on(weight, factor, start, jnp.where(mask, 0.0, own), errors)


@partial(jax.jit, static_argnames=("width", "kept", "group"))
def _block_n_of_m(
    weight: jax.Array, factor: jax.Array, start: int, width: int, kept: int, group: int
) -> jax.Array:
    """Return the kernel after one block, of which all but n of each m inputs are pruned."""
    own, rows = _parts(weight, factor, start, width)
    diagonal = jnp.diagonal(rows)

    def step(index: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        own, errors, mask = state
        at = index * group
        values = lax.dynamic_slice_in_dim(own, at, group, 1)
        scores = jnp.square(values / lax.dynamic_slice_in_dim(diagonal, at, group))
        ranks = jnp.argsort(jnp.argsort(scores, 1, stable=True), 1, stable=True)
        mask = lax.dynamic_update_slice_in_dim(mask, ranks < group - kept, at, 1)
        own, errors = lax.fori_loop(
            at, at + group, lambda i, s: _column(i, mask, rows, *s), (own, errors)
        )
        return own, errors, mask

    state = (own, jnp.zeros_like(own), jnp.zeros(own.shape, bool))
    own, errors, mask = lax.fori_loop(0, width // group, step, state)
    return _passed_on(weight, factor, start, jnp.where(mask, 0.0, own), errors)


def _parts(
    weight: jax.Array, factor: jax.Array, start: int, width: int
) -> tuple[jax.Array, jax.Array]:
    """Return the inputs of a block [out, width], and their part of the factor."""
    own = lax.dynamic_slice_in_dim(weight, start, width, 1)
    return own, lax.dynamic_slice(factor, (start, start), (width, width))


def _column(
    i: jax.Array, mask: jax.Array, rows: jax.Array, own: jax.Array, errors: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the block and the errors after input i, whose pruned entries are passed on."""
    error = jnp.where(mask[:, i], own[:, i], 0.0) / rows[i, i]
    return own - error[:, None] * rows[i], errors.at[:, i].set(error)


def _passed_on(
    weight: jax.Array, factor: jax.Array, start: int, own: jax.Array, errors: jax.Array
) -> jax.Array:
    """Return the kernel with a block's result, its errors corrected in the inputs after it."""
    width = own.shape[1]
    rows = lax.dynamic_slice_in_dim(factor, start, width, 0)
    after = jnp.arange(weight.shape[1]) >= start + width
    weight = weight - errors @ jnp.where(after, rows, 0.0)
    return lax.dynamic_update_slice_in_dim(weight, own, start, 1)


def _check(weight: jax.Array, hessian: jax.Array, pattern: Pattern) -> None:
    if pattern.kind not in ("unstructured", "n:m"):
        raise InputError(
            "pattern",
            found=f"{pattern.text} with sparsegpt",
            expected="a share such as 0.5, or n:m",
        )
    inputs = weight.shape[-1]
    if weight.ndim != 2 or hessian.shape != (inputs, inputs):
        raise InputError(
            "hessian",
            found=f"shape {list(hessian.shape)} for a weight of {list(weight.shape)}",
            expected=f"[{inputs}, {inputs}], products of the inputs of [out, in]",
        )
    if pattern.block and inputs % pattern.block:
        raise InputError(
            "weight",
            found=f"{inputs:,} inputs, which groups of {pattern.block} do not divide",
            expected=f"a multiple of {pattern.block}",
        )
