"""Which parameters an optimizer changes: those whose update is more than zeros."""

from typing import Any

import jax

from explorer.errors import InputError
from explorer.roles.dataflow.values import Value
from explorer.roles.dataflow.walk import Walk

__all__ = ["changed_by"]


def changed_by(optimizer: Any, params: Any) -> list[bool]:
    """Return, of each parameter, whether an optax transformation may change it.

    Read off the program of `update`: an update that depends on no gradient, no parameter
    and no state is a constant, as `optax.set_to_zero` makes it for frozen labels. Under
    `optax.masked`, what the mask leaves out passes unchanged and is changed by its gradient.

    Raises:
        InputError: the transformation does not fit the parameters.
    """
    leaves, treedef = jax.tree.flatten(params)
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    tree = treedef.unflatten(shapes)

    def update(grads: Any, state: Any, params: Any) -> Any:
        return optimizer.update(grads, state, params)[0]

    try:
        state = jax.eval_shape(optimizer.init, tree)
        closed = jax.make_jaxpr(update)(tree, state, tree)
    except (TypeError, ValueError, KeyError) as error:  # labels or masks of another tree
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            "optimizer",
            found=f"does not fit the parameters: {message}",
            expected="an optax transformation for this tree",
        ) from error
    inputs = [Value(data=True)] * len(closed.jaxpr.invars)
    outputs = Walk([]).run(closed.jaxpr, inputs, [True] * len(closed.jaxpr.outvars))
    return [value.data for value in outputs]
