"""The inputs of each linear layer of a model on data, as sums of their products.

A Linen module is called on each batch in one jitted function, in which an interceptor adds what
flows into its linear layers to a collection: the module's code does not change. In memory are the
sums alone, [in, in] for each kernel.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from explorer.arguments import check_kinds
from explorer.errors import (
    InputError,
    TreeError,
    first_line,
    shown,
)
from explorer.models.linear import ExpertGroups, Linear
from explorer.tree.arrays import check_arrays, check_not_donated
from explorer.tree.types import Params

__all__ = ["InputMoments", "batches_of", "gather_moments", "recorded", "recording"]

_NAME = "input_moments"
_LAYERS = (Linear, nn.Dense, nn.DenseGeneral)


class InputMoments(NamedTuple):
    """Sums over the tokens of the inputs of one kernel; stacked kernels have leading axes.

    Attributes:
        tokens: how many.
        squares: [in], of each input's squares.
        absolute: [in], of each input's magnitudes.
        hessian: [in, in], of the products of inputs; None where it was not asked for.
    """

    tokens: jax.Array
    squares: jax.Array
    absolute: jax.Array
    hessian: jax.Array | None = None


def gather_moments(
    module: nn.Module, params: Params, data: Any, *, hessians: bool = True
) -> dict[str, InputMoments]:
    """Return the moments of the inputs of each linear layer, by the names of kernels.

    Args:
        module: a Linen module; explorer's own, or one with Dense layers.
        params: its "params".
        data: token ids [batch, length], or an iterable of batches; each an array, or a dict of the
            module's arguments with "input_ids" or "inputs" first. Tokens that an
            "attention_mask" hides are left out.
        hessians: whether products of inputs are summed, [in, in] for each kernel.

    Raises:
        InputError: no data, or a module that has no linear layer.

    >>> import numpy as np
    >>> params = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}
    >>> found = gather_moments(nn.Dense(3), params, [np.array([[1.0, 2.0], [3.0, 0.0]])])
    >>> found["kernel"].hessian.tolist(), found["kernel"].absolute.tolist(), int(found["kernel"].tokens)
    ([[10.0, 2.0], [2.0, 4.0]], [4.0, 2.0], 2)
    """
    if not isinstance(module, nn.Module):
        raise TreeError(
            "model", found=f"is {type(module).__name__}", expected="a Linen module"
        )

    check_arrays("params", params)
    check_not_donated("params", params)
    check_kinds(("hessians", hessians, "True or False"))

    @jax.jit
    def step(params: Params, first: Any, rest: dict[str, Any]) -> Any:
        with recording(rest.get("attention_mask"), hessians):
            _, state = module.apply(
                {"params": params}, first, **rest, mutable=["intermediates"]
            )
        return recorded(state)

    total: Any = None
    for batch in batches_of(data):
        try:
            found = step(params, *batch)
        except (InputError, jax.errors.JaxRuntimeError):
            raise
        except Exception as error:
            raise InputError(  # of the module's own code
                "data",
                found=f"{type(module).__name__} cannot be called with such parameters and data "
                f"({first_line(error)})",
                expected="its own parameters, and what its first argument is",
            ) from None
        total = found if total is None else _added(total, found)
    if not total:
        raise InputError(
            "model",
            found=f"{type(module).__name__} has no linear layer that data pass through",
            expected="kernels of Dense layers, or of explorer's own models",
        )
    return {f"{name}/kernel".removeprefix("/"): each for name, each in total.items()}


@jax.jit
def _added(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def batches_of(data: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each batch as the arguments of a module: the first, and the others by name.

    Raises:
        InputError: no data.

    >>> import numpy as np
    >>> [(first.shape, rest) for first, rest in batches_of(np.zeros((2, 4), int))]
    [((2, 4), {})]
    """
    if data is None:
        raise InputError(
            "data",
            found="no calibration data",
            expected="token ids [batch, length], or batches",
        )
    batches = [data] if hasattr(data, "shape") or isinstance(data, Mapping) else data
    if not isinstance(batches, Iterable):
        raise TreeError(
            "data",
            found=f"is {type(data).__name__}",
            expected="token ids [batch, length], or an iterable of batches",
        )
    count = 0
    for batch in batches:
        count += 1
        if not isinstance(batch, Mapping):
            yield _array(batch), {}
            continue
        if not batch:
            raise InputError("data", found="an empty batch", expected="arrays by name")
        first = next((n for n in ("input_ids", "inputs") if n in batch), next(iter(batch)))
        yield batch[first], {name: each for name, each in batch.items() if name != first}
    if not count:
        raise InputError("data", found="no batches", expected="at least one")


