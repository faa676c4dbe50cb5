"""A subject and a workload -> the bytes of its weights, type by type."""

import msgspec

from explorer import dtypes
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, Workload
from explorer.sizing.subject import Subject

__all__ = ["TypeTotal", "Weights", "weights_of"]


class TypeTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What the tensors of one storage type add up to."""

    tensors: int
    elements: int
    bytes: int


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """The stored weights: values, what dequantising them takes, and totals by type.

    Attributes:
        values: bytes of the values themselves.
        scales: bytes of scales, zero points and codes.
        by_type: totals by storage type; their bytes are `values + scales`.
        provenance: how it is known.
        note: what explains it.
    """

    values: int
    scales: int
    by_type: dict[str, TypeTotal]
    provenance: str
    note: str = ""

    @property
    def bytes(self) -> int:
        """Bytes of values and scales."""
        return self.values + self.scales

    def terms(self) -> tuple[Term, ...]:
        """Return the terms "parameters" and, where there are scales, "quantization"."""
        values = Term(
            name="parameters",
            bytes=self.values,
            low=self.values,
            high=self.values,
            provenance=self.provenance,
            note=self.note,
        )
        if not self.scales:
            return (values,)
        scales = msgspec.structs.replace(
            values,
            name="quantization",
            bytes=self.scales,
            low=self.scales,
            high=self.scales,
        )
        return values, scales


def weights_of(subject: Subject, workload: Workload, placement: Placement) -> Weights:
    """Return the bytes of a subject's unique parameters in the workload's dtype.

    Raises:
        InputError: a dtype that does not exist.
    """
    by_type: dict[str, TypeTotal] = {}
    for kind, _, unique in subject.inventory.kinds:
        if not kind.is_parameter:
            continue
        name = workload.dtype or kind.dtype
        nbytes = unique * dtypes.find(name).nbytes(kind.size)
        old = by_type.get(name, TypeTotal(tensors=0, elements=0, bytes=0))
        by_type[name] = TypeTotal(
            tensors=old.tensors + unique,
            elements=old.elements + unique * kind.size,
            bytes=old.bytes + nbytes,
        )
    total = sum(each.bytes for each in by_type.values())
    return Weights(values=total, scales=0, by_type=by_type, provenance="exact")
