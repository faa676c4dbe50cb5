"""An adapter of a kernel: a node of a pytree, whose arrays are trained."""

from dataclasses import dataclass, field
from math import prod, sqrt
from typing import Any, Literal, NamedTuple, get_args

import jax

from explorer.errors import InputError, shown
from explorer.transforms.adapters.kernels import Kernel, Site

__all__ = ["Adapter", "KernelPart", "Variant", "check_variant", "is_adapter"]

Variant = Literal["lora", "rslora", "dora"]


class KernelPart(NamedTuple):
    """What an adapter has for one of its kernels: A, its columns of B, their magnitudes."""

    kernel: Kernel
    lora_a: Any
    lora_b: Any
    magnitude: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Adapter:
    """The low-rank change of a kernel, or of the kernels of a fused projection.

    Attributes:
        lora_a: [batch, inputs, rank].
        lora_b: [batch, rank, outputs].
        magnitude: [batch, outputs], the norms of the columns; None but for DoRA.
        alpha: what the change is scaled by, times the rank or its root.
        variant: "lora", "rslora" or "dora".
        kernels: those that it adapts, in the order of its outputs.
        groups: parts of each kernel's outputs that alternate.

    >>> import jax.numpy as jnp
    >>> kernel = Kernel(("dense", "kernel"), (6, 4))
    >>> adapter = Adapter(jnp.ones((6, 2)), jnp.ones((2, 4)), None, 4.0, "lora", (kernel,))
    >>> adapter.rank, adapter.scale, adapter.size
    (2, 2.0, 20)
    """

    lora_a: Any
    lora_b: Any
    magnitude: Any
    alpha: float = field(metadata={"static": True})
    variant: Variant = field(metadata={"static": True})
    kernels: tuple[Kernel, ...] = field(metadata={"static": True})
    groups: int = field(default=1, metadata={"static": True})

    @property
    def rank(self) -> int:
        """Columns of A, rows of B."""
        return self.lora_a.shape[-1]

    @property
    def scale(self) -> float:
        """What A B is multiplied by: alpha / rank, with rsLoRA alpha / sqrt(rank)."""
        return self.alpha / (sqrt(self.rank) if self.variant == "rslora" else self.rank)

    @property
    def size(self) -> int:
        """The parameters that it learns."""
        arrays = (self.lora_a, self.lora_b, self.magnitude)
        return sum(prod(array.shape) for array in arrays if array is not None)

    @property
    def site(self) -> Site:
        """Where it adapts what, without a place of its own or names of a checkpoint."""
        return Site(self.kernels[0].path, self.kernels, self.groups)

    def parts(self) -> list[KernelPart]:
        """Return what each kernel has of it."""
        columns = self._split(self.lora_b)
        norms = [None] * len(columns)
        if self.magnitude is not None:
            norms = self._split(self.magnitude)
        return [
            KernelPart(kernel, self.lora_a, b, norm)
            for kernel, b, norm in zip(self.kernels, columns, norms, strict=True)
        ]

    def _split(self, array: Any) -> list[Any]:
        """Return the part of each kernel along the last axis."""
        widths = [kernel.sides[1] for kernel in self.kernels]
        if len(widths) == 1:
            return [array]
        around, parts, start = array.shape[:-1], [], 0
        grouped = array.reshape(*around, self.groups, -1)
        for width in widths:
            end = start + width // self.groups
            parts.append(grouped[..., start:end].reshape(*around, width))
            start = end
        return parts


def is_adapter(node: Any) -> bool:
    """Return whether a node of a tree is an adapter: a leaf for those who look for them."""
    return isinstance(node, Adapter)


def check_variant(variant: Any) -> None:
    """Refuse what is not a variant.

    Raises:
        InputError: the variants are listed.
    """
    if not isinstance(variant, str) or variant not in get_args(Variant):
        raise InputError(
            "variant",
            found=shown(variant, 40),
            expected=f"one of {', '.join(get_args(Variant))}",
        )
