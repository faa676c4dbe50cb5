"""Adapters merged into their kernels for good, in float32, one kernel at a time."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.transforms.adapters.changes import change_of_merging
from explorer.transforms.adapters.sums import merged_kernel
from explorer.transforms.records import Change

if TYPE_CHECKING:
    from explorer.transforms.adapters.adapter import KernelPart

__all__ = ["merge_lora"]


def merge_lora(params: Any, adapters: Any) -> tuple[Any, Change]:
    """Return parameters with adapters merged into them, and what that changed.

    Each sum W + scale A B is computed in float32 (of float64 kernels, in float64) in the order
    of peft's merge, and cast to the dtype of its kernel once. A quantised kernel is quantised
    again in its own format; the change says what that lost.

    Args:
        params: what the adapters were made for: a tree of any framework.
        adapters: of `add_lora`, `extract_lora` or `read_peft`.

    Raises:
        TreeError: the adapters are of another model; the error names what differs.
        InputError: a quantised kernel whose format cannot be made again.

    >>> from explorer.transforms.adapters.adding import add_lora
    >>> params = {"dense": {"kernel": np.ones((8, 4), "float32")}}
    >>> adapters, _ = add_lora(params, 2, "dense")
    >>> merged, change = merge_lora(params, adapters)
    >>> bool((merged["dense"]["kernel"] == params["dense"]["kernel"]).all())
    True
    """
    from explorer.transforms.adapters.trees import (
        ParameterLeaves,
        adapters_in,
        check_fit,
        is_quantized,
        replaced_in,
        unpacked,
    )

    leaves = ParameterLeaves(params)
    check_fit(leaves, adapters)
    new: dict[Any, Any] = dict(replaced_in(adapters))
    wanted: dict[Any, Any] = {}
    for _, adapter in adapters_in(adapters):
        for part in adapter.parts():
            leaf = leaves[part.kernel.path]
            values = np.asarray(unpacked(leaf))
            merged = merged_kernel(values, part, adapter.scale)
            if is_quantized(leaf):
                wanted[part.kernel.path] = merged
                new[part.kernel.path] = _quantised_as(leaf, merged, part)
            else:
                new[part.kernel.path] = _like(leaf, merged.astype(values.dtype))
    merged_tree = leaves.replaced(new)
    return merged_tree, change_of_merging(leaves, new, wanted)


def _quantised_as(leaf: Any, values: np.ndarray, part: "KernelPart") -> Any:
    """Return values in the quantised format of a leaf."""
    from explorer.errors import InputError

    again = getattr(type(leaf), "of", None)
    if again is None:
        raise InputError(
            "/".join(part.kernel.path),
            found=f"is a {type(leaf).__name__}, into which nothing can be merged",
            expected="a format that explorer quantises",
            cure="dequantise the parameters first",
        )
    found = again(values.astype("float32"), leaf.scheme, leaf.inputs_first)
    return dataclasses.replace(found, kind=leaf.kind)


def _like(leaf: Any, values: np.ndarray) -> Any:
    """Return values as an array of the leaf's library, placed as it is."""
    if isinstance(leaf, np.ndarray):
        return np.ascontiguousarray(values)
    import jax

    return jax.device_put(np.ascontiguousarray(values), leaf.sharding)
