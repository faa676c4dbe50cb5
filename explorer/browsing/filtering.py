"""Which tensors are shown: those of one role, of one component, or of both."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set

import msgspec

from explorer.browsing.branches import subset
from explorer.inventory.inventory import Inventory
from explorer.inventory.own_names import group_words, own_names
from explorer.inventory.tensor import Kind

__all__ = ["TensorFilter", "components_of", "filtered", "job_of", "names_of", "roles_of"]


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


def names_of(inventories: Iterable[Inventory]) -> frozenset[str]:
    """Return the modules' own names that are components, as the legend has them."""
    return frozenset().union(*(own_names(each.columns) for each in inventories))


def filtered(
    inventory: Inventory, wanted: TensorFilter, names: Set[str] | None = None
) -> Inventory:
    """Return the inventory of the tensors that are shown; the rows of all roles add up to all.

    Args:
        inventory: all tensors.
        wanted: what they must have.
        names: modules' own names that are components; None for those of the inventory.

    >>> import explorer as ex
    >>> filtered(ex.explore("gpt2"), TensorFilter(role="bias")).num_parameters
    102144
    """
    if wanted.is_any:
        return inventory
    columns = inventory.columns
    names = names_of([inventory]) if names is None else names
    fitting = [wanted.role in ("", job_of(kind)) for kind in columns.kinds]
    places: Iterator[int] = (i for i, n in enumerate(columns.numbers) if fitting[n])
    if wanted.component:
        words = [*group_words(columns, names)]
        places = (i for i in places if words[i] == wanted.component)
    return subset(inventory, places)


def roles_of(inventories: Sequence[Inventory]) -> tuple[str, ...]:
    """Return the roles that tensors have, those of the most parameters first, then of state.

    >>> import explorer as ex
    >>> roles_of([ex.explore("gpt2")])
    ('kernel', 'embedding', 'bias', 'scale')
    """
    sizes: Counter[str] = Counter()
    for inventory in inventories:
        for kind, named, _ in inventory.kinds:
            sizes[job_of(kind)] += kind.size * named if kind.is_parameter else 0
    return _ordered(sizes)


def components_of(inventories: Sequence[Inventory], names: Set[str]) -> tuple[str, ...]:
    """Return the components that tensors have, those of the most parameters first.

    Args:
        inventories: of which tensors.
        names: modules' own names that are components.

    >>> import explorer as ex
    >>> components_of([ex.explore("gpt2")], frozenset())
    ('mlp', 'embedding', 'attention', 'norm')
    """
    sizes: Counter[str] = Counter()
    for inventory in inventories:
        columns = inventory.columns
        words = group_words(columns, names)
        for (number, word), named in Counter(zip(columns.numbers, words)).items():
            kind = columns.kinds[number]
            sizes[word] += kind.size * named if kind.is_parameter else 0
    return _ordered(sizes)


def _ordered(sizes: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(sizes, key=lambda word: (-sizes[word], word)))
