"""Parameters with adapters in effect: pure, inside `jax.jit` and `jax.grad`."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from explorer.transforms.adapters.adapter import Adapter, KernelPart
from explorer.transforms.adapters.factored import FactoredKernel
from explorer.transforms.adapters.trees import (
    ParameterLeaves,
    adapters_in,
    check_fit,
    is_quantized,
    replaced_in,
    unpacked,
)

__all__ = ["apply_lora"]


def apply_lora(params: Any, adapters: Any, *, factored: bool = False) -> Any:
    """Return parameters with the adapters in effect, to be used in the place of the frozen ones.

    Differentiate with respect to the adapters: the parameters then are constants, and have no
    gradient. The change is computed in the adapters' dtype and added in it or a wider one;
    the sum has the dtype of the kernel. DoRA's norms are constants in the backward pass, as
    in the paper (section 4.3) and in peft. A quantised kernel is dequantised where it is used,
    and one that no adapter names stays as it is.

    Args:
        params: what the adapters were made for: a tree of any framework.
        adapters: of `add_lora`, trained or not.
        factored: for explorer's own models: kernels that are adapted or quantised stay in
            factors, and each layer computes x W + scale (x A) B. No kernel in effect is formed,
            and of scanned layers (`scan=True`) what is quantised is dequantised in one at a
            time, again in the backward pass: the memory of training is less by a copy of what
            is adapted. Of unrolled layers XLA's CPU backend dequantises all at once.

    Raises:
        TreeError: the adapters are of another model; the error names what differs.

    >>> from explorer.transforms.adapters.adding import add_lora
    >>> params = {"dense": {"kernel": jnp.ones((8, 4)), "bias": jnp.zeros(4)}}
    >>> adapters, _ = add_lora(params, 2, "dense")
    >>> def loss(adapters, x):
    ...     layer = apply_lora(params, adapters)["dense"]
    ...     return jnp.square(x @ layer["kernel"] + layer["bias"]).mean()
    >>> gradients = jax.jit(jax.grad(loss))(adapters, jnp.ones((3, 8)))
    >>> jax.tree.map(jnp.shape, jax.tree.leaves(gradients))
    [(8, 2), (2, 4)]
    """
    leaves = ParameterLeaves(params)
    check_fit(leaves, adapters)
    new = dict(replaced_in(adapters))
    if factored:
        return leaves.replaced(_unadapted(leaves) | new | dict(_factors(leaves, adapters)))
    for _, adapter in adapters_in(adapters):
        for part in adapter.parts():
            new[part.kernel.path] = _effective(leaves[part.kernel.path], part, adapter)
    return leaves.replaced(new)


def _factors(leaves: ParameterLeaves, adapters: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the kernels that are adapted, in factors, by path."""
    for _, adapter in adapters_in(adapters):
        for kernel, a, b, norms in adapter.parts():
            leaf = leaves[kernel.path]
            yield kernel.path, FactoredKernel(leaf, a, b, norms, adapter.scale)


def _unadapted(leaves: ParameterLeaves) -> dict[Any, Any]:
    """Return what is quantised as a model takes it: linear layers as they are, others as arrays."""
    return {
        path: FactoredKernel(leaf, None, None, None, 1.0)
        if path[-1] == "kernel" and "router" not in path
        else leaf.dequantize()
        for path, leaf in leaves.items()
        if is_quantized(leaf)
    }


def _effective(leaf: Any, part: KernelPart, adapter: Adapter) -> jax.Array:
    """Return a kernel with its adapter in effect."""
    base = unpacked(leaf)
    wide = jnp.promote_types(base.dtype, part.lora_a.dtype)
    change = jnp.matmul(part.lora_a, part.lora_b, precision=lax.Precision.HIGHEST)
    matrices = part.kernel.matrices(jnp.asarray(base)).astype(wide)
    matrices = matrices + change.astype(wide) * adapter.scale
    if part.magnitude is not None:
        squares = jnp.square(matrices.astype(jnp.promote_types(wide, jnp.float32)))
        norms = lax.stop_gradient(jnp.sqrt(squares.sum(-2, keepdims=True)))
        matrices = matrices * (part.magnitude[..., None, :] / norms).astype(wide)
    return part.kernel.array(matrices).astype(base.dtype)
