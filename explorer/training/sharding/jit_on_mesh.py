"""`jax.jit` for functions of a train state that is placed on a mesh of devices."""

from collections.abc import Callable
from typing import Any

import jax
from jax.core import Tracer
from jax.sharding import Mesh

from explorer.errors import check_type
from explorer.training.sharding.automatic import automatic, inside
from explorer.training.sharding.mesh import check_on_mesh
from explorer.tree.arrays import (
    check_arrays,
    check_not_donated,
)
from explorer.tree.types import Batch, PyTree

__all__ = ["JitOnMesh", "jit_on_mesh"]


def jit_on_mesh(
    fn: Callable[[Any, Any], Any],
    mesh: Mesh | None,
    *,
    kind: type = object,
    returns_state: bool = False,
    donate: bool = False,
    base: PyTree = None,
) -> "JitOnMesh | Any":
    """Return a jitted `fn(state, batch)`, compiled once, for a state placed on a mesh.

    Args:
        fn: a pure function; its state is refused, when called, if it is of another kind,
            placed elsewhere, or was donated before.
        mesh: of `make_mesh`; None for the default device.
        kind: the class of a state.
        returns_state: whether it returns `(state, ...)`: on a mesh the new state is placed as
            the first one that it is called with, device by device.
        donate: whether the memory of the state is used for the result.
        base: a tree of arrays that is the third argument of every call, where there is one: it
            is neither donated nor a constant of the program.

    >>> double = jit_on_mesh(lambda state, batch: state * batch, None)
    >>> int(double(3, 2))
    6
    """
    return JitOnMesh(fn, mesh, kind, returns_state, 0 if donate else (), base)


class JitOnMesh:
    """What `jit_on_mesh` returns: called, traced and lowered like a `jax.jit` function."""

    def __init__(
        self,
        fn: Callable[[Any, Any], Any],
        mesh: Mesh | None,
        kind: type,
        returns_state: bool,
        donated: int | tuple[int, ...],
        base: PyTree = None,
    ):
        self._fn, self._kind = fn, kind
        self._mesh = automatic(mesh) if isinstance(mesh, Mesh) else mesh
        self._constants = () if base is None else (base,)
        self.__wrapped__ = fn  # as of `jax.jit`
        self._returns_state, self._donated = returns_state, donated
        self._follows_state = returns_state and mesh is not None
        self._jitted: Any = None
        if not self._follows_state:
            self._jitted = jax.jit(fn, donate_argnums=donated)

    def __call__(self, state: PyTree, batch: Batch, /) -> Any:
        jitted = self._for(state, batch)
        try:
            with inside(self._mesh):
                return jitted(state, batch, *self._constants)
        except (RuntimeError, ValueError, TypeError, OverflowError):
            check_arrays("the batch", batch)
            check_not_donated("the state", state)
            check_not_donated("the batch", batch)
            check_not_donated("the base", self._constants)
            raise

    def trace(self, state: PyTree, batch: Batch, /) -> jax.stages.Traced:
        """Trace it for these arguments, real or abstract."""
        with inside(self._mesh):
            return self._for(state, batch).trace(state, batch, *self._constants)

    def lower(self, state: PyTree, batch: Batch, /) -> jax.stages.Lowered:
        """Lower it for these arguments."""
        with inside(self._mesh):
            return self._for(state, batch).lower(state, batch, *self._constants)

    def eval_shape(self, state: PyTree, batch: Batch, /) -> Any:
        """Return the shapes of what it returns."""
        with inside(self._mesh):
            return self._for(state, batch).eval_shape(state, batch, *self._constants)

    def _for(self, state: PyTree, batch: Batch) -> Any:
        check_type("the state", state, self._kind, "what Trainer.init or a step returned")
        check_arrays("the batch", batch)
        if self._mesh is None or (self._jitted is not None and self._follows_state):
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
