"""`jax.jit` for functions of a train state that is placed on a mesh of devices."""

from collections.abc import Callable
from typing import Any

import jax
from jax.core import Tracer
from jax.sharding import Mesh

from explorer.training.sharding.mesh import check_on_mesh
from explorer.tree.types import Batch, PyTree

__all__ = ["JitOnMesh", "jit_on_mesh"]


def jit_on_mesh(
    fn: Callable[[Any, Any], Any],
    mesh: Mesh | None,
    *,
    returns_state: bool = False,
    donate: bool = False,
) -> "JitOnMesh | Any":
    """Return a jitted `fn(state, batch)`, compiled once, for a state placed on a mesh.

    Args:
        fn: a pure function; its state is refused, when called, if it is placed elsewhere.
        mesh: of `make_mesh`; None for plain `jax.jit`.
        returns_state: whether it returns `(state, ...)`: the new state is then placed as the
            first one that it is called with, device by device.
        donate: whether the memory of the state is used for the result.

    >>> double = jit_on_mesh(lambda state, batch: state * batch, None)
    >>> int(double(3, 2))
    6
    """
    donated = 0 if donate else ()
    if mesh is None:
        return jax.jit(fn, donate_argnums=donated)
    return JitOnMesh(fn, mesh, returns_state, donated)


class JitOnMesh:
    """What `jit_on_mesh` returns: called, traced and lowered like a `jax.jit` function."""

    def __init__(
        self,
        fn: Callable[[Any, Any], Any],
        mesh: Mesh,
        returns_state: bool,
        donated: int | tuple[int, ...],
    ):
        self._fn, self._mesh = fn, mesh
        self._returns_state, self._donated = returns_state, donated
        self._jitted: Any = None if returns_state else jax.jit(fn, donate_argnums=donated)

    def __call__(self, state: PyTree, batch: Batch, /) -> Any:
        return self._for(state)(state, batch)

    def trace(self, state: PyTree, batch: Batch, /) -> jax.stages.Traced:
        """Trace it for these arguments, real or abstract."""
        return self._for(state).trace(state, batch)

    def lower(self, state: PyTree, batch: Batch, /) -> jax.stages.Lowered:
        """Lower it for these arguments."""
        return self._for(state).lower(state, batch)

    def eval_shape(self, state: PyTree, batch: Batch, /) -> Any:
        """Return the shapes of what it returns."""
        return self._for(state).eval_shape(state, batch)

    def _for(self, state: PyTree) -> Any:
        if self._jitted is not None and self._returns_state:
            return self._jitted  # its output shardings were fixed by the first state
        leaves = jax.tree.leaves(state)
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            # inside another jit, which decides about placement
            return self._jitted or jax.jit(self._fn)
        check_on_mesh(self._mesh, state)
        if self._jitted is None:
            shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
            self._jitted = jax.jit(
                self._fn, donate_argnums=self._donated, out_shardings=(shardings, None)
            )
        return self._jitted
