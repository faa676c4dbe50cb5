"""One module whose tensors no scheme names: weights by scales that fit, or not understood."""

import re
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from explorer.dtypes import find
from explorer.identify.packing.evidence import Claim, Reading, Stored
from explorer.identify.packing.floats import read_microscaled, read_scaled
from explorer.identify.packing.nibbles import read_bytes
from explorer.identify.packing.spellings import (
    is_index,
    is_packed_name,
    is_scale,
    is_scale_of_layer,
    is_state,
    is_weight,
)

__all__ = ["LOW", "TORCH", "WORDS", "Part", "Verdict", "may_be_packed", "read_layer"]

_UNREAD = "packed weights of an unknown layout"
_BESIDE = "scales and state of packed weights"
_FROM_TORCH = "PyTorch quantized layers"
_LEAST = 64  # elements: a smaller array of integers is not a weight
_MOST = 1024  # elements of a scale of inputs or outputs
TORCH = frozenset(("qint8", "quint8", "qint32", "quint4x2", "quint2x4"))
WORDS = frozenset(("int32", "uint32", "int64", "uint64"))
_SMALL = """int1 int2 int3 int4 int5 int6 int7 int8 int16 int32 uint1 uint2 uint3 uint4 uint5
uint6 uint8 uint16 uint32 float4_e2m1fn float6_e2m3fn float6_e3m2fn float8_e3m4 float8_e4m3
float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz"""
LOW = frozenset(_SMALL.split()) | TORCH
_MARKS = frozenset(("scaled_fp8", "comfy_quant"))  # ComfyUI's, of a file and of a layer
_BOOKS = frozenset(("codebooks", "centroids"))
# states of 8 bits are states: bitsandbytes' state1, torchao's exp_avg/codes
_OPTIMIZER = re.compile(r"/(opt|optim|opt_state|optimizer\w*|exp_avg\w*)/", re.IGNORECASE)
_STATES = re.compile(r"(state|qmap)[12]")
# so any array may be called, not only a weight
_GENERAL = frozenset(("data", "value", "values", "table", "array", "zeros", "scales"))


class Part(NamedTuple):
    """A tensor of a module, or of a module inside it: `centroids`, `_packed_params`."""

    inner: str
    name: str
    stored: Stored

    @property
    def size(self) -> int:
        """How many elements are stored."""
        return prod(self.stored.shape)

    @property
    def kind(self) -> str:
        """The kind of its dtype: "float", "int", "uint", "bool" ..."""
        return find(self.stored.dtype).kind


class Verdict(NamedTuple):
    """What a part is: its collection, why, its shape and dtype unpacked, its usual name."""

    collection: str
    rule: str
    shape: tuple[int, ...]
    dtype: str
    name: str = ""

    @property
    def is_unread(self) -> bool:
        """Whether it is a packed weight that is not understood."""
        return self.rule == _UNREAD


def may_be_packed(name: str, dtype: str) -> bool:
    """Return whether a tensor may be a packed weight, by its last name and dtype.

    >>> may_be_packed("trellis", "int16"), may_be_packed("step", "int32")
    (True, False)
    """
    if is_packed_name(name):
        return dtype in LOW or dtype in WORDS
    return dtype in LOW and (name == "indices" or not is_index(name))


def read_layer(
    module: str, parts: Sequence[Part], hints: tuple[Claim, ...], has_weight: bool
) -> list[Verdict | None]:
    """Return what each tensor of a module is; None is what its name and dtype say.

    Args:
        module: the module's names, joined by "/".
        parts: its tensors that no scheme claims.
        hints: what config.json says of its bits.
        has_weight: whether a scheme claims a weight of this module.

    >>> parts = [Part("", "w", Stored((64, 32), "int8")), Part("", "s_scale", Stored((), "float32"))]
    >>> [verdict and verdict.collection for verdict in read_layer("/up", parts, (), False)]
    ['params', 'quantization']
    """
    layer = _Layer(parts)
    odd = any(
        p.name == "zero_point" or may_be_packed(p.name, p.stored.dtype) for p in parts
    )
    if (odd or has_weight) and not _OPTIMIZER.search(f"{module}/"):
        if has_weight:
            layer.read_rest()
        layer.read_pairs()
        layer.read_torch(module)
        layer.read_scales(hints)
        layer.read_misfits()
        layer.leave()
    return layer.verdicts


