"""Which tensors a packed weight is decoded with: its scales, zero points, tables."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from explorer.identify.packing.announced import config_in
from explorer.identify.packing.evidence import Stored, claims_of
from explorer.identify.packing.layers import layers_in, reading_of, schemes_in, spelt
from explorer.paths import Key, name_of, template_of

__all__ = ["PackedLayer", "config_in", "packed_layers"]


class PackedLayer(NamedTuple):
    """A packed weight and the tensors beside it, by their indices.

    Attributes:
        weight: of the packed weight.
        kind: the reading that fits: "gptq", "bitsandbytes", "scaled".
        shape, dtype: what the weight logically is.
        parts: of all tensors of the layer by the ends of their names: "qweight", "scales".
        names: the ends of the names of the weight and of its scale.
        rule: the scheme, and how it is known.
        is_assumed: whether shapes leave several numbers of bits, of which it is the likeliest.
    """

    weight: int
    kind: str
    shape: tuple[int, ...]
    dtype: str
    parts: dict[str, int]
    names: tuple[str, str]
    rule: str = ""
    is_assumed: bool = False

    @property
    def scheme(self) -> str:
        """The scheme in a few words: "GPTQ 4-bit", "FP8", "bitsandbytes NF4"."""
        return re.split(", | with | in groups", self.rule)[0]


def packed_layers(
    keys: Sequence[Key],
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[str],
    config: object = None,
) -> list[PackedLayer]:
    """Return the layers of known schemes; arguments are those of `unpack`.

    >>> found = packed_layers(["up.weight", "up.weight_scale_inv"], [(256, 384), (2, 3)],
    ...                       ["float8_e4m3fn", "float32"])
    >>> found[0].kind, found[0].parts
    ('scaled', {'weight': 0, 'weight_scale_inv': 1})
    """
    names, lasts = spelt(["/" + name_of(key) for key in keys])
    index = dict(zip(names, range(len(names)), strict=True))
    columns = [Stored(*pair) for pair in zip(shapes, dtypes, strict=True)]
    claims = claims_of(config)
    found: dict[int, PackedLayer | None] = {}
    for scheme in schemes_in(lasts):
        endings = (scheme.scale, *scheme.state, *scheme.tables)
        known: dict[tuple, tuple | None] = {}
        for stem, (weight, *beside) in layers_in(scheme, names, index, found):
            hints = claims.layers.get(stem, claims.every)
            there = {
                end: at for end, at in zip(endings, beside, strict=True) if at < len(keys)
            }
            stored = {end: columns[at] for end, at in there.items()}
            form = (template_of(stem), hints, columns[weight], *stored.items())
            if form not in known:
                scale = stored[scheme.scale]
                known[form] = reading_of(scheme, columns[weight], scale, stored, hints)
            if (read := known[form]) is None:
                continue
            kind, reading = read
            parts = {scheme.weight: weight, **there}
            found.update(dict.fromkeys(there.values()))
            found[weight] = PackedLayer(
                weight,
                kind,
                reading.shape,
                reading.dtype,
                {_bare(ending): at for ending, at in parts.items()},
                (_bare(scheme.weight), _bare(scheme.scale)),
                reading.rule,
                "bits assumed" in reading.rule,
            )
    return [layer for layer in found.values() if layer is not None]


def _bare(ending: str) -> str:
    return ending.lstrip("/_")
