"""Tensors of a side that are made of several stored ones: packed weights, halves of one matrix."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from explorer.identify.packing import unpacked_name
from explorer.paths import Key, name_of
from explorer.targets.packed import PackedWeight
from explorer.targets.sides import Side
from explorer.targets.stored import Made, StoredArray

if TYPE_CHECKING:
    import numpy as np

    from explorer.values.bounds import Bounds

__all__ = ["JoinedHalves", "MadeOfPacked", "compose", "decode"]

_AT_A_TIME = 1 << 22  # elements


class MadeOfPacked(NamedTuple):
    """A packed weight."""

    weight: PackedWeight

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys of the words, scales and all else that it is decoded from."""
        return tuple(self.weight.parts.values())

    def array(self, arrays: "Mapping[Key, np.ndarray]") -> "np.ndarray":
        """Return the decoded weight."""
        return self.weight.values(arrays).pieces().whole()

    def bounds(self, side: Side) -> "Bounds | None":
        """Return between which numbers each element lay."""
        from math import prod

        from explorer.values.bounds import bounds_of_coded

        values = self.weight.values(side.stored(self.keys))
        rows = values.shape[0]
        step = max(1, _AT_A_TIME // max(1, prod(values.shape[1:])))
        coded = (
            values.coded(slice(at, min(at + step, rows))) for at in range(0, rows, step)
        )
        if not prod(values.shape):
            return None
        return bounds_of_coded(self.weight.layer.scheme, coded, values.shape)


class JoinedHalves(NamedTuple):
    """Latent attention's keys and values, which GGUF files split."""

    key_half: Key
    value_half: Key

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys of both halves."""
        return self

    def array(self, arrays: "Mapping[Key, np.ndarray]") -> "np.ndarray":
        """Return both halves as one matrix."""
        from explorer.pretrained.gguf.halves import rejoined

        halves = {name_of(key): arrays[key] for key in self}
        (joined,) = rejoined(
            {
                f"attn_{part}_b.weight": half
                for part, half in zip("kv", halves.values(), strict=True)
            }
        ).values()
        return joined

    def bounds(self, side: Side) -> "Bounds | None":
        """Return those of the halves, joined."""
        from explorer.values.bounds import Bounds, bounds_of_levels
        from explorer.values.gguf_levels import levels_of_blocks

        blocks, arrays = side.blocks(self), side.stored(self)
        found: list[Bounds] = []
        for key in self:
            levels = levels_of_blocks(blocks[key]) if key in blocks else None
            if levels is None:
                return None
            found.append(
                levels
                if isinstance(levels, Bounds)
                else bounds_of_levels(levels, arrays[key])
            )
        low, high = (
            self.array(
                {key: getattr(each, name) for key, each in zip(self, found, strict=True)}
            )
            for name in ("low", "high")
        )
        return Bounds(found[0].name, low, high)


def compose(a: Side, b: Side) -> None:
    """Let both sides have whole what they hold in parts.

    A weight that both have packed in one way is compared decoded, with its scales beside it;
    halves that both have stay halves.
    """
    _join_halves(a, b)
    _join_halves(b, a)
    both = a.packed().keys() & b.packed().keys()
    twins = {key for key in both if a.tensors[key][1:3] == b.tensors[key][1:3]}
    for side in (a, b):
        if number := decode(side, twins):
            side.notes.append(f"{side.place}: {_weights(number)} compared dequantised")
        if left := side.undecoded():
            side.notes.append(
                f"{side.place}: {_weights(left)} of a layout that is not decoded, and "
                "compared as stored"
            )


def _join_halves(side: Side, other: Side) -> None:
    names = {name_of(key): key for key in side.tensors}
    there = set(map(name_of, other.tensors))
    for name, key in names.items():
        prefix = name.removesuffix("attn_k_b/weight")
        value_half = names.get(f"{prefix}attn_v_b/weight")
        if prefix == name or value_half is None or name in there:
            continue
        keys, values = side.tensors[key].shape, side.tensors[value_half].shape
        if len(keys) == len(values) == 3 and (keys[0], keys[1]) == (values[0], values[2]):
            joined = key.replace("attn_k_b", "attn_kv_b") if isinstance(key, str) else name
            shape = (keys[0] * (keys[2] + values[1]), keys[1])
            made = StoredArray(joined, side.tensors[key].dtype, shape)
            side.make({key: made}, {joined: JoinedHalves(key, value_half)}, {value_half})


def decode(
    side: Side, twins: frozenset[Key] | set[Key] = frozenset(), leave: str = ""
) -> int:
    """Replace packed weights by what they stand for, under the names of plain ones.

    Args:
        side: which is changed.
        twins: keys of those that keep their names and what is beside them.
        leave: the layout whose weights stay as they are.

    Returns:
        How many there are.
    """
    names = set(map(name_of, side.tensors))
    arrays: dict[Key, StoredArray] = {}
    made: dict[Key, Made] = {}
    gone: set[Key] = set()
    for key, weight in side.packed().items():
        name = unpacked_name(key) if isinstance(key, str) else name_of(key)
        new = key if key in twins or name_of(name) == name_of(key) else name
        if weight.layer.kind == leave or (new != key and name_of(new) in names):
            continue  # the weight is there too
        arrays[key] = StoredArray(new, weight.layer.dtype, weight.shape)
        made[new] = MadeOfPacked(weight)
        if key not in twins:
            gone.update(weight.parts.values())
    if made:
        side.make(arrays, made, gone)
    return len(made)


def _weights(number: int) -> str:
    return f"{number:,} packed weight{'s are' if number > 1 else ' is'}"
