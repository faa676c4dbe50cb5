"""Models that can be called: a module, or a function with its parameters, and inputs.

The roles of their parameters are read off the program of that call.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from explorer.errors import InputError, TreeError
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import PARAMS, Role
from explorer.paths import Key
from explorer.roles.dataflow import ParameterRole, RoleTrace, trace

__all__ = ["Call", "of_function", "of_linen", "of_nnx", "rngs", "roles_by_key", "traced"]


class Call(NamedTuple):
    """`fn(params, *inputs, **kwargs)`: a pure function, and a tree of arrays or shapes."""

    fn: Callable[..., Any]
    params: Any
    inputs: tuple[Any, ...]
    kwargs: Mapping[str, Any] = {}

    def trace(self) -> RoleTrace:
        """Return what each parameter does in the call.

        Raises:
            InputError: it cannot be called so.
        """
        return trace(self.fn, self.params, *self.inputs, **self.kwargs)


def of_linen(module: nn.Module, variables: Any, inputs: tuple, kwargs: dict) -> Call:
    """Return the call of a Linen module on some inputs; its outputs alone count."""
    state = [name for name in variables if name != PARAMS]

    def fn(variables: Any, *args: Any, **keywords: Any) -> Any:
        return module.apply(variables, *args, rngs=rngs(), mutable=state, **keywords)[0]

    return Call(fn, nn.meta.unbox(variables), inputs, kwargs)


def of_nnx(module: Any, inputs: tuple, kwargs: dict) -> Call:
    """Return the call of an NNX module on some inputs; the module is not changed."""
    from flax import nnx

    graph, state = nnx.split(module)

    def fn(pure: Any, *args: Any, **keywords: Any) -> Any:
        filled = jax.tree.map(lambda leaf: leaf, state)  # a copy of its structure
        nnx.replace_by_pure_dict(filled, pure)
        return nnx.merge(graph, filled)(*args, **keywords)

    return Call(fn, nnx.to_pure_dict(state), inputs, kwargs)


def of_function(target: tuple) -> Call:
    """Return the call that a tuple (fn, params, inputs) describes.

    Raises:
        TreeError: it is another tuple.
    """
    if len(target) != 3 or not callable(target[0]):
        raise TreeError(
            "the target",
            found=f"a tuple of {', '.join(type(part).__name__ for part in target)}",
            expected="(module, *inputs) or (fn, params, inputs)",
        )
    fn, params, inputs = target
    return Call(
        fn, params, tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    )


def traced(listing: Listing, call: Call) -> Listing:
    """Return a listing of a call's parameters with what each does in it.

    A call that cannot be traced (it has side effects) leaves a remark, and names tell.
    """
    try:
        listing.roles = roles_by_key(call.trace().roles)
    except InputError as error:
        remark = f"roles are by name, for the call was not traced: {error}"
        listing.remarks = [*listing.remarks, remark]
    return listing


def roles_by_key(roles: Any) -> dict[Key, Role]:
    """Return the role of each parameter that a call uses, by its path in the tree.

    Of what nothing uses, the name tells what it was meant for.
    """
    return {
        tuple(jax.tree_util.keystr((key,), simple=True) for key in path): record.role
        for path, record in jax.tree_util.tree_flatten_with_path(roles)[0]
        if isinstance(record, ParameterRole) and record.reached
    }


def rngs() -> dict[str, jax.Array]:
    """Return the streams that a module may draw from."""
    # a stream of any other name is drawn from "params"; keys are traced, not made
    return {name: jax.random.key(0) for name in (PARAMS, "dropout")}
