"""Tensors beside others: the same ones, tied ones that differ, layers far from their equals."""

import hashlib
from collections.abc import Iterator

import numpy as np

from explorer.paths import name_of
from explorer.values.arrays import NamedValues
from explorer.values.blocks import flat_parts
from explorer.values.groups import pattern_of
from explorer.values.records import Finding, Statistics

__all__ = ["Layers", "Others"]

_LEAST = 4  # layers: fewer have no size in common
_TIMES = 30.0  # of the median root mean square, or so small a share of it
_FAR = 8.0  # and so many robust deviations of its logarithm
_VECTOR = 8  # elements: shorter ones are the same by chance


class Others:
    """The contents of the tensors that were seen, and which of them are tied."""

    def __init__(self) -> None:
        self._first_with: dict[bytes, str] = {}
        self._contents: dict[str, bytes] = {}
        self._tied: dict[str, str] = {}

    def findings(
        self, named: NamedValues, array: np.ndarray, is_flat: bool
    ) -> Iterator[Finding]:
        """Yield a tensor that is the same as an earlier one that nothing ties it to.

        Args:
            named, array: the tensor, contiguous.
            is_flat: whether all its elements are one number.
        """
        name = name_of(named.key)
        content = self._contents[name] = _content(array, named.is_own)
        if named.tied_to is not None:
            self._tied[name] = name_of(named.tied_to)
            return
        is_matrix = array.ndim > 1
        if is_flat or not (is_matrix or array.size >= _VECTOR):
            return
        before = self._first_with.setdefault(content, name)
        if before != name:
            text = f"is the same as {before}, though nothing ties them"
            yield Finding(
                tensor=name, kind="duplicate", index=None, text=text, is_wrong=is_matrix
            )

    def untied(self) -> Iterator[Finding]:
        """Yield tensors that are tied to another one, and stored with other numbers."""
        for name, first in self._tied.items():
            if first in self._contents and self._contents[first] != self._contents[name]:
                text = f"is tied to {first}, and is stored with other numbers"
                yield Finding(
                    tensor=name, kind="tied_different", index=None, text=text, is_wrong=True
                )


def _content(array: np.ndarray, is_own: bool) -> bytes:
    """Return a hash of a tensor's format, shape and elements."""
    state = hashlib.blake2b(f"{array.dtype.name} {array.shape}".encode(), digest_size=16)
    for _, part in flat_parts(array, is_own):
        state.update(part.view(np.uint8).data)
    return state.digest()


class Layers:
    """The sizes of tensors whose names differ in numbers alone."""

    def __init__(self) -> None:
        self._equal: dict[tuple, list[tuple[str, float]]] = {}

    def add(self, named: NamedValues, array: np.ndarray, found: Statistics) -> None:
        """Note the root mean square of a tensor."""
        name = name_of(named.key)
        if found.rms and np.isfinite(found.rms):
            kind = pattern_of(name), array.dtype.name, array.shape
            self._equal.setdefault(kind, []).append((name, found.rms))

    def findings(self) -> Iterator[Finding]:
        """Yield tensors whose root mean square is far from that of equal layers."""
        for layers in self._equal.values():
            if len(layers) < _LEAST:
                continue
            sizes = np.array([size for _, size in layers])
            middle = float(np.median(sizes))
            logs = np.log(sizes / middle)
            spread = 1.4826 * float(np.median(np.abs(logs)))
            for (name, size), log in zip(layers, logs.tolist(), strict=True):
                if abs(log) > max(np.log(_TIMES), _FAR * spread):
                    yield _far_layer(name, size, size / middle, len(layers))


def _far_layer(name: str, size: float, times: float, number: int) -> Finding:
    of_median = f"{times:,.0f} times" if times > 1 else f"1/{1 / times:,.0f} of"
    text = f"root mean square {size:.3g}, {of_median} the median of {number} equal layers"
    return Finding(
        tensor=name,
        kind="layer_scale",
        index=None,
        text=text,
        is_wrong=False,
        times=max(times, 1 / times),
    )
