"""Two targets -> what changed between their values; a target -> the hashes of its tensors."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from explorer.paths import Key, name_of, path_of, unboxed
from explorer.targets.leaves import LeafPart
from explorer.targets.made import compose
from explorer.targets.pairs import Match, Renamed, matched
from explorer.targets.records import Checkpoint, Target, Tree
from explorer.targets.sides import Side, side_of
from explorer.targets.valueless import no_values
from explorer.targets.values import Progress

if TYPE_CHECKING:
    import numpy as np

    from explorer.values.bounds import Bounds
    from explorer.values.diff import ArrayPair
    from explorer.values.differences import Difference, TensorDifference
    from explorer.values.digest import Algorithm, Digests
    from explorer.values.verdicts import Levels

__all__ = ["difference_of_targets", "digests_of_target"]

_SHAPES = "`explorer compare` compares the shapes of two targets"
_AT_A_TIME = 1 << 28  # bytes of float32, which block formats become
_EVEN = ("low", "step", "high", "reach")  # of levels: arrays


def difference_of_targets(
    a: Target,
    b: Target,
    names: tuple[str, str],
    renamed: Renamed | None,
    rtol: float,
    atol: float,
    progress: Progress | None = None,
) -> "Difference":
    """Return what changed from one target to another.

    Raises:
        InputError: a side cannot be read, has no values, or changed while it was read.
    """
    from explorer.values.diff import difference_of, in_order
    from explorer.values.differences import Difference

    for target in (a, b):
        if not isinstance(target, Checkpoint | Tree):
            raise no_values(target, _SHAPES)
    left, right = side_of(a), side_of(b)
    compose(left, right)
    matching = matched(left, right, renamed)
    tensors = [_alone(left, key, "missing") for key in matching.missing]
    tensors += [_alone(right, key, "added") for key in matching.added]
    tensors += [
        _with_words(left, right, difference_of(pair, rtol, atol), match)
        for match, pair in _loaded(left, right, matching.matches, progress)
    ]
    for side in (left, right):
        side.check_unchanged()
    return Difference(
        a=names[0],
        b=names[1],
        tensors=in_order(tensors),
        rtol=rtol,
        atol=atol,
        notes=(*left.notes, *right.notes, *matching.notes),
    )


def _alone(side: Side, key: Key, verdict: str) -> "TensorDifference":
    from explorer.values.differences import TensorDifference

    stored, name = side.tensors[key], "/".join(unboxed(path_of(key)))
    own = {"in_a": name_of(key), "dtype_a": stored.dtype, "shape_a": stored.shape}
    if verdict == "added":
        own = {field.replace("_a", "_b"): value for field, value in own.items()}
    return TensorDifference(name=name, verdict=verdict, **own)  # pyright: ignore[reportArgumentType]


def _with_words(
    a: Side, b: Side, found: "TensorDifference", match: Match
) -> "TensorDifference":
    """Return a difference of packed weights: the same numbers may be of other words."""
    ours, theirs = a.made.get(match.a.key), b.made.get(match.b.key)
    if found.verdict != "identical" or ours is None or theirs is None:
        return found
    if ours.keys != theirs.keys:
        return found
    import numpy as np
    from msgspec.structs import replace

    left, right = a.stored(ours.keys), b.stored(theirs.keys)
    same = all(
        np.array_equal(
            left[key].reshape(-1).view(np.uint8), right[key].reshape(-1).view(np.uint8)
        )
        for key in ours.keys
    )
    return (
        found
        if same
        else replace(found, verdict="different", detail="other codes, same numbers")
    )


def _loaded(
    a: Side, b: Side, matches: list[Match], progress: Progress | None
) -> "Iterator[tuple[Match, ArrayPair]]":
    from math import prod

    total = sum(prod(each.a.shape) for each in matches)
    done = 0
    for batch in _batches(a, b, matches):
        ours = a.arrays({key for each in batch for key in each.a.keys})
        theirs = b.arrays({key for each in batch for key in each.b.keys})
        for each in batch:
            if progress is not None:
                progress(done, total)
            yield each, _array_pair(a, b, each, ours, theirs)
            done += prod(each.a.shape)


def _batches(a: Side, b: Side, matches: list[Match]) -> Iterator[list[Match]]:
    """Yield matches, so many at a time as fit in memory; those of one tensor together."""
    by_key: dict[Key, list[Match]] = {}
    for each in matches:
        by_key.setdefault(each.a.key, []).append(each)
    batch: list[Match] = []
    size = 0
    for key, group in by_key.items():
        batch += group
        others = {each.b.key: b.tensors[each.b.key].shape for each in group}
        size += sum(map(_bytes, (a.tensors[key].shape, *others.values())))
        if size >= _AT_A_TIME:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _bytes(shape: tuple[int, ...]) -> int:
    from math import prod

    return 4 * prod(shape)


_Arrays = dict[Key, "np.ndarray"]


def _array_pair(
    a: Side, b: Side, match: Match, ours: _Arrays, theirs: _Arrays
) -> "ArrayPair":
    from explorer.values.blocks import released
    from explorer.values.diff import ArrayPair

    left, right = _part_of(match.a, ours), _part_of(match.b, theirs)
    if match.a.is_raised != match.b.is_raised:
        left, right = _raised(left, match.a), _raised(right, match.b)
    if match.axes is not None:
        left, right = left.transpose(match.axes), right.transpose(match.axes)
    return ArrayPair(
        name=match.name,
        in_a=name_of(match.a.key),
        in_b=name_of(match.b.key),
        dtype_a=a.tensors[match.a.key].dtype,
        dtype_b=b.tensors[match.b.key].dtype,
        a=left,
        b=right,
        levels_a=_levels_of(a, match.a, match.axes, ours),
        levels_b=_levels_of(b, match.b, match.axes, theirs),
        done=released(a.is_own, b.is_own),
    )


def _part_of(part: LeafPart, arrays: _Arrays) -> "np.ndarray":
    found = part.of(arrays[part.key])
    if part.scale is None:
        return found
    import numpy as np

    return found.astype(np.float32) * arrays[part.scale].astype(np.float32)


def _raised(array: "np.ndarray", part: LeafPart) -> "np.ndarray":
    """Return a gain as it is applied: the parameter plus 1."""
    import numpy as np

    return array if part.is_raised else array.astype(np.float32) + np.float32(1)


def _levels_of(
    side: Side, part: LeafPart, axes: tuple[int, ...] | None, arrays: _Arrays
) -> "Callable[[], Levels | Bounds | None]":
    """Return what returns the levels of a quantised tensor in the layout of a match."""

    scale = None if part.scale is None else arrays[part.scale]

    @lru_cache(1)
    def levels() -> "Levels | Bounds | None":
        if scale is not None:
            from explorer.values.verdicts import levels_of_scale

            return levels_of_scale(scale, part.shape)
        from explorer.values.bounds import Bounds
        from explorer.values.gguf_levels import levels_of_blocks

        if part.key in side.made:
            found = side.made[part.key].bounds(side)
        else:
            stored = side.blocks([part.key]).get(part.key)
            found = None if stored is None else levels_of_blocks(stored)
        if found is None:
            return None
        names = ("low", "high") if isinstance(found, Bounds) else _EVEN
        group = 1 if isinstance(found, Bounds) else found.group
        fields = {name: part.of(getattr(found, name), group) for name in names}
        if axes is not None:
            fields = {name: each.transpose(axes) for name, each in fields.items()}
        if isinstance(found, Bounds):
            return found._replace(**fields)
        axis = part.group_axis
        return found._replace(**fields, axis=axis if axes is None else axes.index(axis))

    return levels


def digests_of_target(
    target: Target,
    name: str,
    select: str | None,
    algorithm: "Algorithm",
    progress: Progress | None = None,
) -> "Digests":
    """Return the hash of every tensor of a target, sorted by name.

    Raises:
        InputError: it cannot be read, has no values, changed while it was read, or has nothing
            that matches.
    """
    from explorer.values.digest import Digests, TensorDigest, check_algorithm, digest_of

    check_algorithm(algorithm)
    side = side_of(target)
    side.select(select)
    found = []
    for batch in _key_batches(side):
        blocks = side.blocks(batch)
        arrays = side.arrays([key for key in batch if key not in blocks])
        for key in batch:
            stored = side.tensors[key]
            array = blocks[key].raw if key in blocks else arrays.pop(key)
            named = "/".join(unboxed(path_of(key)))
            hashed = digest_of(array, stored.dtype, stored.shape, algorithm, side.is_own)
            if progress is not None:
                progress(len(found), len(side.tensors))
            found.append(TensorDigest(hashed, stored.dtype, stored.shape, named))
    side.check_unchanged()
    return Digests(
        target=name,
        tensors=tuple(sorted(found, key=lambda each: (each.name, each.hash))),
        algorithm=algorithm,
        notes=tuple(side.notes),
    )


def _key_batches(side: Side) -> Iterator[list[Key]]:
    batch: list[Key] = []
    size = 0
    for key, stored in side.tensors.items():
        batch.append(key)
        size += _bytes(stored.shape)
        if size >= _AT_A_TIME:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
