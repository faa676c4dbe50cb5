"""A shape in place of an example input: a slip that would count another model.

`(1, 4)` is a tree of two numbers to JAX, and many layers make an array of them. Where an array of
that shape would do as well, or the numbers do not do, the shape was meant.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorer.errors import InputError, printable
from explorer.roles.dataflow.arguments import shape_of, split_call
from explorer.tree.nesting import check_tree

__all__ = ["refuse_shapes"]

_NUMBERS = (int, np.int64, np.int32)
Function = Callable[..., Any]


def refuse_shapes(
    name: str,
    fn: Function,
    params: Any,
    inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    makes: bool = False,
) -> None:
    """Refuse tuples of whole numbers among example inputs, if they are meant as shapes.

    Args:
        name: of what is called.
        fn: called with params, inputs and kwargs; only traced.
        params: a tree of arrays, or their shapes.
        inputs, kwargs: what the user gave.
        makes: whether fn returns the parameters that it makes. Then one row of whole numbers
            in a list is refused too, if an array of that shape would make others.

    Raises:
        InputError: an input is a shape; the message says how to pass an array of it.
    """
    check_tree(inputs, kwargs)
    given = next(_shapes([*inputs, *kwargs.values()]), None)
    if given is None:
        if makes and (row := _row_that_decides(fn, params, inputs, kwargs)):
            raise _refused(name, row, "a list of one row", [row])
        return
    for dtype in (jnp.float32, jnp.int32):
        arrays = tuple(_as_array(value, dtype) for value in inputs)
        named = {key: _as_array(value, dtype) for key, value in kwargs.items()}
        if _works(fn, params, arrays, named):
            break
    else:
        # a size that the model asks for; shapes in a tuple are not numbers of an array
        nested = any(
            (type(value) is tuple and any(map(_is_shape, value)))
            or (_is_row(value) and type(value[0]) is tuple)
            for value in inputs
        )
        if not nested and _works(fn, params, inputs, kwargs):
            return
    is_list = isinstance(given, list)
    what = f"a {type(given).__name__} of numbers"
    raise _refused(name, given, what, given if is_list else None)


def _refused(name: str, sizes: Any, what: str, numbers: Any) -> InputError:
    shape = tuple(map(int, sizes))
    return InputError(
        name,
        found=f"the example input {printable(numbers or sizes, 60)} is {what}",
        expected="an array",
        cure=f"pass jnp.ones({shape}) or jax.ShapeDtypeStruct({shape}, jnp.float32)"
        + (f", or jnp.array({numbers}) for these numbers" if numbers else ""),
    )


def _row_that_decides(
    fn: Function, params: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[int] | None:
    """Return the row of `[[1, 4]]`, if an array of that shape makes other parameters."""
    rows = [value[0] for value in inputs if _is_row(value)]
    if len(rows) != 1:
        return None
    made = _outputs(fn, params, inputs, kwargs)
    for dtype in (jnp.float32, jnp.int32):
        arrays = tuple(_as_array(v[0] if _is_row(v) else v, dtype) for v in inputs)
        others = _outputs(fn, params, arrays, kwargs)
        if others is not None:
            return rows[0] if others != made else None
    return None


def _is_row(value: Any) -> bool:
    return type(value) is list and len(value) == 1 and _is_shape(value[0])


def _shapes(inputs: list[Any]) -> Iterator[Any]:
    """Yield the shapes among inputs; a list of lists is an array's content."""
    for value in inputs:
        if _is_shape(value):
            yield value
        elif isinstance(value, Mapping):
            yield from _shapes(list(value.values()))
        elif type(value) in (tuple, list):
            yield from _shapes([part for part in value if not isinstance(part, list)])


def _is_shape(value: Any) -> bool:
    return (
        type(value) in (tuple, list)
        and len(value) > 0
        and all(type(size) in _NUMBERS and size >= 0 for size in value)
    )


def _as_array(value: Any, dtype: Any) -> Any:
    if _is_shape(value):
        return jax.ShapeDtypeStruct(tuple(map(int, value)), dtype)
    if type(value) is dict:
        return {key: _as_array(part, dtype) for key, part in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_as_array(part, dtype) for part in value)
    return value


def _works(fn: Function, params: Any, inputs: Any, kwargs: Any) -> bool:
    return _outputs(fn, params, inputs, kwargs) is not None


def _outputs(fn: Function, params: Any, inputs: Any, kwargs: Any) -> list[Any] | None:
    """Return the shapes that a call returns; None where it fails."""
    arrays, rebuilt = split_call(inputs, kwargs)
    leaves, treedef = jax.tree.flatten(params)

    returned: list[Any] = []

    def traced(leaves: list[Any], arrays: list[Any]) -> int:
        inputs, kwargs = rebuilt(arrays)
        out = fn(treedef.unflatten(leaves), *inputs, **kwargs)
        returned.extend(getattr(leaf, "shape", leaf) for leaf in jax.tree.leaves(out))
        return 0

    try:
        jax.eval_shape(traced, list(map(shape_of, leaves)), arrays)
    except Exception:  # the user's code may raise anything
        return None
    return returned
