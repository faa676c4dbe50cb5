"""Parameters that NumPy draws: `init` compiles a program for every shape."""

from typing import Any

import jax
import numpy as np

__all__ = ["drawn_params"]


def drawn_params(module: Any, *inputs: Any) -> dict[str, Any]:
    """Return the "params" of a model as `init` has them, of other random numbers.

    Kernels and tables are normal values of scale 0.02, gains ones, and what else there is zeros.

    Args:
        module: one of explorer's own.
        *inputs: what it is called with; their shapes matter alone.
    """
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    random = np.random.default_rng(0)

    def draw(keys: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = keys[-1].key
        values = np.full(leaf.shape, float(name == "scale"))
        if name in ("kernel", "embedding"):
            values = random.normal(size=leaf.shape, scale=0.02)
        return jax.device_put(values.astype(leaf.dtype))

    return jax.tree_util.tree_map_with_path(draw, shapes)
