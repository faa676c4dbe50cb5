"""What is in a model: its tensors and their exact totals."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Literal

import msgspec

from explorer.inventory.card import Card
from explorer.inventory.columns import Columns
from explorer.inventory.selection import (
    check_glob,
    check_words,
    no_such_tensor,
    nothing_matches,
)
from explorer.inventory.shown import Shown
from explorer.inventory.tensor import BUFFER_COLLECTIONS, Kind, TensorSpec, Tie
from explorer.inventory.totals import Totals, sum_totals
from explorer.paths import matches, name_of

__all__ = ["Basis", "Inventory"]

# What says which arrays are parameters: types or a declaration of the source, the model that
# a file was saved from, the name of the collection that holds them, their own names and
# shapes, a call that uses them, or nothing but their format.
Basis = Literal["source", "model", "collection", "name", "use", "format"]


class Inventory(Shown, frozen=True, dict=True, eq=False):
    """The tensors of one target, with exact totals (Python ints).

    Indexing, iteration and `len` are over tensors. Totals come from the columns; the
    records of single tensors are made when they are first asked for.

    Attributes:
        columns: the tensors, as keys and kinds.
        target: the name the user gave.
        source: the kind of target ("safetensors", "flax linen", ...).
        ties: groups of keys that share one storage.
        file_bytes: size of the files; None without files.
        files: number of files.
        role_by: how roles were found: by "name" or by "use".
        parameters_by: how it is known which tensors are parameters; see `Basis`.
        remarks: the source's own notes.
        rules: what decided that similar tensors are not tied.
        assumptions: each names the figure that it affects, and says what was assumed.
        card: the architecture, where it is known.
        metadata: text that the file carries about itself.
        is_packing_said: whether the source itself says what its packed tensors stand for.

    >>> import explorer as ex, numpy as np
    >>> inventory = ex.explore({"dense": {"kernel": np.ones((4, 3)), "bias": np.ones(3)}})
    >>> inventory["dense/kernel"].shape, inventory.select("**/bias").num_parameters
    ((4, 3), 3)
    """

    columns: Columns
    target: str = ""
    source: str = "pytree"
    ties: tuple[Tie, ...] = ()
    file_bytes: int | None = None
    files: int = 0
    role_by: str = "name"
    parameters_by: Basis = "source"
    remarks: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    assumptions: tuple[tuple[str, str], ...] = ()
    card: Card | None = None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    is_packing_said: bool = False

    def __eq__(self, other: object) -> bool:
        """Return whether all but the metadata is equal."""
        return isinstance(other, Inventory) and self._said() == other._said()

    def __hash__(self) -> int:
        return hash(self._said())

    def _said(self) -> tuple[object, ...]:
        return tuple(
            getattr(self, name) for name in self.__struct_fields__ if name != "metadata"
        )

    @cached_property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """Every tensor, in the source's order."""
        return self.columns.specs()

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[TensorSpec]:
        return iter(self.tensors)

    def __getitem__(self, name: str) -> TensorSpec:
        """Return the tensor of that path ("encoder/layer/0/bias" or dotted).

        Raises:
            KeyError: no tensor has it; an InputError too, that names the nearest.
        """
        keys = self.columns.keys
        is_key = isinstance(name, str) or _is_path(name)
        wanted = name_of(name) if is_key else name
        for index, key in enumerate(keys):
            if key == name or name_of(key) == wanted:
                return self.columns.spec(index)
        raise no_such_tensor(self.target or "the inventory", wanted, map(name_of, keys))

    @cached_property
    def kinds(self) -> tuple[tuple[Kind, int, int], ...]:
        """Every kind with its number of tensors: all of them, and unique ones."""
        return self.columns.counts()

    @cached_property
    def totals(self) -> Totals:
        """What all tensors add up to."""
        columns = self.columns
        known = (Totals.of(kind, named, unique) for kind, named, unique in self.kinds)
        sharded = (
            Totals(device_nbytes=sharding.device_nbytes - columns.kind(index).nbytes)
            for index, sharding in columns.shardings.items()
            if sharding.device_nbytes is not None and index not in columns.aliases
        )
        return sum_totals(known) + sum_totals(sharded)

    def total(
        self,
        quantity: Callable[[Kind], int],
        where: Callable[[Kind], bool] = lambda kind: True,
    ) -> int:
        """Sum a quantity over the unique tensors whose kind satisfies `where`."""
        return sum(unique * quantity(k) for k, _, unique in self.kinds if where(k))

    @property
    def is_declared(self) -> bool:
        """Whether an architecture declared it: there is no array behind it."""
        return self.source.endswith(" architecture")

    @property
    def num_tensors(self) -> int:
        """Named tensors: parameters, buffers and all other state, aliases too."""
        return len(self.columns)

    @cached_property
    def num_parameter_tensors(self) -> int:
        """Unique tensors that hold parameters."""
        return self.total(lambda kind: 1, lambda kind: kind.is_parameter)

    @property
    def num_parameters(self) -> int:
        """Unique trainable elements, at their logical count."""
        return self.totals.parameters

    @property
    def num_biases(self) -> int:
        """Parameters that are added to what flows through the network."""
        return self.totals.biases

    @property
    def num_weights(self) -> int:
        """Parameters that multiply it: all that are not biases."""
        return self.totals.weights

    @cached_property
    def num_buffers(self) -> int:
        """Elements of buffers: stored, read in the forward pass, not learned."""
        return self.total(
            lambda kind: kind.size, lambda kind: kind.collection in BUFFER_COLLECTIONS
        )

    @cached_property
    def num_stored_elements(self) -> int:
        """Elements of all stored arrays as a plain header count gives them."""
        return sum(named * kind.stored_size for kind, named, _ in self.kinds)

    @property
    def nbytes(self) -> int:
        """Bytes of all unique tensors, state included."""
        return self.totals.nbytes

    @cached_property
    def device_nbytes(self) -> int | None:
        """Bytes of all unique tensors on the fullest device; None where none is sharded."""
        held = self.columns.shardings.values()
        if all(sharding.device_nbytes is None for sharding in held):
            return None
        return self.totals.device_nbytes

    def select(
        self,
        glob: str = "**",
        *,
        role: str | None = None,
        component: str | None = None,
        dtype: str | None = None,
        collection: str | None = None,
        missing_ok: bool = False,
    ) -> "Inventory":
        """Return the inventory of the tensors that match all that is given.

        Nothing is left where a glob matches and the words of none of its tensors do: a model
        may have no bias. A glob that matches nothing, and a word that no model has, are slips.

        Args:
            glob: path glob such as "**/attention/**", "layers/[0-3]/*" or "*.bias".
            role: kernel, embedding, scale, bias, other, or "weight" for all but bias.
            component: embedding, attention, mlp, experts, router, norm, head or other.
            dtype: by its name ("bfloat16").
            collection: params, batch_stats, buffers, opt_state, ...
            missing_ok: whether a glob may match nothing.

        Raises:
            InputError: the glob matches no tensor, or a word is unknown; the message names
                the nearest.
        """
        check_glob(glob)
        check_words(self.columns.kinds, role, component, dtype, collection)

        def fits(kind: Kind) -> bool:
            return (
                (role in (None, kind.role) or (role == "weight" and kind.role != "bias"))
                and component in (None, kind.component)
                and dtype in (None, kind.dtype)
                and collection in (None, kind.collection)
            )

        columns = self.columns
        fitting = list(map(fits, columns.kinds))
        matching = (
            range(len(columns))
            if glob == "**"
            else [i for i, key in enumerate(columns.keys) if matches(key, glob)]
        )
        if glob != "**" and not matching and not missing_ok:
            raise nothing_matches(self.target, glob, map(name_of, columns.keys))
        numbers = columns.numbers
        return self.keep(columns.spec(i) for i in matching if fitting[numbers[i]])

    def keep(self, tensors: Iterable[TensorSpec]) -> "Inventory":
        """Return this inventory with only these of its tensors.

        An alias whose counted tensor is left out is counted itself.
        """
        kept = {tensor.key: tensor for tensor in tensors}
        ties = []
        for tie in self.ties:
            keys = tuple(key for key in tie.keys if key in kept)
            if keys and kept[keys[0]].alias:
                kept[keys[0]] = msgspec.structs.replace(kept[keys[0]], alias=False)
            if len(keys) > 1:
                ties.append(Tie(keys, tie.by, tie.shown))
        # the size of the files and the architecture belong to the complete model
        return msgspec.structs.replace(
            self,
            columns=Columns.of(kept.values()),
            ties=tuple(ties),
            file_bytes=None,
            card=None,
        )

    def __repr__(self) -> str:
        return (
            f"Inventory({self.target or self.source}: {self.num_tensors:,} tensor{'s' * (self.num_tensors != 1)}, "
            f"{self.num_parameters:,} parameter{'s' * (self.num_parameters != 1)}, "
            f"{self.num_weights:,} weight{'s' * (self.num_weights != 1)}, "
            f"{self.num_biases:,} bias{'es' * (self.num_biases != 1)})"
        )


def _is_path(name: object) -> bool:
    return isinstance(name, tuple) and all(isinstance(part, str) for part in name)
