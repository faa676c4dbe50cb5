"""Zeros that stay zero: masks as a tree, and the optax transformation that keeps them in training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from explorer.errors import TreeError, check_type
from explorer.tree.arrays import check_arrays, check_not_donated
from explorer.tree.types import Params, PyTree

__all__ = ["MaskedState", "apply_masks"]


class MaskedState(NamedTuple):
    """The state of the optimizer whose updates are masked."""

    inner: Any


def apply_masks(
    masks: PyTree, optimizer: optax.GradientTransformation | None = None
) -> optax.GradientTransformation:
    """Return an optimizer under which pruned entries are zero, and stay so.

    Gradients are masked before the optimizer sees them, so that its moments of pruned entries
    stay zero; its updates are masked again, so that neither weight decay nor noise revives one.
    The update of a pruned entry is minus its value: one that is not zero yet becomes so.

    Args:
        masks: of `explorer.prune_masks`: true where an entry is kept, None for tensors that are
            not pruned.
        optimizer: an optax transformation; None to mask updates alone, as the last of a chain.

    Raises:
        TreeError: when it is used: parameters of another structure or shape.

    >>> masks = {"kernel": jnp.array([True, False]), "bias": None}
    >>> params = {"kernel": jnp.array([1.0, 0.0]), "bias": jnp.array([1.0])}
    >>> optimizer = apply_masks(masks, optax.adamw(0.1))
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update(params, state, params)
    >>> optax.apply_updates(params, updates)["kernel"].tolist()[1]
    0.0
    """
    check_arrays("masks", masks)
    check_not_donated("masks", masks)
    if optimizer is not None and not (
        hasattr(optimizer, "update") and hasattr(optimizer, "init")
    ):
        check_type("optimizer", optimizer, (), "an optax transformation")
    inner = optax.with_extra_args_support(optimizer or optax.identity())

    def init(params: Params) -> MaskedState:
        _check(masks, params)
        return MaskedState(inner.init(params))

    def update(
        updates: PyTree, state: Any, params: Params | None = None, **extra: Any
    ) -> tuple[PyTree, MaskedState]:
        kept = _map(_zeroed, masks, updates)
        changes, after = inner.update(kept, state.inner, params, **extra)
        if params is None:
            return _map(_zeroed, masks, changes), MaskedState(after)
        return _map(_towards_zero, masks, changes, params), MaskedState(after)

    return optax.GradientTransformationExtraArgs(init, update)


def _zeroed(mask: Any, update: Any) -> Any:
    return update if mask is None else jnp.where(mask, update, jnp.zeros_like(update))


def _towards_zero(mask: Any, update: Any, value: Any) -> Any:
    return (
        update if mask is None else jnp.where(mask, update, (-value).astype(update.dtype))
    )


def _map(function: Any, masks: PyTree, *trees: PyTree) -> PyTree:
    return jax.tree.map(function, masks, *trees, is_leaf=lambda node: node is None)


def _check(masks: PyTree, params: Params) -> None:
    """Refuse parameters that the masks are not of."""
    found, structure = jax.tree_util.tree_flatten_with_path(
        masks, is_leaf=lambda node: node is None
    )
    try:
        values = structure.flatten_up_to(params)
    except ValueError:
        raise TreeError(
            "masks",
            found="another structure than the parameters'",
            expected="what prune_masks returns for these parameters",
        ) from None
    for (keys, mask), value in zip(found, values, strict=True):
        shape = getattr(value, "shape", ())
        if mask is not None and mask.shape != shape:
            raise TreeError(
                f"masks{jax.tree_util.keystr(keys)}",
                found=f"shape {list(mask.shape)}",
                expected=f"{list(shape)}, that of the parameter",
            )
