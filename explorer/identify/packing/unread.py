"""What the names of no scheme lead to: scales of any spelling, and what is not understood.

Small numbers beside a scale that fits them are weights, however the scale is called.
Integers that must be weights and fit nothing are quantization state, and a sentence says
that what they stand for is not counted.
"""

from collections.abc import Iterator, Sequence

from explorer.identify.packing.evidence import Claims, Stored
from explorer.identify.packing.one_layer import (
    LOW,
    WORDS,
    Part,
    may_be_packed,
    read_layer,
)
from explorer.identify.packing.packed import Packed
from explorer.identify.packing.spellings import is_state
from explorer.paths import Key, path_of, template_of

__all__ = ["complete", "is_odd"]


def is_odd(templates: Sequence[bytes], dtypes: Sequence[str]) -> bool:
    """Return whether a tensor may be a packed weight, by its name and dtype.

    Args:
        templates: of the names, by `explorer.paths.template_of`.
        dtypes: by explorer's names.

    >>> is_odd([b"up.kernel", b"step"], ["float32", "int32"])
    False
    >>> is_odd([b"up.kernel", b"up.scale"], ["int8", "float32"])
    True
    """
    odd = set(dtypes) & (LOW | WORDS)
    if not odd:
        return False
    pairs = {pair for pair in zip(templates, dtypes, strict=True) if pair[1] in odd}
    return any(
        may_be_packed(
            template.replace(b".", b"/").rpartition(b"/")[2].decode(errors="replace"), dtype
        )
        for template, dtype in pairs
    )


def complete(
    found: dict[int, Packed],
    keys: Sequence[Key],
    names: Sequence[str],
    columns: Sequence[tuple[tuple[int, ...], str]],
    claims: Claims,
) -> list[Key]:
    """Add what the names of no scheme lead to; return the keys that are not understood.

    Args:
        found: what is known by index, added to.
        keys: names as the source spells them.
        names: the same, joined by "/" and beginning with it.
        columns: stored shapes and dtypes.
        claims: what config.json says of bits.
    """
    if len(found) == len(names):
        return []
    unread: list[Key] = []
    weights = {
        names[i].rpartition("/")[0] for i, p in found.items() if p.collection == "params"
    }
    known: dict[tuple, list[Packed | None]] = {}  # equal layers are read once
    for module, inside in _modules(names, found):
        cut = len(module) + 1
        hints = claims.layers.get(module, claims.every)
        has_weight = module in weights
        tensors = [(names[i][cut:], columns[i]) for i in inside]
        row = (template_of(module), hints, has_weight, *tensors)
        verdicts = known.get(row)
        if verdicts is None:
            parts = [_part(name, column) for name, column in tensors]
            read = read_layer(module, parts, hints, has_weight)
            verdicts = known[row] = [
                verdict
                and Packed(
                    verdict.shape,
                    verdict.dtype,
                    verdict.collection,
                    verdict.rule,
                    _path(keys[index], verdict.name),
                    verdict.is_unread,
                )
                for index, verdict in zip(inside, read, strict=True)
            ]
        for index, packed in zip(inside, verdicts, strict=True):
            if packed and index not in found:
                found[index] = packed
                if packed.is_unread:
                    unread.append(keys[index])
    return unread


def _modules(
    names: Sequence[str], found: dict[int, Packed]
) -> Iterator[tuple[str, list[int]]]:
    """Yield each module and where its tensors are that no scheme claims.

    What is inside a module for its quantization comes with it: `centroids/weight`,
    `meta/scale`, `weight/absmax` beside `weight`.
    """
    modules: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if index not in found:
            modules.setdefault(name.rpartition("/")[0], []).append(index)
    inner: dict[str, list[int]] = {}
    tensors = {names[index] for inside in modules.values() for index in inside}
    for module, inside in modules.items():
        holder, _, last = module.rpartition("/")
        if is_state(last) or last == "_packed_params" or module in tensors:
            inner.setdefault(holder, []).extend(inside)
    for module, inside in modules.items():
        if module in inner:
            yield module, inside + inner[module]
    for module, inside in modules.items():
        if module not in inner:
            yield module, inside


def _part(name: str, column: tuple[tuple[int, ...], str]) -> Part:
    inner, _, last = name.rpartition("/")
    return Part(inner, last, Stored(*column))


def _path(key: Key, name: str) -> tuple[str, ...]:
    path = path_of(key)
    if not name:
        return path
    return (*(part for part in path[:-1] if part != "_packed_params"), name)
