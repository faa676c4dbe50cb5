"""NNX modules, States and optimizers, by the type of their Variables.

The object graph is only read: nothing is run, split, merged or patched, and a
module with abstract Variables (`nnx.eval_shape`) reads like one with arrays.
"""

from typing import Any

from explorer.errors import TreeError
from explorer.inventory.listing import Listing
from explorer.objects import calls, pytree
from explorer.objects.nnx_graph import recognises

__all__ = ["read"]


def read(target: Any, *inputs: Any, **kwargs: Any) -> Listing:
    """List the Variables of an NNX module, State, optimizer, or of a (GraphDef, State).

    A Variable that several attributes share is one tensor with several names. An array
    that is in no Variable is a buffer. With inputs, roles are those of its call.

    Raises:
        TreeError: the target has nothing of NNX in it, or a Variable holds no numbers.

    >>> from flax import nnx
    >>> listing = read(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    >>> listing.keys, listing.collections
    ([('bias',), ('kernel',)], ['params', 'params'])
    """
    if not recognises(target):
        raise TreeError(
            type(target).__name__,
            found="is not an NNX object",
            expected="an nnx.Module, nnx.State, nnx.Variable or (GraphDef, State)",
        )
    if not inputs and not kwargs:
        return pytree.read(target)
    return calls.read(calls.call_of_nnx(target, inputs, kwargs))
