"""NNX modules, States and optimizers, by the type of their Variables.

The object graph is only looked at: nothing is run, split, merged or patched, and a
module with abstract Variables (`nnx.eval_shape`) reads like one with arrays.
"""

from typing import Any

from explorer.errors import TreeError
from explorer.inventory.listing import Listing
from explorer.objects import pytree
from explorer.objects.nnx_graph import recognises

__all__ = ["read", "recognises"]


def read(target: Any, *inputs: Any, **kwargs: Any) -> Listing:
    """List the Variables of an NNX module, State, optimizer, or of a (GraphDef, State).

    A Variable that several attributes share is one tensor with several names. An array
    that is in no Variable is a buffer. With inputs, roles are those of its call.

    Raises:
        TreeError: there is nothing of NNX in the target, or a Variable holds no numbers.

    >>> from flax import nnx
    >>> listing = read(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    >>> listing.keys, listing.collections
    ([('bias',), ('kernel',)], ['params', 'params'])
    """
    if not recognises(target):
        raise TreeError(
            type(target).__name__,
            found="is nothing of NNX",
            expected="an nnx.Module, nnx.State, nnx.Variable or (GraphDef, State)",
        )
    listing = pytree.read(target)
    if not inputs and not kwargs:
        return listing
    from explorer.objects.calls import of_nnx, traced

    return traced(listing, of_nnx(target, inputs, kwargs))
