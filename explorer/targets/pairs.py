"""Which tensors of two sides are the same tensor: by name, by the model's name maps, by ending."""

from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from typing import (
    Any,
    NamedTuple,
)

from explorer.dtypes import is_trainable
from explorer.errors import (
    InputError,
    TreeError,
    check_type,
    first_few,
    first_line,
    shown,
)
from explorer.inventory.tensor import PARAMS
from explorer.paths import Key, name_of, path_of, unboxed
from explorer.targets.leaves import LeafPart, ModelLeaf, leaves_of
from explorer.targets.sides import Side
from explorer.targets.stacks import stacked_layers

__all__ = ["Match", "Matching", "Renamed", "matched"]

# what the user says of names: those of b by those of a, or a function from one to the other
Renamed = Mapping[str, str] | Callable[[str], str | None]

_LONGEST_ENDING = 20


class Match(NamedTuple):
    """One tensor of both sides: its name, and where each side holds it.

    `axes` is the order of the parts' axes in the array that the name is of; None keeps it.
    """

    name: str
    a: LeafPart
    b: LeafPart
    axes: tuple[int, ...] | None = None


class Matching(NamedTuple):
    """What belongs together, what only one side has, and what was taken for granted."""

    matches: list[Match]
    missing: list[Key]
    added: list[Key]
    notes: list[str]


def matched(a: Side, b: Side, renamed: Renamed | None = None) -> Matching:
    """Return the tensors that two sides share, and those that only one has.

    Raises:
        InputError: `renamed` names a tensor that is not there.
    """
    pairs = dict(_by_user(a, b, renamed)) if renamed is not None else {}
    found = Matching([_whole(a, b, *pair) for pair in pairs.items()], [], [], [])
    rest = _Rest([*a.tensors], [*b.tensors]).without(found.matches)
    scaled = [*_by_scales(a, b, rest)]
    rest = rest.without(scaled)
    named = [_whole(a, b, *pair) for pair in _by_name(a, b, rest).items()]
    rest = rest.without(named)
    found.matches.extend((*scaled, *named))
    for step in (_by_architecture, _by_stacks, _by_ending):
        if rest.a and rest.b:
            matches, note = step(a, b, rest)
            found.matches.extend(matches)
            rest = rest.without(matches)
            if matches:
                found.notes.append(note)
                if step is _by_architecture:
                    rest = rest.without_buffers(a, b, found.notes)
    found.missing.extend(key for key in rest.a if not a.tensors[key].is_second)
    found.added.extend(key for key in rest.b if not b.tensors[key].is_second)
    return found


class _Rest(NamedTuple):
    """The keys of either side that are not matched yet."""

    a: list[Key]
    b: list[Key]

    def without(self, matches: Iterable[Match]) -> "_Rest":
        """Return what is left after some matches."""
        ours = {key for each in matches for key in each.a.keys}
        theirs = {key for each in matches for key in each.b.keys}
        return _Rest(
            [key for key in self.a if key not in ours],
            [key for key in self.b if key not in theirs],
        )

    def without_buffers(self, a: Side, b: Side, notes: list[str]) -> "_Rest":
        """Return the rest without the buffers that a model makes again; a note names them."""
        buffers = [
            {key for key in keys if side.tensors[key].is_buffer}
            for side, keys in ((a, self.a), (b, self.b))
        ]
        for side, keys in zip((a, b), buffers, strict=True):
            if keys:
                named = first_few(sorted(map(name_of, keys)))
                notes.append(
                    f"left out of {side.place}, which the other makes again: {named}"
                )
        return _Rest(
            [key for key in self.a if key not in buffers[0]],
            [key for key in self.b if key not in buffers[1]],
        )


def _whole(a: Side, b: Side, left: Key, right: Key) -> Match:
    return Match(
        _shown(left),
        LeafPart(left, a.tensors[left].shape),
        LeafPart(right, b.tensors[right].shape),
    )


