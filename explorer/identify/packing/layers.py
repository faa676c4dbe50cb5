"""The layers that schemes name: their weights, scales and other state."""

import math
from collections.abc import Container, Iterator, Sequence

import msgspec

from explorer.identify.packing.evidence import Claim, Reading, Stored, claims_of
from explorer.identify.packing.packed import Packed
from explorer.identify.packing.schemes import CACHE_SCALES, SCHEMES, Scheme
from explorer.identify.packing.spellings import usual_name
from explorer.paths import Key, name_of, path_of, template_of

__all__ = ["layers_in", "reading_of", "schemes_in", "spelt", "unpack", "unpacked_name"]

_CACHE_LASTS = frozenset(ending[1:] for ending in CACHE_SCALES)
_SMALL = 1024  # elements that any bit of state may have: tables, quant_state's JSON
_WEIGHTS = sorted({scheme.weight for scheme in SCHEMES}, key=len, reverse=True)


def unpack(
    keys: Sequence[Key],
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[str],
    *,
    config: object = None,
    names: Sequence[str] | None = None,
) -> dict[int, Packed]:
    """Return what the tensors of quantized layers logically are, by their index.

    Tensors that belong to no known scheme, or whose shapes do not agree, are left out.

    Args:
        keys: names as the source spells them.
        shapes: stored shapes.
        dtypes: stored, by explorer's names.
        config: `quantization_config` of config.json, or MLX's `quantization`. A hint:
            where it disagrees with the shapes they win, and the rule says so.
        names: the keys joined by "/" and beginning with it, if they are there already.

    >>> found = unpack(["up.weight", "up.weight_scale_inv"], [(256, 384), (2, 3)],
    ...                ["float8_e4m3fn", "float32"])
    >>> found[0].rule, found[1].collection
    ('FP8 with 128x128 block scales', 'quantization')
    """
    names, lasts = spelt(names or ["/" + name_of(key) for key in keys])
    index = dict(zip(names, range(len(names)), strict=True))
    # one more, None, stands for a tensor that a layer does not have
    columns = [*zip(shapes, dtypes, strict=True), None]
    claims = claims_of(config)
    found: dict[int, Packed] = {}
    for scheme in schemes_in(lasts):
        known: dict[tuple, list[Packed | None]] = {}  # equal layers are read once
        for stem, parts in layers_in(scheme, names, index, found):
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
    _leave_copies(found, names, columns)
    return found


def spelt(names: Sequence[str]) -> tuple[Sequence[str], set[str]]:
    """Return names with the usual spelling of their last parts, and those parts."""
    lasts = {name.rpartition("/")[2] for name in names}
    unusual = {last for last in lasts if usual_name(last) != last}
    if unusual:
        names = [_usual(name, unusual) for name in names]
        lasts = set(map(usual_name, lasts))
    return names, lasts


def _usual(name: str, unusual: set[str]) -> str:
    module, slash, last = name.rpartition("/")
    return f"{module}{slash}{usual_name(last)}" if last in unusual else name


def _leave_copies(found: dict[int, Packed], names: Sequence[str], columns: list) -> None:
    """Mark AQT's frozen arrays as state where `params` still holds what they copy.

    `aqt/Dense_0/AqtDotGeneral_0/qrhs/value` is a copy of `params/Dense_0/kernel`.
    """
    known: dict[Packed, Packed] = {}
    frozen = [i for i, p in found.items() if p.collection == "params" and _is_aqt(names[i])]
    held = [i for i, name in enumerate(names) if "/params/" in name] if frozen else []
    for index in frozen:
        packed = found[index]
        modules = names[index].partition("/Aqt")[0].partition("/aqt")[2]
        size = math.prod(packed.shape)
        if any(
            f"/params{modules}/" in names[i] and math.prod(columns[i][0]) == size
            for i in held
        ):
            rule = "frozen copies of weights"
            copy = msgspec.structs.replace(packed, collection="quantization", rule=rule)
            found[index] = known.setdefault(packed, copy)


def _is_aqt(name: str) -> bool:
    return "/aqt/" in name and "/Aqt" in name


def _add_cache_scales(
    found: dict[int, Packed], keys: Sequence[Key], names: Sequence[str], columns: list
) -> None:
    known: dict[tuple, Packed] = {}
    for i, name in enumerate(names):
        if name.endswith(CACHE_SCALES) and i not in found:
            shape, dtype = columns[i]
            if _is_small(shape):
                rule, path = "key and value cache scales", path_of(keys[i])
                packed = Packed(shape, dtype, "quantization", rule, path)
                found[i] = known.setdefault((template_of(name), shape, dtype), packed)


