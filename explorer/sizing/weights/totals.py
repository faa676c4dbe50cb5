"""What stored weights add up to: values and scales, by type, on the fullest device, per token."""

from typing import NamedTuple

import msgspec

from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, TypeTotal

__all__ = ["Piece", "Tally", "Weights"]

_NONE = TypeTotal(tensors=0, elements=0, bytes=0)


class Piece(NamedTuple):
    """One tensor as it is stored: its type, its elements, bytes of values and of scales.

    >>> Piece("q8_0", 32, 32, 2).bytes
    34
    """

    type: str
    elements: int
    values: int
    scales: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of values and scales."""
        return self.values + self.scales


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """The stored weights: values, what dequantising them takes, and totals by type.

    Attributes:
        values: bytes of the values themselves.
        scales: bytes of scales, zero points and codes.
        by_type: totals by storage type; their bytes are `values + scales`.
        provenance: how it is known.
        note: what explains it.
        device_values, device_scales: of them, those on the fullest device.
        active_bytes: of both, those that one token's step reads: of experts its share, of
            tables that are looked up one row; None where nothing says which are experts.
        buffers: bytes of stored buffers, which are not counted.
        low: the least that the values may take, where they are not exact.
        by_share: bytes of tensors of which a token reads a share: numerator, denominator, bytes.
        scales_are: what `scales` holds, in words.
    """

    values: int
    scales: int
    by_type: dict[str, TypeTotal]
    provenance: str
    note: str = ""
    device_values: int | None = None
    device_scales: int | None = None
    active_bytes: int | None = None
    buffers: int = 0
    low: int | None = None
    by_share: tuple[tuple[int, int, int], ...] = ()
    scales_are: str = "scales, zero points and codes of the quantised weights"

    @property
    def bytes(self) -> int:
        """Bytes of values and scales."""
        return self.values + self.scales

    def bytes_read(self, tokens: int) -> float | None:
        """Return the bytes that a step of so many tokens is expected to read; None if unknown.

        Tokens pick experts, and rows of tables, independently and evenly: of n, each picking
        k, they touch n (1 - (1 - k / n)^tokens).
        """
        if self.active_bytes is None:
            return None
        idle = sum(
            nbytes * (1.0 - picked / of) ** tokens for picked, of, nbytes in self.by_share
        )
        return self.bytes - idle

    def terms(self) -> tuple[Term, ...]:
        """Return the terms "parameters" and, where there are scales, "quantization"."""
        values = Term(
            name="parameters",
            bytes=self.values,
            low=self.values if self.low is None else self.low,
            high=self.values,
            provenance=self.provenance,
            note=self.note,
            per_device=self.device_values,
        )
        if not self.scales:
            return (values,)
        scales = Term(
            name="quantization",
            bytes=self.scales,
            low=self.scales,
            high=self.scales,
            provenance=self.provenance,
            note=self.scales_are,
            per_device=self.device_scales,
        )
        return values, scales


class Tally:
    """Adds up tensors.

    >>> tally = Tally(Placement())
    >>> tally.add(Piece("nf4", 128, 64, 8), ("kernel",), (8, 16))
    >>> tally.weights("exact").bytes
    72
    """

    def __init__(self, placement: Placement):
        self._placement = placement
        self._by_type: dict[str, TypeTotal] = {}
        self._values = self._scales = 0
        self._device_values = self._device_scales = 0
        self._active = 0
        self._shares: dict[tuple[int, int], int] = {}

    def add(
        self,
        piece: Piece,
        path: tuple[str, ...],
        shape: tuple[int, ...],
        count: int = 1,
        share: tuple[int, int] = (1, 1),
    ) -> None:
        """Add equal tensors.

        Args:
            piece: one of them.
            path, shape: what decides how it is split over devices.
            count: how many there are.
            share: the part of it that one token's step reads, as a fraction.
        """
        old = self._by_type.get(piece.type, _NONE)
        self._by_type[piece.type] = TypeTotal(
            tensors=old.tensors + count,
            elements=old.elements + count * piece.elements,
            bytes=old.bytes + count * piece.bytes,
        )
        self._values += count * piece.values
        self._scales += count * piece.scales
        self._active += count * (piece.bytes * share[0] // share[1])
        if share[0] < share[1]:
            self._shares[share] = self._shares.get(share, 0) + count * piece.bytes
        if self._placement.devices > 1:
            parts = self._placement.shards(path, shape)
            self._device_values += count * -(-piece.values // parts)
            self._device_scales += count * -(-piece.scales // parts)

    def weights(
        self, provenance: str, note: str = "", *, routed: bool = True, buffers: int = 0
    ) -> Weights:
        """Return what was added.

        Args:
            provenance, note: how it is known and what explains it.
            routed: whether the shares of experts are known.
            buffers: bytes that are stored besides.
        """
        several = self._placement.devices > 1
        largest = sorted(self._by_type.items(), key=lambda item: -item[1].bytes)
        return Weights(
            values=self._values,
            scales=self._scales,
            by_type=dict(largest),
            provenance=provenance,
            note=note,
            device_values=self._device_values if several else None,
            device_scales=self._device_scales if several else None,
            active_bytes=self._active if routed else None,
            buffers=buffers,
            by_share=tuple((*share, nbytes) for share, nbytes in self._shares.items()),
        )
