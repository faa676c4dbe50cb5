"""What is in a model: its tensors and their exact totals."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import msgspec

from explorer.inventory.card import Card
from explorer.inventory.tensor import BUFFER_COLLECTIONS, Kind, TensorSpec, Tie
from explorer.paths import matches, name_of

__all__ = ["Inventory", "set_renderer"]


@dataclass(frozen=True)
class Inventory:
    """The tensors of one target, with exact totals (Python ints).

    `target` is the name the user gave, `source` the kind of thing it is ("safetensors",
    "flax linen", ...). `role_by` says how roles were found. `remarks` are the source's own
    notes; `rules` decided that tensors alike are not one; an assumption names the figure
    that it touches; `card` says what architecture it is, where that is known. Indexing, iteration and `len` are over tensors.
    """

    tensors: tuple[TensorSpec, ...]
    target: str = ""
    source: str = "pytree"
    ties: tuple[Tie, ...] = ()
    file_bytes: int | None = None
    files: int = 0
    role_by: str = "name"
    remarks: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    assumptions: tuple[tuple[str, str], ...] = ()
    card: Card | None = None
    metadata: dict[str, str] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.tensors)

    def __iter__(self) -> Iterator[TensorSpec]:
        return iter(self.tensors)

    def __getitem__(self, name: str) -> TensorSpec:
        """Return the tensor of that path ("encoder/layer/0/bias" or dotted)."""
        wanted = name_of(name)
        for tensor in self.tensors:
            if tensor.key == name or tensor.name == wanted:
                return tensor
        raise KeyError(name)

    @cached_property
    def kinds(self) -> tuple[tuple[Kind, int, int], ...]:
        """Every kind with how many tensors are of it: all of them, and unique ones."""
        kinds = [tensor.kind for tensor in self.tensors]
        numbers = list(map(id, kinds))  # a Kind's own hash would walk its fields each time
        named = Counter(numbers)
        second_names = (t for t in self.tensors if t.alias) if self.ties else ()
        aliases = Counter(id(tensor.kind) for tensor in second_names)
        return tuple(
            (kind, named[number], named[number] - aliases[number])
            for number, kind in dict(zip(numbers, kinds, strict=True)).items()
        )

    def total(
        self,
        quantity: Callable[[Kind], int],
        where: Callable[[Kind], bool] = lambda kind: True,
    ) -> int:
        """Sum a quantity over the unique tensors whose kind satisfies `where`."""
        return sum(unique * quantity(k) for k, _, unique in self.kinds if where(k))

    @property
    def is_declared(self) -> bool:
        """Whether it was declared by an architecture: there is no array behind it."""
        return self.source.endswith(" architecture")

    @property
    def num_tensors(self) -> int:
        """Named tensors: parameters, buffers and all other state, aliases too."""
        return len(self.tensors)

    @cached_property
    def num_parameter_tensors(self) -> int:
        """Unique tensors that hold parameters."""
        return self.total(lambda kind: 1, lambda kind: kind.is_parameter)

    @cached_property
    def num_parameters(self) -> int:
        """Unique trainable elements, at their logical count."""
        return self.total(lambda kind: kind.size, lambda kind: kind.is_parameter)

    @cached_property
    def num_biases(self) -> int:
        """Parameters that are added to what flows through the network."""
        return self.total(
            lambda kind: kind.size, lambda kind: kind.is_parameter and kind.role == "bias"
        )

    @property
    def num_weights(self) -> int:
        """Parameters that multiply it: every one that is no bias."""
        return self.num_parameters - self.num_biases

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

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all unique tensors, state included."""
        return self.total(lambda kind: kind.nbytes)

    @cached_property
    def device_nbytes(self) -> int | None:
        """Bytes of all unique tensors on the fullest device; None where none is sharded."""
        if all(tensor.device_nbytes is None for tensor in self.tensors):
            return None
        return sum(tensor.on_device for tensor in self.tensors if not tensor.alias)

    def select(
        self,
        glob: str = "**",
        *,
        role: str | None = None,
        component: str | None = None,
        dtype: str | None = None,
        collection: str | None = None,
    ) -> "Inventory":
        """Return the inventory of the tensors that match all that is given.

        Args:
            glob: path glob such as "**/attention/**", "layers/[0-3]/*" or "*.bias".
            role: kernel, embedding, scale, bias, other, or "weight" for all but bias.
            component: embedding, attention, mlp, experts, router, norm, head or other.
            dtype: a number format ("bfloat16").
            collection: params, batch_stats, buffers, opt_state, ...
        """

        def fits(kind: Kind) -> bool:
            return (
                (role in (None, kind.role) or (role == "weight" and kind.role != "bias"))
                and component in (None, kind.component)
                and dtype in (None, kind.dtype)
                and collection in (None, kind.collection)
            )

        return self.keep(
            t
            for t in self.tensors
            if fits(t.kind) and (glob == "**" or matches(t.key, glob))
        )

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
        # what is said of the whole model is true of no part
        return replace(
            self,
            tensors=tuple(kept.values()),
            ties=tuple(ties),
            file_bytes=None,
            card=None,
        )

    def __str__(self) -> str:
        return _renderers["text"](self) if "text" in _renderers else repr(self)

    def __repr__(self) -> str:
        return (
            f"Inventory({self.target or self.source}: {self.num_tensors:,} tensors, "
            f"{self.num_parameters:,} parameters, {self.num_weights:,} weights, "
            f"{self.num_biases:,} biases)"
        )

    def _repr_html_(self) -> str | None:
        return _renderers["html"](self) if "html" in _renderers else None


_renderers: dict[str, Callable[[Inventory], str]] = {}


def set_renderer(form: Literal["text", "html"], render: Callable[[Inventory], str]) -> None:
    """Say how inventories show themselves; the front door does so, from above."""
    _renderers[form] = render
