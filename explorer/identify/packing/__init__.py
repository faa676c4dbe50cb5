"""What packed tensors logically are: quantized checkpoints, read off their headers.

A quantized layer stores its weight in packed words or small numbers, and beside it
scales, zero points and the like. Here each stored tensor is identified by its name and
by shapes that agree exactly: the weight with the shape and format that it stands for,
everything else as quantization state. No value is read.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from explorer.identify.packing.announced import config_in, sentences
from explorer.identify.packing.evidence import claims_of
from explorer.identify.packing.layers import unpack, unpacked_name
from explorer.identify.packing.packed import Packed
from explorer.identify.packing.schemes import CACHE_SCALES, SCHEMES
from explorer.identify.packing.spellings import usual_name
from explorer.identify.packing.unread import complete, is_odd
from explorer.paths import Key, name_of, template_of

__all__ = ["Packed", "Quantization", "find", "suspects", "unpack", "unpacked_name"]

# of templates, which have every digit as 0
_PAIRS = [(template_of(s.scale), template_of(s.weight)) for s in SCHEMES]
_SCALES = tuple({scale for scale, _ in _PAIRS})
_CACHES = tuple(scale.encode() for scale in CACHE_SCALES)


class Quantization(NamedTuple):
    """What packed tensors are, by their index, and what of them is not understood."""

    packed: dict[int, Packed]
    unread: tuple[str, ...] = ()


def find(
    keys: Sequence[Key],
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[str],
    *,
    firsts: Sequence[int],
    config: object = None,
    metadata: Mapping[str, str] | None = None,
) -> Quantization:
    """Return what the tensors of quantized layers are, and sentences of what is unknown.

    Args:
        keys: names as the source spells them.
        shapes: stored shapes.
        dtypes: stored, by explorer's names.
        firsts: indices of the first tensor of each name pattern, shape and dtype.
        config: `quantization_config` of config.json, or MLX's `quantization`.
        metadata: the file's own, where some keep that config.

    >>> found = find(["up.trellis", "up.suh"], [(8, 16, 64), (99,)], ["int16", "float16"],
    ...              firsts=[0, 1])
    >>> found.unread
    ('up/trellis is packed in an unknown way and not counted',)
    """
    config = config or config_in(metadata or {})
    claims = claims_of(config)
    found: dict[int, Packed] = {}
    templates = [template_of(keys[index]) for index in firsts]
    formats = [dtypes[index] for index in firsts]
    unread: list[Key] = []
    suspected, odd = suspects(set(templates)), is_odd(templates, formats)
    names = ["/" + name_of(key) for key in keys] if suspected or odd else []
    if suspected:
        found = unpack(keys, shapes, dtypes, config=config, names=names)
    if odd:
        columns = [*zip(shapes, dtypes, strict=True)]
        unread = complete(found, keys, names, columns, claims)
    read = any(packed.collection == "params" for packed in found.values())
    if claims.method and not read:  # a cache may be all that is quantized
        read = any(t.replace(b".", b"/").endswith(_CACHES) for t in set(templates))
    if not unread and not claims.method:
        return Quantization(found)
    return Quantization(found, tuple(sentences(unread, claims.method, set(formats), read)))


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
    plain = {
        module + slash + usual_name(last.decode(errors="replace")).encode()
        if b"cale" in last
        else name
        for name in plain
        for module, slash, last in (name.rpartition(b"/"),)
    }
    return any(
        name.endswith(scale) and name[: -len(scale)] + weight in plain
        for name in plain
        if name.endswith(_SCALES)
        for scale, weight in _PAIRS
    )
