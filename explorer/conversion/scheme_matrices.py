"""A matrix under a scheme for linear layers, as its library's files have it, a matrix at a time."""

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from explorer.conversion.encoding import check_finite
from explorer.formats.writing import OutgoingTensor
from explorer.transforms.measure import overflow
from explorer.transforms.running import RunningDistance

if TYPE_CHECKING:
    import numpy as np

__all__ = ["QuantisedMatrix"]

_PIECE = 1 << 22  # elements that are encoded at a time
# bytes of bitsandbytes' state, filled with spaces: its length is known before its numbers
_STATE, _STATES = 256, ".quant_state."


class QuantisedMatrix:
    """A matrix that is quantised when the first of its parts is written, and then forgotten.

    Args:
        place: what errors call the source.
        tensor: the matrix, [outputs, inputs].
        scheme: as the user spells it.
        running: takes in what is lost.
    """

    def __init__(
        self, place: str, tensor: OutgoingTensor, scheme: str, running: RunningDistance
    ):
        self._place, self._tensor, self._scheme = place, tensor, scheme
        self._running = running
        self._stored: dict[str, Any] | None = None
        self._left = self._seen = 0

    def outgoing(self) -> list[OutgoingTensor]:
        """Return what is stored; its values are computed once, for all parts.

        Raises:
            InputError: the scheme cannot store the matrix, or no library has a layout for it.
        """
        name, (outputs, inputs) = self._tensor.name, self._tensor.shape
        found = _description(self._scheme, outputs, inputs, self._tensor.dtype)
        self._left = len(found)
        return [
            OutgoingTensor(
                part.replace(_NAME, name.removesuffix(_WEIGHT), 1),
                dtype,
                shape,
                lambda part=part: self._values(part),
            )
            for part, dtype, shape in found
        ]

    def _values(self, part: str) -> "Iterator[np.ndarray]":
        if self._stored is None:
            self._stored = self._computed()
        yield self._stored[part]
        self._left -= 1
        if not self._left:
            self._stored = None

    def _computed(self) -> dict[str, Any]:
        tensor, self._seen = self._tensor, 0
        found = _encoded(self._scheme, tensor.shape, tensor.dtype, tensor.parts(), self)
        self._running.check(self._place, self._scheme, tensor.name)
        return found

    def check(self, rows: "np.ndarray") -> None:
        """Refuse rows that are not finite."""
        tensor = self._tensor
        check_finite(self._place, tensor.name, rows, self._seen, tensor.shape)
        self._seen += rows.size

    def measure(self, rows: "np.ndarray", decoded: "np.ndarray") -> None:
        """Take in what was lost of some rows."""
        if not self._running.add(rows, decoded):
            raise overflow(self._place, rows, self._scheme, self._tensor.name)


_WEIGHT, _NAME = ".weight", "matrix"


@lru_cache(maxsize=256)
def _description(
    scheme: str, outputs: int, inputs: int, dtype: str
) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """Return names, dtypes and shapes of what is stored of any matrix of a shape."""
    import numpy as np

    rows = max(1, _PIECE // inputs)
    some = np.arange(rows * inputs, dtype=np.float32).reshape(rows, inputs) % 251 + 1
    parts = (some[: outputs - first] for first in range(0, outputs, rows))
    found = _encoded(scheme, (outputs, inputs), dtype, parts)
    return tuple((name, part.dtype.name, part.shape) for name, part in found.items())


def _encoded(
    scheme: str,
    shape: tuple[int, ...],
    dtype: str,
    parts: "Iterator[np.ndarray]",
    watched: QuantisedMatrix | None = None,
) -> "dict[str, np.ndarray]":
    """Return what is stored of a matrix, whose pieces are checked and measured if watched."""
    import numpy as np

    from explorer.transforms.quantisation.codecs import codec_of
    from explorer.transforms.quantisation.file_parts import parts_of
    from explorer.transforms.quantisation.quantized import Quantized

    codec, (outputs, inputs) = codec_of(scheme), shape
    pieces: dict[str, list[Any]] = {}
    for rows in _rows(parts, outputs, inputs, _rows_together(codec)):
        if watched is not None:
            watched.check(rows)
        found = codec.encode(rows)
        if watched is not None:
            watched.measure(rows, np.asarray(codec.decode(found, *rows.shape)))
        for name, part in found.items():
            pieces.setdefault(name, []).append(np.asarray(part))
    whole = {n: a[0] if len(a) == 1 else np.concatenate(a) for n, a in pieces.items()}
    tensor = Quantized(whole, scheme, (outputs, inputs), dtype)
    stored = parts_of(f"{_NAME}{_WEIGHT}", tensor)
    return {name: _filled(name, part) for name, part in stored.items()}


def _filled(name: str, part: "np.ndarray") -> "np.ndarray":
    import numpy as np

    if _STATES not in name:
        return part
    return np.frombuffer(part.tobytes().ljust(_STATE), np.uint8)


def _rows_together(codec: Any) -> int:
    """Return how many outputs are encoded together; 0 for all of a matrix."""
    layout = codec.layout
    kind = type(layout).__name__
    if kind == "FourBit":
        return 0 if layout.double else 128
    if kind == "Integers":
        return 0 if layout.group is None else 1
    if kind == "Float8":
        return {"channel": 1, "block": 128}.get(layout.spread, 0)
    return 1 if kind == "MXFP4" else 0


def _rows(
    parts: "Iterator[np.ndarray]", outputs: int, inputs: int, together: int
) -> "Iterator[np.ndarray]":
    """Yield a matrix in float32, as many rows at a time as are encoded by themselves."""
    import numpy as np

    step = max(1, _PIECE // (inputs * together)) * together if together else outputs
    buffer = np.empty((min(step, outputs), inputs), np.float32)
    flat, have, left = buffer.reshape(-1), 0, outputs * inputs
    for part in parts:
        values, at = part.reshape(-1), 0
        while at < values.size:
            wanted = min(flat.size, left)
            count = min(wanted - have, values.size - at)
            flat[have : have + count] = values[at : at + count]
            at, have = at + count, have + count
            if have == wanted:
                yield flat[:wanted].reshape(-1, inputs).copy()
                have, left = 0, left - wanted
