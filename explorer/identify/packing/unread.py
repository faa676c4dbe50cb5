"""What the names of no scheme lead to: scales of any spelling, and what is not understood.

Small numbers beside a scale that fits them are weights, however the scale is called.
Integers that must be weights and fit nothing are quantization state, and a sentence says
that what they stand for is not counted.
"""

import re
from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

from explorer.dtypes import find
from explorer.identify.packing.evidence import Claim, Claims, Reading, Stored
from explorer.identify.packing.floats import read_microscaled, read_scaled
from explorer.identify.packing.nibbles import read_bytes
from explorer.identify.packing.packed import Packed
from explorer.identify.packing.spellings import (
    is_index,
    is_packed_name,
    is_scale,
    is_scale_of_layer,
    is_state,
    is_weight,
)
from explorer.paths import Key, path_of, template_of

__all__ = ["TORCH", "complete", "is_odd"]

UNREAD = "packed weights of an unknown layout"
_BESIDE = "scales and state of packed weights"
_SMALL_STATE = 1024  # elements
_LEAST = 64  # elements: a smaller array of integers is no weight
TORCH = frozenset(("qint8", "quint8", "qint32", "quint4x2", "quint2x4"))
_WORDS = frozenset(("int32", "uint32", "int64", "uint64"))
_OPTIMIZER = re.compile(r"/(opt|optim|opt_state|optimizer\w*)/", re.IGNORECASE)
_SMALL = """int1 int2 int3 int4 int5 int6 int7 int8 int16 int32 uint1 uint2 uint3 uint4 uint5
uint6 uint8 uint16 uint32 float4_e2m1fn float6_e2m3fn float6_e3m2fn float8_e3m4 float8_e4m3
float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz"""
_LOW = frozenset(_SMALL.split()) | TORCH
_MARKS = frozenset(("scaled_fp8", "comfy_quant"))  # ComfyUI's, of a file and of a layer


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
    odd = set(dtypes) & (_LOW | _WORDS)
    if not odd:
        return False
    pairs = {pair for pair in zip(templates, dtypes, strict=True) if pair[1] in odd}
    return any(
        _may_be_packed(
            template.replace(b".", b"/").rpartition(b"/")[2].decode(errors="replace"), dtype
        )
        for template, dtype in pairs
    )


def _may_be_packed(name: str, dtype: str) -> bool:
    if is_packed_name(name):
        return True
    return dtype in _LOW and (name == "indices" or not is_index(name))


class _Tensor(NamedTuple):
    at: int
    module: str
    name: str
    stored: Stored

    @property
    def size(self) -> int:
        return prod(self.stored.shape)

    @property
    def kind(self) -> str:
        return find(self.stored.dtype).kind


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
    verdicts = _Verdicts(keys, found)
    unread: list[_Tensor] = []
    packed = {
        names[i].rpartition("/")[0] for i, p in found.items() if p.collection == "params"
    }
    for layer in _layers(names, columns, found, packed):
        if layer[0].module in packed:
            _read_rest(layer, verdicts)
        _read_pairs(layer, verdicts)
        _read_torch(layer, verdicts)
        hints = claims.layers.get(layer[0].module, claims.every)
        _read_scales(layer, hints, verdicts)
        unread += _leave(layer, verdicts)
    return [keys[tensor.at] for tensor in unread]


class _Verdicts:
    """What tensors are, equal ones sharing one record."""

    def __init__(self, keys: Sequence[Key], found: dict[int, Packed]):
        self._keys, self._found = keys, found
        self._known: dict[tuple, Packed] = {}

    def unclaimed(self, layer: list[_Tensor]) -> list[_Tensor]:
        return [tensor for tensor in layer if tensor.at not in self._found]

    def add(
        self,
        tensor: _Tensor,
        collection: str,
        rule: str,
        name: str = "",
        reading: Reading | None = None,
    ) -> None:
        key, (shape, dtype) = self._keys[tensor.at], tensor.stored
        row = (template_of(key), shape, dtype, collection, rule)
        shape, dtype = reading[:2] if reading else (shape, dtype)
        if row not in self._known:
            path = path_of(key)
            if name:
                path = (*(part for part in path[:-1] if part != "_packed_params"), name)
            self._known[row] = Packed(shape, dtype, collection, rule, path)
        self._found[tensor.at] = self._known[row]


