"""What differs between two inventories: structure alone, never values."""

from collections import Counter
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from explorer.analyses.modules import ComparedModule, modules_of
from explorer.document.exporting import Exportable
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import PARAMS, TensorSpec
from explorer.paths import unboxed

__all__ = ["Comparison", "StructureChange", "compare"]

_Name = tuple[str, int]  # and which of the tensors of that name
Signature = tuple[tuple[int, ...], str]  # logical shape and dtype


class StructureChange(msgspec.Struct, frozen=True):
    """One difference: where it is in each inventory, and what it is there."""

    before: str
    after: str
    old: Signature | None = None
    new: Signature | None = None


class Comparison(Exportable, frozen=True, kw_only=True):
    """Every structural difference of two inventories, each tensor in one list only.

    A tensor of one path is `reshaped` (another shape, perhaps another format too) or
    `recast` (another format alone). One whose path is gone is `moved` when exactly one new
    path has the same end and has its shape and format.

    `modules` are the whole and its modules side by side, those that differ opened; none where
    nothing differs.

    >>> Comparison(added=(StructureChange("", "bias", new=((3,), "float32")),)).identical
    False
    """

    added: tuple[StructureChange, ...] = ()
    removed: tuple[StructureChange, ...] = ()
    reshaped: tuple[StructureChange, ...] = ()
    recast: tuple[StructureChange, ...] = ()
    moved: tuple[StructureChange, ...] = ()
    unchanged: int = 0
    modules: tuple[ComparedModule, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not any((self.added, self.removed, self.reshaped, self.recast, self.moved))


def compare(a: Inventory, b: Inventory) -> Comparison:
    """Return what differs from `a` to `b` by path, shape and dtype.

    The collection of Flax's variables is not part of a path where one of the two has it and
    the other has its parameters alone.
    """
    old, new = _by_name(a), _by_name(b)
    if _is_within(old) != _is_within(new):
        old, new = _without_collection(old), _without_collection(new)
    reshaped, recast = [], []
    unchanged = 0
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            continue
        change = StructureChange(
            before.name, after.name, _signature(before), _signature(after)
        )
        if before.shape != after.shape:
            reshaped.append(change)
        elif before.dtype != after.dtype:
            recast.append(change)
        else:
            unchanged += 1
    gone = [tensor for name, tensor in old.items() if name not in new]
    come = [tensor for name, tensor in new.items() if name not in old]
    moved = _moves(gone, come)
    removed, added = {m.before for m in moved}, {m.after for m in moved}
    found = Comparison(
        added=tuple(
            StructureChange("", t.name, None, _signature(t))
            for t in come
            if t.name not in added
        ),
        removed=tuple(
            StructureChange(t.name, "", _signature(t), None)
            for t in gone
            if t.name not in removed
        ),
        reshaped=tuple(reshaped),
        recast=tuple(recast),
        moved=tuple(moved),
        unchanged=unchanged,
    )
    return found if found.identical else replace(found, modules=modules_of(a, b))


def _by_name(inventory: Inventory) -> dict[_Name, TensorSpec]:
    """Return tensors by name; names that two keys share are distinguished by their order."""
    seen: Counter[str] = Counter()
    named = {}
    for tensor in inventory.tensors:
        name = "/".join(unboxed(tensor.path))
        named[name, seen[name]] = tensor
        seen[name] += 1
    return named


_COLLECTION = f"{PARAMS}/"


def _is_within(named: Mapping[_Name, TensorSpec]) -> bool:
    """Return whether parameters are in a collection of that name."""
    return any(name.startswith(_COLLECTION) for name, _ in named)


def _without_collection(named: dict[_Name, TensorSpec]) -> dict[_Name, TensorSpec]:
    short = {(name.removeprefix(_COLLECTION), n): t for (name, n), t in named.items()}
    return short if len(short) == len(named) else named  # else two would have one name


def _signature(tensor: TensorSpec) -> Signature:
    return tensor.shape, tensor.dtype


def _moves(gone: list[TensorSpec], come: list[TensorSpec]) -> list[StructureChange]:
    """Match tensors that left one path for another: the longest common ending decides.

    A match must be the only one of its ending on both sides, so that nothing is guessed.
    """
    if not gone or not come:
        return []
    left = {tensor.name: (tensor.name.split("/"), tensor) for tensor in gone}
    right = {tensor.name: (tensor.name.split("/"), tensor) for tensor in come}
    moves = []
    for length in range(
        min(_MAX_ENDING, max(len(path) for path, _ in left.values())), 0, -1
    ):
        sources, targets = _by_ending(left, length), _by_ending(right, length)
        for ending, names in sources.items():
            others = targets.get(ending, [])
            if len(names) == len(others) == 1:
                signature = _signature(left.pop(names[0])[1])
                del right[others[0]]
                moves.append(StructureChange(names[0], others[0], signature, signature))
    return moves


_MAX_ENDING = 20


def _by_ending(
    tensors: dict[str, tuple[list[str], TensorSpec]], length: int
) -> dict[tuple, list[str]]:
    """Return names by their last `length` parts, shape and dtype."""
    endings: dict[tuple, list[str]] = {}
    for name, (path, tensor) in tensors.items():
        if len(path) >= length:
            ending = (tuple(path[-length:]), *_signature(tensor))
            endings.setdefault(ending, []).append(name)
    return endings
