"""What packed tensors logically are: quantized checkpoints, read off their headers.

A quantized layer stores its weight in packed words or small numbers, and beside it
scales, zero points and the like. Here each stored tensor is identified by its name and
by shapes that agree exactly: the weight with the shape and format that it stands for,
everything else as quantization state. No value is read.
"""

import math
from collections.abc import Iterator, Sequence

import msgspec

from explorer.identify.packing.evidence import Claim, Stored, claims_of
from explorer.identify.packing.schemes import CACHE_SCALES, SCHEMES, Scheme
from explorer.paths import Key, name_of, path_of, template_of

__all__ = ["Packed", "suspects", "unpack"]

_SCALES = tuple({scheme.scale.encode() for scheme in SCHEMES})
_PAIRS = [(scheme.scale.encode(), scheme.weight.encode()) for scheme in SCHEMES]
_CACHE_LASTS = frozenset(ending[1:] for ending in CACHE_SCALES)
_SMALL = 1024  # elements that any bit of state may have: tables, quant_state's JSON


class Packed(msgspec.Struct, frozen=True, gc=False):
    """What a stored tensor logically is.

    Attributes:
        shape: logical shape; of quantization state, the stored one.
        dtype: logical number format, by explorer's name.
        collection: "params" for the weight, "quantization" for its state.
        rule: the scheme and how it is known; for state, what the tensors are.
        path: the path that roles are read from ("down_proj.qweight" is a "weight"); of
            the first tensor of those that differ in digits alone, which share a verdict.
    """

    shape: tuple[int, ...]
    dtype: str
    collection: str
    rule: str
    path: tuple[str, ...]


def suspects(templates: set[bytes]) -> bool:
    """Return whether these names hold a weight and a scale that belong together by name.

    Args:
        templates: of the names, by `explorer.paths.template_of`.

    >>> suspects({b"h.0.up.weight", b"h.0.up.weight_scale_inv"})
    True
    >>> suspects({b"ln.scale", b"up.kernel"})
    False
    """
    plain = {b"/" + template.replace(b".", b"/") for template in templates}
    return any(
        name.endswith(scale) and name[: -len(scale)] + weight in plain
        for name in plain
        if name.endswith(_SCALES)
        for scale, weight in _PAIRS
    )


def unpack(
    keys: Sequence[Key],
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[str],
    *,
    config: object = None,
) -> dict[int, Packed]:
    """Return what the tensors of quantized layers logically are, by their index.

    Tensors that belong to no known scheme, or whose shapes do not agree, are left out.

    Args:
        keys: names as the source spells them.
        shapes: stored shapes.
        dtypes: stored number formats, by explorer's names.
        config: `quantization_config` of config.json, or MLX's `quantization`. A hint:
            where it disagrees with the shapes they win, and the rule says so.

    >>> found = unpack(["up.weight", "up.weight_scale_inv"], [(256, 384), (2, 3)],
    ...                ["float8_e4m3fn", "float32"])
    >>> found[0].rule, found[1].collection
    ('FP8 with 128x128 block scales', 'quantization')
    """
    names = ["/" + name_of(key) for key in keys]
    index = dict(zip(names, range(len(names)), strict=True))
    # one more, None, stands for a tensor that a layer does not have
    columns = [*zip(shapes, dtypes, strict=True), None]
    lasts = {name.rpartition("/")[2] for name in names}
    claims = claims_of(config)
    found: dict[int, Packed] = {}
    for scheme in _present(lasts):
        known: dict[tuple, list[Packed | None]] = {}  # equal layers are read once
        for stem, parts in _layers(scheme, names, index, found):
            hints = claims.layers.get(stem, claims.every)
            layer = (template_of(stem), hints, *[columns[i] for i in parts])
            verdicts = known.get(layer)
            if verdicts is None:
                paths = [path_of(keys[i]) if i < len(keys) else () for i in parts]
                verdicts = known[layer] = _read(scheme, layer[2:], hints, paths)
            for i, packed in zip(parts, verdicts, strict=False):
                if packed is not None:
                    found.setdefault(i, packed)
    if found and not lasts.isdisjoint(_CACHE_LASTS):
        _add_cache_scales(found, keys, names, columns)
    return found


def _add_cache_scales(
    found: dict[int, Packed], keys: Sequence[Key], names: list[str], columns: list
) -> None:
    known: dict[tuple, Packed] = {}
    for i, name in enumerate(names):
        if name.endswith(CACHE_SCALES) and i not in found:
            shape, dtype = columns[i]
            if _is_small(shape):
                rule, path = "key and value cache scales", path_of(keys[i])
                packed = Packed(shape, dtype, "quantization", rule, path)
                found[i] = known.setdefault((template_of(name), shape, dtype), packed)


def _present(lasts: set[str]) -> Iterator[Scheme]:
    """Yield the schemes whose scale is among these last names, cut down to their state."""

    def occurs(ending: str) -> bool:
        last = ending.rpartition("/")[2]
        return last in lasts or (
            not ending.startswith("/") and any(name.endswith(ending) for name in lasts)
        )

    for scheme in SCHEMES:
        if occurs(scheme.scale) and (not scheme.weight or occurs(scheme.weight)):
            yield scheme._replace(state=tuple(filter(occurs, scheme.state)))


def _layers(
    scheme: Scheme, names: list[str], index: dict[str, int], found: dict[int, Packed]
) -> Iterator[tuple[str, list[int]]]:
    """Yield each layer's stem and where its weight, scale and other state are."""
    scale, cut, absent = scheme.scale, -len(scheme.scale), len(names)
    for i, name in enumerate(names):
        if name.endswith(scale) and i not in found:
            stem = name[:cut]
            weight = index.get(stem + scheme.weight)
            if weight is not None and weight not in found:
                state = [index.get(stem + ending, absent) for ending in scheme.state]
                yield stem, [weight, i, *state]


def _read(
    scheme: Scheme, columns: tuple, hints: tuple[Claim, ...], paths: list[tuple[str, ...]]
) -> list[Packed | None]:
    """Return what a layer's weight, scale and other state are; nothing if nothing fits."""
    weight, scale = Stored(*columns[0]), Stored(*columns[1])
    rest = [column and Stored(*column) for column in columns[2:]]
    state = {end: part for end, part in zip(scheme.state, rest, strict=True) if part}
    for reader in scheme.readers:
        reading = reader(weight, scale, state, hints)
        if reading is not None:
            shape, dtype, rule, name = reading
            most = max(math.prod(scale.shape), sum(shape))
            path = _logical_path(paths[0], scheme.weight)
            return [
                Packed(shape, dtype, "params", rule, path),
                *[
                    Packed(part.shape, part.dtype, "quantization", name, path)
                    if part and _is_small(part.shape, most)
                    else None
                    for part, path in zip((scale, *rest), paths[1:], strict=True)
                ],
            ]
    return []


def _is_small(shape: tuple[int, ...], most: int = 0) -> bool:
    # state is at most as large as the scales or the axes of the weight; a tensor that is
    # larger is something else that happens to have the name
    return math.prod(shape) <= max(most, _SMALL)


def _logical_path(path: tuple[str, ...], ending: str) -> tuple[str, ...]:
    """Return the path that the weight would have unpacked."""
    if ending in ("", "/weight"):
        return path
    if not ending.startswith("/"):
        return (*path[:-1], path[-1].removesuffix(ending))
    if path[:-1] and path[-2].endswith(("weight", "kernel")):  # up.weight.qweight
        return path[:-1]
    return (*path[:-1], "weight")
