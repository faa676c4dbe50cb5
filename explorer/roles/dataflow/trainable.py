"""Which parameters an optimizer changes: those whose update is not always zero."""

from typing import Any

import jax
import jax.numpy as jnp

from explorer.errors import InputError, first_line
from explorer.roles.dataflow.arguments import shape_of
from explorer.roles.dataflow.values import Value
from explorer.roles.dataflow.walk import Walk

__all__ = ["changed_by"]


def changed_by(optimizer: Any, params: Any) -> list[bool]:
    """Return for each parameter whether an optax transformation may change it.

    Read from the jaxpr of `update`: an update that depends on no gradient, no parameter and no
    state is a constant, as `optax.set_to_zero` makes it for frozen labels. `optax.masked` passes
    the gradients of leaves outside its mask on as updates, so that these change.

    Raises:
        InputError: the transformation does not fit the parameters.
    """
    from optax import with_extra_args_support  # an optimizer cannot exist without it

    leaves, treedef = jax.tree.flatten(params)
    tree = treedef.unflatten(map(shape_of, leaves))

    def update(grads: Any, state: Any, params: Any, loss: jax.Array) -> Any:
        rule = with_extra_args_support(optimizer)
        known = {"value": loss, "grad": grads, "value_fn": lambda params: loss}
        return rule.update(grads, state, params, **known)[0]

    try:
        state = jax.eval_shape(optimizer.init, tree)
        closed = jax.make_jaxpr(update)(tree, state, tree, jnp.zeros(()))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            "optimizer",
            found=f"does not fit the parameters: {first_line(error)}",
            expected="an optax transformation for this tree",
        ) from error
    data = [Value(data=True)] * len(closed.jaxpr.invars)
    outputs = Walk(()).run(closed.jaxpr, data, [True] * len(closed.jaxpr.outvars))
    return [value.data for value in outputs]
