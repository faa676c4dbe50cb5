"""An architecture -> its module with example inputs: one sequence, or one image."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from explorer.architectures.architecture import Architecture
from explorer.models.transformer import Transformer

__all__ = ["Example", "example_of"]

_LENGTH = 128


class Example(NamedTuple):
    """A module and the inputs of one call, as shapes; nothing is allocated."""

    module: Transformer
    inputs: tuple[jax.ShapeDtypeStruct, ...]
    kwargs: dict[str, Any]


def example_of(architecture: Architecture, length: int | None = None) -> Example:
    """Return the module of an architecture, its layers scanned, and inputs for it.

    Args:
        architecture: the model.
        length: tokens of the sequence; None for 128. A table of positions limits it.

    >>> from explorer.architectures.resolve import resolve
    >>> example_of(resolve("gpt2").architecture, length=16).inputs
    (ShapeDtypeStruct(shape=(1, 16), dtype=int32),)
    """
    module = Transformer(architecture, scan=True, param_dtype=architecture.dtype)
    inputs = _inputs(architecture, length or _LENGTH)
    # token types are inputs too: by default they are one constant, which would make a row
    # of their table a bias
    types = {} if architecture.type_embed is None else {"token_type_ids": inputs}
    return Example(module, (inputs,), types)


def _inputs(architecture: Architecture, length: int) -> jax.ShapeDtypeStruct:
    patches, table = architecture.patch_embed, architecture.position_embed
    if patches is not None:
        shape = (1, patches.image, patches.image, patches.channels)
        return jax.ShapeDtypeStruct(shape, jnp.dtype(architecture.dtype))
    tokens = min(length, table.rows - table.offset - 1) if table else length
    return jax.ShapeDtypeStruct((1, tokens), jnp.int32)
