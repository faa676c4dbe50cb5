"""The records of single tensors: what each is, and which of them are one.

A tensor is one array leaf of a tree or one named array of a file. What tensors of the
same pattern, shape and format have in common is kept once, in their `Kind`.
"""

from math import prod
from typing import Literal

import msgspec

from explorer.paths import Key, name_of, path_of

__all__ = [
    "BUFFER_COLLECTIONS",
    "PARAMS",
    "Component",
    "Kind",
    "Role",
    "TensorSpec",
    "Tie",
]

Role = Literal["kernel", "embedding", "scale", "bias", "other"]
Component = Literal[
    "embedding", "attention", "mlp", "experts", "router", "norm", "head", "other"
]

PARAMS = "params"
# State that a forward pass reads or writes and no gradient changes.
BUFFER_COLLECTIONS = ("buffers", "batch_stats", "cache")


class Kind(msgspec.Struct, frozen=True, gc=False):
    """What tensors of one pattern, shape and format have in common.

    `size` is the logical element count ("8B"); `nbytes` the stored bytes. Where packing
    makes the stored array another one, `stored` holds its shape and format. `stack` says
    how many equal layers, then experts, are stacked along the leading axes; () where none do.

    >>> Kind((8, 4), "bfloat16", 32, 64, "kernel", "mlp", "params").is_parameter
    True
    """

    shape: tuple[int, ...]
    dtype: str
    size: int
    nbytes: int
    role: Role
    component: Component
    collection: str
    rule: str = ""
    stored: tuple[tuple[int, ...], str, int] | None = None
    stack: tuple[int, ...] = ()

    @property
    def is_parameter(self) -> bool:
        """Whether training changes it."""
        return self.collection == PARAMS

    @property
    def stored_size(self) -> int:
        """Elements of the stored array: packed words where `size` counts 4-bit values."""
        return self.stored[2] if self.stored else self.size


class TensorSpec(msgspec.Struct, frozen=True, gc=False):
    """One tensor: its key in the source, what it is, and whether it is a second name.

    `alias` is true when the tensor's storage is already counted under another key.
    `sharding` is how axes are split over devices, as the source describes it;
    `device_nbytes` the bytes of it on the device that holds most.

    >>> kind = Kind((8, 4), "bfloat16", 32, 64, "kernel", "mlp", "params")
    >>> TensorSpec(("layer", "kernel"), kind).name
    'layer/kernel'
    """

    key: Key
    kind: Kind
    alias: bool = False
    sharding: str = ""
    device_nbytes: int | None = None

    @property
    def path(self) -> tuple[str, ...]:
        """Names from the root."""
        return path_of(self.key)

    @property
    def name(self) -> str:
        """The path joined by "/"."""
        return name_of(self.key)

    @property
    def source_name(self) -> str:
        """The key as its source spells it; of a tree, whose key is a path, the joined path."""
        return self.key if isinstance(self.key, str) else name_of(self.key)

    @property
    def shape(self) -> tuple[int, ...]:
        """Logical shape."""
        return self.kind.shape

    @property
    def multiplicity(self) -> int:
        """How many equal tensors it stacks: layers times experts."""
        return prod(self.kind.stack)

    @property
    def dtype(self) -> str:
        """Logical dtype, by its NumPy, ml_dtypes or ggml name."""
        return self.kind.dtype

    @property
    def size(self) -> int:
        """Logical number of elements."""
        return self.kind.size

    @property
    def nbytes(self) -> int:
        """Stored bytes."""
        return self.kind.nbytes

    @property
    def on_device(self) -> int:
        """Bytes that the fullest device holds: all of them where nothing is sharded."""
        return self.kind.nbytes if self.device_nbytes is None else self.device_nbytes

    @property
    def role(self) -> Role:
        """What it does: kernel, embedding, scale, bias or other."""
        return self.kind.role

    @property
    def component(self) -> Component:
        """The part of the network it belongs to."""
        return self.kind.component

    @property
    def collection(self) -> str:
        """Flax's word: params, batch_stats, cache, opt_state, buffers, ..."""
        return self.kind.collection


class Tie(msgspec.Struct, frozen=True):
    """Keys that share one storage, the counted one first, and how that is known.

    A key that no tensor has is a tensor the architecture has and the file leaves out.
    `shown` is true where the source itself shows one storage and no rule had to decide.

    >>> Tie((("embed", "embedding"), ("head", "kernel")), "the same array object").shown
    False
    """

    keys: tuple[Key, ...]
    by: str
    shown: bool = False
