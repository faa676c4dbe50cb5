"""The inverse of a Hessian as a triangular factor, from which errors are corrected.

Pruning or quantising input i of an output changes what the layer computes; the best correction of
the inputs after i is a multiple of row i of U, where U is upper triangular and
inverse(H + damping) = U^T U.

References:
    Hassibi & Stork, Optimal Brain Surgeon (1993); Frantar & Alistarh, Optimal Brain Compression
    (2022).
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from explorer.errors import InputError

__all__ = ["damped", "hessian_error", "inverse_factor"]

_DAMPINGS = (
    1.0,
    10.0,
    100.0,
)  # of what is asked for, until the Hessian is positive definite


def inverse_factor(
    hessian: jax.Array, damp: float = 0.01, place: str = "hessian"
) -> jax.Array:
    """Return the upper factor U [in, in] of the damped inverse, inverse(H) = U^T U.

    Args:
        hessian: [in, in], sums of products of inputs.
        damp: the share of the mean of its diagonal that is added to the diagonal. Ten and a
            hundred times that where the Hessian is not positive definite with less.
        place: what an error calls it.

    Raises:
        InputError: values that are not finite, or a Hessian that is not one.

    >>> inverse_factor(jnp.diag(jnp.array([4.0, 1.0])), damp=0.0).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    for times in _DAMPINGS:
        factor = _factor(jnp.asarray(hessian, jnp.float32), damp * times)
        if bool(jnp.isfinite(factor).all()):
            return factor
    raise InputError(
        place,
        found="is not positive definite, or not finite",
        expected="sums of products of inputs, X^T X",
        cure="give more calibration data, or a larger damp",
    )


@jax.jit
def damped(hessian: jax.Array, damp: float) -> jax.Array:
    """Return a Hessian with its diagonal raised; inputs that were never seen get 1 there."""
    diagonal = jnp.diagonal(hessian)
    diagonal = jnp.where(diagonal == 0, 1.0, diagonal)
    return hessian + jnp.diag(diagonal + damp * diagonal.mean() - jnp.diagonal(hessian))


@jax.jit
def _factor(hessian: jax.Array, damp: float) -> jax.Array:
    # with axes reversed, a lower Cholesky factor becomes an upper one: H = R R^T, U = inverse(R)
    lower = jnp.linalg.cholesky(damped(hessian, damp)[::-1, ::-1])
    return solve_triangular(lower[::-1, ::-1], jnp.eye(len(hessian)), lower=False)


@jax.jit
def hessian_error(before: jax.Array, after: jax.Array, hessian: jax.Array) -> jax.Array:
    """Return the squared error of a layer's outputs, of which the Hessian is the inputs'.

    Args:
        before, after: [out, in].
        hessian: [in, in], the sum of x x^T.

    >>> x = jnp.array([[1.0, 2.0]])
    >>> float(hessian_error(jnp.array([[3.0, 4.0]]), jnp.array([[3.0, 0.0]]), x.T @ x))
    64.0
    """
    change = jnp.asarray(after, jnp.float32) - jnp.asarray(before, jnp.float32)
    return jnp.sum((change @ hessian) * change)