def _layers(
    names: Sequence[str],
    columns: Sequence[tuple[tuple[int, ...], str]],
    found: dict[int, Packed],
    packed: set[str],
) -> Iterator[list[_Tensor]]:
    """Yield what is not known of each module that has a packed weight, or may have one."""
    modules: dict[str, list[_Tensor]] = {}
    for index, name in enumerate(names):
        if index not in found:
            module, _, last = name.rpartition("/")
            stored = Stored(*columns[index])
            modules.setdefault(module, []).append(_Tensor(index, module, last, stored))
    inner: dict[str, list[_Tensor]] = {}  # centroids/weight, meta/scale, quantizer/scale
    for module, layer in modules.items():
        holder, _, last = module.rpartition("/")
        if is_state(last) or last == "_packed_params":
            inner.setdefault(holder, []).extend(layer)
    for module, layer in modules.items():
        if _OPTIMIZER.search(f"{module}/"):  # states of 8 bits are states
            continue
        if module in packed or any(
            tensor.name == "zero_point" or _may_be_packed(tensor.name, tensor.stored.dtype)
            for tensor in layer
        ):
            yield [*layer, *inner.get(module, ())]


def _read_rest(layer: list[_Tensor], verdicts: _Verdicts) -> None:
    """Mark scales of inputs and outputs beside a weight that is known."""
    for tensor in layer:
        if is_scale_of_layer(tensor.name) and tensor.size <= _SMALL_STATE:
            verdicts.add(tensor, "quantization", _BESIDE)


def _read_pairs(layer: list[_Tensor], verdicts: _Verdicts) -> None:
    """Mark what is state by its name alone: scales beside their zero points, marks."""
    zeros = {t.stored.shape for t in layer if t.name == "zero_point" and t.kind != "float"}
    for tensor in verdicts.unclaimed(layer):
        paired = tensor.name in ("scale", "zero_point") and tensor.stored.shape in zeros
        if paired or (tensor.name in _MARKS and len(tensor.stored.shape) == 1):
            verdicts.add(tensor, "quantization", _BESIDE)


def _read_torch(layer: list[_Tensor], verdicts: _Verdicts) -> None:
    """Mark PyTorch's quantized tensors, which hold their scales, and what is beside them.

    Layers keep weight and bias as a pair: `_packed_params._packed_params.0` and `.1`.
    """
    if not any(tensor.stored.dtype in TORCH for tensor in layer):
        return
    for tensor in layer:
        dtype, pair = tensor.stored.dtype, tensor.module.endswith("/_packed_params")
        rule = "PyTorch quantized layers"
        if dtype in TORCH or (pair and tensor.kind == "float"):
            is_bias = tensor.name == "1" if pair else tensor.name == "bias"
            verdicts.add(tensor, "params", rule, "bias" if is_bias else "weight")


def _read_scales(
    layer: list[_Tensor], hints: tuple[Claim, ...], verdicts: _Verdicts
) -> None:
    """Mark weights beside scales that fit them, and zero points beside scales."""
    tensors = verdicts.unclaimed(layer)
    scales = [t for t in tensors if is_scale(t.name) and t.kind in ("float", "uint")]
    done = False
    for tensor in tensors:
        if tensor in scales or not is_weight(tensor.name) or len(tensor.stored.shape) < 2:
            continue
        readings = (
            reader(tensor.stored, scale.stored, {}, hints)
            for scale in scales
            for reader in (read_microscaled, read_scaled, read_bytes)
        )
        reading = next((reading for reading in readings if reading), None)
        if reading:
            verdicts.add(tensor, "params", reading.rule, reading=reading)
            done = True
    for tensor in verdicts.unclaimed(tensors) if done else ():
        if is_state(tensor.name):
            verdicts.add(tensor, "quantization", _BESIDE)


def _leave(layer: list[_Tensor], verdicts: _Verdicts) -> list[_Tensor]:
    """Mark packed weights of an unknown layout and their state; return the weights."""
    tensors = verdicts.unclaimed(layer)
    scales = any(is_state(t.name) and t.kind == "float" for t in tensors)
    books = any(_is_book(tensor) for tensor in tensors)
    unread = [t for t in tensors if _is_unread(t, scales) or (books and _is_code(t))]
    for tensor in unread:
        verdicts.add(tensor, "quantization", UNREAD)
    for tensor in verdicts.unclaimed(tensors) if unread else ():
        if is_state(tensor.name) or is_state(tensor.module.rpartition("/")[2]):
            verdicts.add(tensor, "quantization", _BESIDE)
    return unread


def _is_book(tensor: _Tensor) -> bool:
    owner = tensor.module.rpartition("/")[2]
    return (
        tensor.kind == "float"
        and {tensor.name, owner} & {"codebooks", "centroids"} != set()
    )


def _is_code(tensor: _Tensor) -> bool:
    return tensor.name in ("codes", "indices") and tensor.stored.dtype in _LOW


def _is_unread(tensor: _Tensor, scales: bool) -> bool:
    """Return whether integers must be weights: by their name, or by scales beside them."""
    (shape, dtype), name = tensor.stored, tensor.name
    if tensor.kind not in ("int", "uint") or tensor.size < _LEAST or is_scale(name):
        return False
    if is_packed_name(name):
        return True
    if is_index(name) or dtype not in _LOW or not shape:
        return False
    narrow = dtype not in _WORDS
    return (narrow and is_weight(name)) or (scales and len(shape) > 1)