def _called(renamed: Callable[[str], Any], name: str) -> Any:
    """Return what a function of the user's makes of a name."""
    try:
        found = renamed(name)
    except Exception as error:  # its code may raise anything
        cause = f"of {name!r} raises {first_line(error)}"
        raise TreeError("match", found=cause, expected="a name, or None") from error
    if found is not None and not isinstance(found, str | tuple):
        raise TreeError(
            "match", found=f"of {name!r} is {shown(found, 40)}", expected="a name"
        )
    return found


def _by_user(a: Side, b: Side, renamed: Renamed) -> Iterator[tuple[Key, Key]]:
    """Yield the pairs of whole names, and of names below a renamed one, that the user gave."""
    left, right = _named(a), _named(b)
    if callable(renamed):
        for name, key in left.items():
            other = _called(renamed, name)
            if other is not None and name_of(other) in right:
                yield key, right[name_of(other)]
        return
    if not isinstance(renamed, Mapping):
        raise TreeError(
            "match",
            found=f"is {type(renamed).__name__}",
            expected="names of the second target by those of the first, or a function",
        )
    for old, new in renamed.items():
        for each in (old, new):
            check_type("match", each, (str, tuple), "names by names")
        old, new = name_of(old), name_of(new)
        below = {
            name: new + name[len(old) :] for name in left if name.startswith(f"{old}/")
        }
        pairs = below or {old: new}
        for name, other in pairs.items():
            for place, names, each in ((a, left, name), (b, right, other)):
                if each not in names:
                    raise InputError(
                        place.place,
                        found=f"has no tensor {each}",
                        expected="one that `match` names",
                    )
            yield left[name], right[other]


def _named(side: Side) -> dict[str, Key]:
    return {_shown(key): key for key in side.tensors}


def _by_scales(a: Side, b: Side, rest: _Rest) -> Iterator[Match]:
    """Yield integers times their scale that are the floats of the other side."""
    for name, key, scale, other in _scaled(a, b):
        if key in rest.a and other in rest.b:
            match = _whole(a, b, key, other)
            yield match._replace(name=name, a=match.a._replace(scale=scale))
    for name, key, scale, other in _scaled(b, a):
        if key in rest.b and other in rest.a:
            match = _whole(a, b, other, key)
            yield match._replace(name=name, b=match.b._replace(scale=scale))


def _scaled(packed: Side, floats: Side) -> Iterator[tuple[str, Key, Key, Key]]:
    """Yield the name of each weight, the keys of its integers and scale, and of its floats."""
    names = _named(floats)
    for key, weight in packed.scaled.items():
        other = names.get(weight.name)
        if other is None or other in floats.scaled:
            continue
        stored = floats.tensors[other]
        if stored.shape == packed.tensors[key].shape and is_trainable(stored.dtype):
            yield weight.name, key, weight.scale, other


def _by_name(a: Side, b: Side, rest: "_Rest") -> dict[Key, Key]:
    """Return pairs of one name; Flax's collection is left out where one side lacks it."""
    left, right = ({_shown(key): key for key in keys} for keys in rest)
    if _in_collections(left) != _in_collections(right):
        left, right = (
            {name.removeprefix(f"{PARAMS}/"): key for name, key in side.items()}
            for side in (left, right)
        )
    return {
        key: right[name]
        for name, key in left.items()
        if name in right
        and not (a.tensors[key].is_second and b.tensors[right[name]].is_second)
    }


def _in_collections(names: Iterable[str]) -> bool:
    return any(name.startswith(f"{PARAMS}/") for name in names)


def _by_architecture(a: Side, b: Side, rest: _Rest) -> tuple[list[Match], str]:
    """Return matches of the parameters of one model under the names of two formats."""
    known = a.architecture() or b.architecture()
    if known is None:
        return [], ""
    left, right = set(rest.a), set(rest.b)
    ours = {k: part for k, part in leaves_of(a, known).items() if part.key in left}
    theirs = {k: part for k, part in leaves_of(b, known).items() if part.key in right}
    found = [_in_layout(leaf, part, other) for leaf, part, other in _shared(ours, theirs)]
    return found, f"matched by the names of {known.class_name}"


