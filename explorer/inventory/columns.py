"""The tensors of an inventory as columns: a key and the number of a kind for each.

A checkpoint of 10^5 tensors has some hundred kinds. Totals need only how often each occurs,
so that the records of single tensors are made when somebody asks for them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.listing import Sharding, tally
from explorer.inventory.tensor import Kind, TensorSpec
from explorer.paths import Key

__all__ = ["Columns"]


class Columns:
    """Parallel columns in the source's order; two are equal if they hold equal tensors.

    Attributes:
        keys: each tensor's name.
        kinds: the distinct kinds.
        numbers: for each tensor, the index of its kind in `kinds`.
        aliases: indices of the tensors whose storage is counted under another key.
        shardings: of the tensors that are sharded, by index.
    """

    __slots__ = ("aliases", "keys", "kinds", "numbers", "shardings")

    def __init__(
        self,
        keys: Sequence[Key],
        kinds: Sequence[Kind],
        numbers: Sequence[int],
        aliases: Iterable[int] = (),
        shardings: Mapping[int, Sharding] | None = None,
    ):
        self.keys = tuple(keys)
        self.kinds = tuple(kinds)
        self.numbers = numbers if isinstance(numbers, bytes) else tuple(numbers)
        self.aliases = frozenset(aliases)
        self.shardings = dict(shardings or {})

    @classmethod
    def of(cls, tensors: Iterable[TensorSpec]) -> "Columns":
        """Return the columns of single records.

        >>> kind = Kind((2,), "float32", 2, 8, "bias", "mlp", "params")
        >>> Columns.of([TensorSpec("a", kind), TensorSpec("b", kind)]).numbers
        (0, 0)
        """
        tensors = list(tensors)
        # a Kind's own hash walks its fields: it is taken once for each object
        objects = {id(tensor.kind): tensor.kind for tensor in tensors}
        numbers: dict[Kind, int] = {}
        number_of = {
            identity: numbers.setdefault(kind, len(numbers))
            for identity, kind in objects.items()
        }
        return cls(
            [tensor.key for tensor in tensors],
            list(numbers),
            [number_of[id(tensor.kind)] for tensor in tensors],
            (index for index, tensor in enumerate(tensors) if tensor.alias),
            {
                index: Sharding(tensor.sharding, tensor.device_nbytes)
                for index, tensor in enumerate(tensors)
                if tensor.sharding or tensor.device_nbytes is not None
            },
        )

    def __len__(self) -> int:
        return len(self.keys)

    def kind(self, index: int) -> Kind:
        """Return the kind of the tensor at that index."""
        return self.kinds[self.numbers[index]]

    def spec(self, index: int) -> TensorSpec:
        """Return the record of the tensor at that index."""
        kind, sharding = self.kind(index), self.shardings.get(index)
        if sharding is None:
            return TensorSpec(self.keys[index], kind, index in self.aliases)
        return TensorSpec(
            self.keys[index],
            kind,
            index in self.aliases,
            sharding.axes,
            sharding.device_nbytes,
        )

    def specs(self) -> tuple[TensorSpec, ...]:
        """Return the record of every tensor."""
        with paused_gc():
            kinds = map(self.kinds.__getitem__, self.numbers)
            specs = list(map(TensorSpec, self.keys, kinds))
            for index in self.aliases | self.shardings.keys():
                specs[index] = self.spec(index)
            return tuple(specs)

    def counts(self) -> tuple[tuple[Kind, int, int], ...]:
        """Return each kind with its number of tensors: all names, and unique ones."""
        aliases = Counter(self.numbers[index] for index in self.aliases)
        return tuple(
            (self.kinds[number], count, count - aliases[number])
            for number, count in tally(self.numbers).items()
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Columns):
            return NotImplemented
        if self.keys != other.keys or self.aliases != other.aliases:
            return False
        pairs = set(zip(self.numbers, other.numbers, strict=True))
        return self.shardings == other.shardings and all(
            self.kinds[mine] == other.kinds[theirs] for mine, theirs in pairs
        )

    def __hash__(self) -> int:
        return hash((self.keys, self.aliases))
