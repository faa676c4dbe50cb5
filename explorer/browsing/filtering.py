"""Which tensors are shown: those of one role, of one component, or of both."""

from collections.abc import Callable, Sequence

import msgspec

from explorer.browsing.branches import subset
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import Kind

__all__ = ["TensorFilter", "filtered", "job_of", "words_of"]


class TensorFilter(msgspec.Struct, frozen=True):
    """The words that tensors must have; "" for any."""

    role: str = ""
    component: str = ""

    @property
    def is_any(self) -> bool:
        """Whether every tensor is shown."""
        return not self.role and not self.component


def job_of(kind: Kind) -> str:
    """Return a tensor's role; its collection where it is not a parameter.

    >>> job_of(Kind((2,), "float32", 2, 8, "bias", "mlp", "params"))
    'bias'
    """
    return kind.role if kind.is_parameter else kind.collection


def filtered(inventory: Inventory, wanted: TensorFilter) -> Inventory:
    """Return the inventory of the tensors that are shown; the rows of all roles add up to all.

    >>> import explorer as ex
    >>> filtered(ex.explore("gpt2"), TensorFilter(role="bias")).num_parameters
    102144
    """
    if wanted.is_any:
        return inventory
    columns = inventory.columns
    fitting = [
        wanted.role in ("", job_of(kind)) and wanted.component in ("", kind.component)
        for kind in columns.kinds
    ]
    return subset(
        inventory, (i for i, number in enumerate(columns.numbers) if fitting[number])
    )


def words_of(
    inventories: Sequence[Inventory], word: Callable[[Kind], str]
) -> tuple[str, ...]:
    """Return the words that tensors have, those of the most parameters first, then of state.

    >>> import explorer as ex
    >>> words_of([ex.explore("gpt2")], job_of)
    ('kernel', 'embedding', 'bias', 'scale')
    """
    sizes: dict[str, int] = {}
    for inventory in inventories:
        for kind, named, _ in inventory.kinds:
            size = kind.size * named if kind.is_parameter else 0
            sizes[word(kind)] = sizes.get(word(kind), 0) + size
    return tuple(sorted(sizes, key=lambda name: (-sizes[name], name)))