def _shared(
    ours: dict[ModelLeaf, LeafPart], theirs: dict[ModelLeaf, LeafPart]
) -> Iterator[tuple[ModelLeaf, LeafPart, LeafPart]]:
    """Yield the leaves that both have; a stack of experts is split where the other is."""
    for leaf, part in ours.items():
        if leaf in theirs:
            yield leaf, part, theirs[leaf]
        elif leaf.expert is not None and (other := theirs.get(ModelLeaf(leaf.path))):
            yield leaf, part, _of_expert(other, leaf.expert)
    for leaf, part in theirs.items():
        if leaf.expert is not None and (other := ours.get(ModelLeaf(leaf.path))):
            yield leaf, _of_expert(other, leaf.expert), part


def _of_expert(part: LeafPart, expert: int) -> LeafPart:
    return part._replace(shape=part.shape[1:], expert=expert)


def _in_layout(leaf: ModelLeaf, ours: LeafPart, theirs: LeafPart) -> Match:
    """Return the match in the layout of a side that stores the leaf whole, the first if it does."""
    for part in (ours, theirs):
        if part.axes is not None:
            return Match(_shown(part.key), ours, theirs, part.axes)
    name = "/".join(leaf.path)
    return Match(name if leaf.expert is None else f"{name}/{leaf.expert}", ours, theirs)


def _by_stacks(a: Side, b: Side, rest: _Rest) -> tuple[list[Match], str]:
    """Return matches of stacked layers of one side with single layers of the other."""
    ours = {key: a.tensors[key].shape for key in rest.a}
    theirs = {key: b.tensors[key].shape for key in rest.b}
    found = []
    for key, layers in stacked_layers(ours, theirs).items():
        found += [
            Match(
                _shown(other),
                LeafPart(key, ours[key][1:], row=row),
                LeafPart(other, theirs[other]),
            )
            for row, other in enumerate(layers)
        ]
    taken = {each.b.key for each in found}
    theirs = {key: shape for key, shape in theirs.items() if key not in taken}
    for key, layers in stacked_layers(theirs, ours).items():
        found += [
            Match(
                _shown(other),
                LeafPart(other, ours[other]),
                LeafPart(key, theirs[key][1:], row=row),
            )
            for row, other in enumerate(layers)
        ]
    first = found[0].name if found else ""
    return found, f"stacked layers matched with single ones by ends of names, as {first}"


def _shown(key: Key) -> str:
    return "/".join(unboxed(path_of(key)))


def _by_ending(a: Side, b: Side, rest: _Rest) -> tuple[list[Match], str]:
    """Return matches of one shape and the longest common ending that only they have."""
    pairs: dict[Key, Key] = {}
    left = {key: (unboxed(path_of(key)), a.tensors[key].shape) for key in rest.a}
    right = {key: (unboxed(path_of(key)), b.tensors[key].shape) for key in rest.b}
    longest = max(len(path) for path, _ in left.values())
    for length in range(min(_LONGEST_ENDING, longest), 0, -1):
        ours, theirs = _endings(left, length), _endings(right, length)
        for ending, keys in ours.items():
            others = theirs.get(ending, [])
            if len(keys) == len(others) == 1:
                pairs[keys[0]] = others[0]
                del left[keys[0]], right[others[0]]
    found = [_whole(a, b, *pair) for pair in pairs.items()]
    as_in = " and ".join(map(name_of, next(iter(pairs.items()), ())))
    return found, f"{len(found):,} matched by shapes and the ends of names, as {as_in}"


def _endings(
    rest: dict[Key, tuple[tuple[str, ...], tuple[int, ...]]], length: int
) -> dict[tuple, list[Key]]:
    found: dict[tuple, list[Key]] = {}
    for key, (path, shape) in rest.items():
        if len(path) >= length:
            found.setdefault((path[-length:], shape), []).append(key)
    return found
