"""Totals of tensors, which add: every group, row and ledger is a sum of these."""

from collections.abc import Iterable

import msgspec

from explorer.inventory.tensor import Kind

__all__ = ["ZERO", "Totals", "sum_totals"]


class Totals(msgspec.Struct, frozen=True):
    """How many tensors, and what the unique ones hold; `a + b` is of both together.

    Addition is associative and commutative and `ZERO` is its neutral element, so that the
    parts of a table add up to its total in whatever order and grouping. Weights are derived:
    weights + biases == parameters.

    Attributes:
        tensors: named tensors, second names included.
        parameters: elements that training changes.
        biases: parameters that are added to what flows through the network.
        elements: logical elements, parameters and state.
        nbytes: stored bytes.
        device_nbytes: bytes on the fullest device.

    >>> kind = Kind((4, 3), "float32", 12, 48, "kernel", "mlp", "params")
    >>> total = Totals.of(kind, named=3, unique=2) + ZERO
    >>> total.tensors, total.parameters, total.weights, total.nbytes
    (3, 24, 24, 96)
    """

    tensors: int = 0
    parameters: int = 0
    biases: int = 0
    elements: int = 0
    nbytes: int = 0
    device_nbytes: int = 0

    @classmethod
    def of(
        cls, kind: Kind, named: int = 1, unique: int = 1, device_nbytes: int | None = None
    ) -> "Totals":
        """Return the totals of tensors of one kind.

        Args:
            kind: what each of them is.
            named: how many names they have.
            unique: how many of those names have a storage of their own.
            device_nbytes: bytes of one on the fullest device; None if not sharded.
        """
        elements = unique * kind.size
        parameters = elements if kind.is_parameter else 0
        return cls(
            tensors=named,
            parameters=parameters,
            biases=parameters if kind.role == "bias" else 0,
            elements=elements,
            nbytes=unique * kind.nbytes,
            device_nbytes=unique
            * (kind.nbytes if device_nbytes is None else device_nbytes),
        )

    @property
    def weights(self) -> int:
        """Parameters that multiply what flows through the network: all but biases."""
        return self.parameters - self.biases

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.tensors + other.tensors,
            self.parameters + other.parameters,
            self.biases + other.biases,
            self.elements + other.elements,
            self.nbytes + other.nbytes,
            self.device_nbytes + other.device_nbytes,
        )

    def __mul__(self, times: int) -> "Totals":
        """Return the totals of so many repetitions."""
        return Totals(
            self.tensors * times,
            self.parameters * times,
            self.biases * times,
            self.elements * times,
            self.nbytes * times,
            self.device_nbytes * times,
        )


ZERO = Totals()


def sum_totals(parts: Iterable[Totals]) -> Totals:
    """Return the totals of all parts together; of none, `ZERO`."""
    return sum(parts, ZERO)