def _array(batch: Any) -> jax.Array:
    check_not_donated("data", batch)
    try:
        return jnp.asarray(batch)
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise TreeError(
            "data",
            found=f"holds {shown(batch, 40)} ({first_line(error)})",
            expected="token ids [batch, length], or arrays by name",
        ) from None


def recording(mask: Any, hessians: bool) -> Any:
    """Return the context in which linear layers add moments of inputs to "intermediates".

    Args:
        mask: [batch, length], 0 for tokens that are left out; or None.
        hessians: whether products of inputs are summed.
    """

    def intercept(
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: Any,
    ) -> Any:
        layer = context.module
        if context.method_name == "__call__" and isinstance(layer, _LAYERS) and args:
            groups = next(
                (g for g in (*args[1:], *kwargs.values()) if isinstance(g, ExpertGroups)),
                None,
            )
            found = _moments(_rows(layer, args[0], mask), groups, hessians)
            layer.sow(
                "intermediates",
                _NAME,
                found,
                init_fn=lambda: jax.tree.map(jnp.zeros_like, found),
                reduce_fn=lambda a, b: jax.tree.map(jnp.add, a, b),
            )
        return call(*args, **kwargs)

    return nn.intercept_methods(intercept)


def recorded(state: Mapping[str, Any]) -> dict[str, InputMoments]:
    """Return what `recording` added, by the names of layers."""
    found: dict[str, InputMoments] = {}
    stack: list[tuple[str, Any]] = [("", state.get("intermediates", {}))]
    while stack:
        name, node = stack.pop()
        for key, value in node.items():
            if key == _NAME:
                found[name.removeprefix("/")] = value
            elif isinstance(value, Mapping):
                stack.append((f"{name}/{key}", value))
    return found


class _InputRows(NamedTuple):
    """Inputs [rows, in] in float32, and 1 or 0 for each row that counts or does not."""

    values: jax.Array
    counted: jax.Array


def _rows(layer: nn.Module, x: jax.Array, mask: Any) -> _InputRows:
    """Return the inputs of a layer as rows; those that a mask hides are zero."""
    axes = getattr(layer, "axis", -1)
    axes = sorted(axis % x.ndim for axis in (axes if isinstance(axes, tuple) else (axes,)))
    others = [axis for axis in range(x.ndim) if axis not in axes]
    front = tuple(x.shape[axis] for axis in others)
    size = 1
    for axis in axes:
        size *= x.shape[axis]
    rows = x.transpose(*others, *axes).reshape(*front, size).astype(jnp.float32)
    counted = jnp.ones(front)
    if mask is not None and front == jnp.shape(mask):
        counted = (jnp.asarray(mask) != 0).astype(jnp.float32)
    return _InputRows((rows * counted[..., None]).reshape(-1, size), counted.reshape(-1))


def _moments(rows: _InputRows, groups: ExpertGroups | None, hessians: bool) -> InputMoments:
    values, counted = rows
    if groups is None:
        return InputMoments(
            counted.sum(),
            jnp.square(values).sum(0),
            jnp.abs(values).sum(0),
            values.T @ values if hessians else None,
        )
    number = len(groups.sizes)

    def by_expert(each: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(each, groups.experts, number)

    def of_expert(expert: jax.Array) -> jax.Array:
        own = jnp.where((groups.experts == expert)[:, None], values, 0.0)
        return own.T @ own

    return InputMoments(
        by_expert(counted),
        by_expert(jnp.square(values)),
        by_expert(jnp.abs(values)),
        jax.lax.map(of_expert, jnp.arange(number)) if hessians else None,
    )
