"""The tensors of a source under their own names, as tensors of another file."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.conversion.values import ValueSource
from explorer.formats.casting import Loss, parts_of
from explorer.formats.writing import OutgoingTensor
from explorer.identify.assemble import assemble
from explorer.inventory.inventory import Inventory
from explorer.inventory.listing import Listing
from explorer.paths import Key

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PlainSource", "outgoing_inventory"]

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


class PlainSource:
    """A source's tensors, each once.

    Attributes:
        source: where they are.
        before: the dtype of each tensor in the source, by its new name.
        losses: what casting loses, by the name of the new tensor, as they are written.
        keys: of each in the source, by its new name.
    """

    def __init__(self, source: ValueSource):
        self.source = source
        self.before: dict[str, str] = {}
        self.losses: dict[str, Loss] = {}
        self.keys: dict[str, Key] = {}

    def outgoing(self, dtype: str | None = None) -> list[OutgoingTensor]:
        """Return all tensors, second names of one left out.

        Args:
            dtype: of parameters in float formats; by default their own.
        """
        return [
            self._outgoing(key, dtype)
            for key, each in self.source.side.tensors.items()
            if not each.is_second
        ]

    def _outgoing(self, key: Key, dtype: str | None) -> OutgoingTensor:
        stored = self.source.side.tensors[key]
        found = dtypes.find(stored.dtype)
        is_block = found.kind == "float" and found.block >= 32
        own = "float32" if is_block or key in self.source.side.made else stored.dtype
        is_cast = dtype is not None and own in _FLOATS and key in self.source.parameters
        wanted = dtype if dtype is not None and is_cast else own
        name = self.source.name(key)
        self.before[name], self.keys[name] = stored.dtype, key

        def parts() -> "Iterator[np.ndarray]":
            loss = self.losses.setdefault(name, Loss())
            array = self.source.array(key)
            yield from parts_of(array, wanted, loss, self.source.release)

        return OutgoingTensor(name, wanted, stored.shape, parts)


def outgoing_inventory(place: str, tensors: Sequence[OutgoingTensor]) -> Inventory:
    """Return what is in a safetensors file of some tensors."""
    listing = Listing(
        format="safetensors",
        keys=[each.name for each in tensors],
        shapes=[each.shape for each in tensors],
        dtypes=[each.dtype for each in tensors],
        nbytes=[each.nbytes for each in tensors],
    )
    return assemble(listing, place)