class _Layer:
    def __init__(self, parts: Sequence[Part]):
        self.parts = parts
        self.verdicts: list[Verdict | None] = [None] * len(parts)

    def _unclaimed(self) -> list[tuple[int, Part]]:
        return [(i, part) for i, part in enumerate(self.parts) if not self.verdicts[i]]

    def _add_state(self, index: int, rule: str = _BESIDE) -> None:
        self.verdicts[index] = Verdict("quantization", rule, *self.parts[index].stored)

    def read_rest(self) -> None:
        """Mark scales of inputs and outputs beside a weight that is known."""
        for index, part in self._unclaimed():
            if is_scale_of_layer(part.name) and part.size <= _MOST:
                self._add_state(index)

    def read_pairs(self) -> None:
        """Mark what is state by its name alone: scales beside their zero points, marks."""
        zeros = {
            part.stored.shape
            for part in self.parts
            if part.name == "zero_point" and part.kind != "float"
        }
        for index, part in self._unclaimed():
            paired = part.name in ("scale", "zero_point") and part.stored.shape in zeros
            if paired or (part.name in _MARKS and len(part.stored.shape) == 1):
                self._add_state(index)

    def read_torch(self, module: str) -> None:
        """Mark PyTorch's quantized tensors, which hold their scales, and their biases.

        Layers keep both as a pair in `_packed_params`, by the numbers 0 and 1 or by name.
        """
        if not any(part.stored.dtype in TORCH for part in self.parts):
            return
        for index, part in self._unclaimed():
            pair = f"{module}/{part.inner}".rstrip("/").endswith("/_packed_params")
            if part.stored.dtype in TORCH or (pair and part.kind == "float"):
                name = "bias" if part.name in ("1", "bias") else "weight"
                self.verdicts[index] = Verdict("params", _FROM_TORCH, *part.stored, name)

    def read_scales(self, hints: tuple[Claim, ...]) -> None:
        """Mark weights beside scales that fit them, then what else is state there."""
        open_ = self._unclaimed()
        scales = [p for _, p in open_ if is_scale(p.name) and p.kind in ("float", "uint")]
        done = False
        for index, part in open_ if scales else ():
            if part in scales or not is_weight(part.name) or len(part.stored.shape) < 2:
                continue
            readings = (
                reader(part.stored, scale.stored, {}, hints)
                for reader in (read_microscaled, read_bytes, read_scaled)
                for scale in scales
            )
            reading: Reading | None = next(filter(None, readings), None)
            if reading:
                verdict = Verdict("params", reading.rule, reading.shape, reading.dtype)
                self.verdicts[index] = verdict
                done = True
        for index, part in self._unclaimed() if done else ():
            if is_state(part.name):
                self._add_state(index)

    def read_misfits(self) -> None:
        """Mark scales in another order than the small floats that they scale."""
        open_ = self._unclaimed()
        if any(
            p.kind == "float" and p.stored.dtype in LOW and is_weight(p.name)
            for _, p in open_
        ):
            for index, part in open_:
                if is_scale_of_layer(part.name) or part.name in ("scale", "scales"):
                    self._add_state(index)

    def leave(self) -> None:
        """Mark packed weights of an unknown layout, and their state."""
        open_ = self._unclaimed()
        scales = any(is_state(part.name) and part.kind == "float" for _, part in open_)
        books = any(
            part.kind == "float" and (part.name in _BOOKS or part.inner in _BOOKS)
            for _, part in open_
        )
        unread = [
            index
            for index, part in open_
            if _is_unread(part, scales)
            or (books and part.name in ("codes", "indices") and part.stored.dtype in LOW)
        ]
        weights = {self.parts[index].name for index in unread}
        for index in unread:
            self._add_state(index, _UNREAD)
        for index, part in self._unclaimed() if unread else ():
            if is_state(part.name) or is_state(part.inner) or part.inner in weights:
                self._add_state(index)


def _is_unread(part: Part, scales: bool) -> bool:
    """Return whether integers must be weights: by their name, or by scales beside them."""
    (shape, dtype), name = part.stored, part.name
    if part.kind not in ("int", "uint") or part.size < _LEAST or is_scale(name):
        return False
    if is_packed_name(name):
        return True
    if is_index(name) or dtype not in LOW or not shape or _STATES.fullmatch(name):
        return False
    named = is_weight(name) and name not in _GENERAL and dtype not in WORDS
    return named or (scales and len(shape) > 1)