def schemes_in(lasts: set[str]) -> Iterator[Scheme]:
    """Yield the schemes whose scale is among these last names, cut down to their state."""

    def occurs(ending: str) -> bool:
        last = ending.rpartition("/")[2]
        return last in lasts or (
            not ending.startswith("/") and any(name.endswith(ending) for name in lasts)
        )

    for scheme in SCHEMES:
        if occurs(scheme.scale) and (not scheme.weight or occurs(scheme.weight)):
            yield scheme._replace(
                state=tuple(filter(occurs, scheme.state)),
                tables=tuple(filter(occurs, scheme.tables)),
            )


def layers_in(
    scheme: Scheme, names: Sequence[str], index: dict[str, int], found: Container[int]
) -> Iterator[tuple[str, list[int]]]:
    """Yield each layer's stem and where its weight, scale and other state are."""
    scale, cut, absent = scheme.scale, -len(scheme.scale), len(names)
    for i, name in enumerate(names):
        if name.endswith(scale) and i not in found:
            stem = name[:cut]
            weight = index.get(stem + scheme.weight)
            if weight is not None and weight not in found:
                endings = (*scheme.state, *scheme.tables)
                state = [index.get(stem + ending, absent) for ending in endings]
                yield stem, [weight, i, *state]


def _read(
    scheme: Scheme, columns: tuple, hints: tuple[Claim, ...], paths: list[tuple[str, ...]]
) -> list[Packed | None]:
    """Return what a layer's weight, scale and other state are; nothing if nothing fits."""
    weight, *parts = [column and Stored(*column) for column in columns]
    endings = (scheme.scale, *scheme.state, *scheme.tables)
    state = {end: part for end, part in zip(endings, parts, strict=True) if part}
    found = reading_of(scheme, weight, parts[0], state, hints)
    if found is None:
        return []
    _, (shape, dtype, rule, name) = found
    most = max(math.prod(parts[0].shape), sum(shape))
    verdicts: list[Packed | None] = [
        Packed(shape, dtype, "params", rule, _logical_path(paths[0], scheme.weight))
    ]
    for ending, part, path in zip(endings, parts, paths[1:], strict=True):
        sized = part and (ending in scheme.tables or _is_small(part.shape, most))
        verdicts.append(
            Packed(part.shape, part.dtype, "quantization", name, path)
            if part and sized and ending != "/bias"
            else None
        )
    return verdicts


def reading_of(
    scheme: Scheme,
    weight: Stored,
    scale: Stored,
    state: dict[str, Stored],
    hints: tuple[Claim, ...],
) -> tuple[str, Reading] | None:
    """Return the first of a scheme's readings that fits, and its name: "gptq"; None of none."""
    for reader in scheme.readers:
        reading = reader(weight, scale, state, hints)
        if reading is not None:
            return reader.__name__.removeprefix("read_"), reading
    return None


def _is_small(shape: tuple[int, ...], most: int = 0) -> bool:
    # state is at most as large as the scales or the axes of the weight; a tensor that is
    # larger is something else that happens to have the name
    return math.prod(shape) <= max(most, _SMALL)


def unpacked_name(key: str) -> str:
    """Return the name that a packed weight would have unpacked.

    >>> unpacked_name("up.qweight"), unpacked_name("up.weight._data._data")
    ('up.weight', 'up.weight')
    >>> unpacked_name("experts.up_proj_blocks")
    'experts.up_proj'
    """
    ending = next((e for e in _WEIGHTS if e and ("/" + name_of(key)).endswith(e)), "")
    separator = "/" if "/" in key else "."
    return separator.join(_logical_path(path_of(key), ending))


def _logical_path(path: tuple[str, ...], ending: str) -> tuple[str, ...]:
    """Return the path that the weight would have unpacked."""
    if ending in ("", "/weight"):
        return path
    if not ending.startswith("/"):
        name = path[-1].removesuffix(ending)
        return (*path[:-1], name.removeprefix("_") if ending == "_qdata" else name)
    holder = path[: -ending.count("/")]
    if holder[-1:] == ("array",):  # qwix's kernel/array/qvalue
        holder = holder[:-1]
    if holder and holder[-1].endswith(("weight", "kernel", "embedding")):
        return holder  # up.weight.qweight
    return (*holder, "weight")
