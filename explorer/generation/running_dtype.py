"""What models are computed in where nobody says."""

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["running_dtype"]


def running_dtype(dtype: Any) -> Any:
    """Return the dtype to load weights in: float32 on a CPU, unless one is given.

    XLA's CPU backend computes in 16 bits at a quarter of the speed of float32. None stands for
    the dtype of the file.

    >>> running_dtype("bfloat16")
    'bfloat16'
    """
    if dtype is None and jax.default_backend() == "cpu":
        return jnp.float32
    return dtype
