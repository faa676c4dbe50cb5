"""What a pass found of one tensor, as bytes: for a pass that goes on later, or other processes."""

from typing import NamedTuple

import msgspec
import numpy as np

from explorer.paths import Key
from explorer.values.moments import Moments
from explorer.values.records import LineStatistics, StoredStatistics
from explorer.values.sketch import Sketch
from explorer.values.summed import Summed

__all__ = ["KnownSums", "TensorPart", "decode_part", "encode_part", "part_of"]


class KnownSums(NamedTuple):
    """What is known of a tensor before it is read: nothing of it need be."""

    summed: Summed
    pattern: str = ""
    stored: StoredStatistics | None = None
    lines: LineStatistics | None = None


class TensorPart(msgspec.Struct, frozen=True, array_like=True):
    """What a pass found of one tensor; fields as of `NamedValues` and `Summed`.

    `upper` and `counts` are the bins that occur: uint16 and int64, the lowest byte first.
    """

    key: Key
    dtype: str
    shape: tuple[int, ...]
    is_packed: bool
    remark: str
    pattern: str
    stored: StoredStatistics | None
    lines: LineStatistics | None
    count: int
    moments: Moments
    histogram: dict[int, int]
    far: dict[int, int]
    upper: bytes
    counts: bytes
    quantiles: dict[str, float] | None
    error: float
    has_bins: bool

    def known(self) -> KnownSums:
        """Return what was found, to be merged with that of others."""
        upper = np.frombuffer(self.upper, "<u2").astype(np.int64)
        counts = np.frombuffer(self.counts, "<i8").astype(np.int64)
        if upper.size != counts.size:
            raise ValueError(f"{upper.size} bins have {counts.size} counts")
        summed = Summed(
            self.count,
            self.moments,
            self.histogram,
            sketch=Sketch(upper, counts) if upper.size else None,
            far=self.far,
            quantiles=self.quantiles,
            error=self.error,
            has_bins=self.has_bins,
        )
        return KnownSums(summed, self.pattern, self.stored, self.lines)


def part_of(
    key: Key,
    dtype: str,
    shape: tuple[int, ...],
    known: KnownSums,
    is_packed: bool = False,
    remark: str = "",
) -> TensorPart:
    """Return what was found of a tensor as a record of plain fields.

    >>> from explorer.values.statistics import sum_up
    >>> found = KnownSums(sum_up(np.float32([1, 2, 4])))
    >>> part = decode_part(encode_part(part_of("w", "float32", (3,), found)))
    >>> part.key, part.known().summed.moments.l1, part.histogram
    ('w', 7.0, {0: 1, 1: 1, 2: 1})
    """
    summed = known.summed
    upper, counts = _bins(summed)
    return TensorPart(
        key=key,
        dtype=dtype,
        shape=shape,
        is_packed=is_packed,
        remark=remark,
        pattern=known.pattern,
        stored=known.stored,
        lines=known.lines,
        count=summed.count,
        moments=summed.moments,
        histogram=summed.histogram,
        far=summed.far,
        upper=upper.astype("<u2").tobytes(),
        counts=counts.astype("<i8").tobytes(),
        quantiles=summed.quantiles,
        error=summed.error,
        has_bins=summed.has_bins,
    )


def _bins(summed: Summed) -> Sketch:
    if isinstance(summed.sketch, Sketch):
        return summed.sketch
    return Sketch.of(summed.all_bins())


def encode_part(part: TensorPart) -> bytes:
    """Return a part as bytes."""
    return msgspec.msgpack.encode(part, enc_hook=_plain)


def _plain(value: object) -> object:
    """Return a number of NumPy as one of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(type(value).__name__)


def decode_part(raw: bytes) -> TensorPart:
    """Return the part that bytes of `encode_part` hold.

    Raises:
        msgspec.ValidationError: they are of something else.
    """
    return msgspec.msgpack.decode(raw, type=TensorPart)
