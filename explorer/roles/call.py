"""A call that can be traced: a pure function, its parameters, and example inputs."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from explorer.inventory.tensor import Component
from explorer.paths import Key

if TYPE_CHECKING:
    from explorer.tree.types import Params, PyTree

__all__ = ["Call"]


class Call(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """`fn(params, *inputs, **kwargs)`, with what is known about the model behind it.

    Attributes:
        fn: a pure function of parameters and inputs.
        params: its parameters: arrays, or their shapes.
        inputs: example inputs: arrays, or their shapes.
        kwargs: keyword arguments of the call.
        name: of the model, as shown to the user.
        model: the object whose tensors are listed, where `params` has lost their types
            (an NNX module) or boxes; None to list `params`.
        form: the kind of model ("flax linen"); empty for what the tree itself shows.
        stacks: how many equal layers, then experts, are stacked along a tensor's leading
            axes.
        components: of parameters whose modules' classes tell more than their names.
        architecture: the record behind one of explorer's own models.
    """

    fn: Callable[..., Any]
    params: "Params"
    inputs: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    name: str = ""
    model: "PyTree" = None
    form: str = ""
    stacks: Mapping[Key, tuple[int, ...]] = {}
    components: Mapping[Key, Component] = {}
    architecture: Any = None
