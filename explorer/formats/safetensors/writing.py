"""safetensors files written: the header first, then each tensor when its turn comes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import BinaryIO

import msgspec

from explorer import dtypes
from explorer.errors import InputError, printable
from explorer.formats.safetensors.text import MAX_HEADER
from explorer.formats.writing import OutgoingTensor, write_parts

__all__ = ["INDEX", "index_of", "shards_of", "write"]

INDEX = "model.safetensors.index.json"
_PADDING = 8  # bytes: data begins at a multiple of them


def write(
    out: BinaryIO,
    place: str,
    tensors: Sequence[OutgoingTensor],
    metadata: Mapping[str, str],
    done: Callable[[int], object] | None = None,
) -> None:
    """Write a file, in which every tensor is aligned: in another order where that takes one.

    Args:
        out: the file.
        place: what errors call it.
        tensors: in their order; where one would not be aligned, the widest dtypes come first.
        metadata: the file's own words.
        done: called with the bytes of each part that was written.

    Raises:
        InputError: a dtype that the format does not have.
        OSError: the file cannot be written.

    >>> import io, numpy as np
    >>> file, zeros = io.BytesIO(), np.zeros(3, "float32")
    >>> write(file, "a.safetensors", [OutgoingTensor("b", "float32", (3,), lambda: iter([zeros]))], {})
    >>> len(file.getvalue()) - 12, file.getvalue()[8:64]
    (64, b'{"b":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}} ')
    """
    ordered = tensors if _are_aligned(tensors) else sorted(tensors, key=_narrowness)
    header = _header(place, ordered, metadata)
    out.write(len(header).to_bytes(8, "little"))
    out.write(header)
    for each in ordered:
        write_parts(out, place, each, done)


def shards_of(
    tensors: Iterable[OutgoingTensor], most: int
) -> dict[str, list[OutgoingTensor]]:
    """Return tensors in files of at most so many bytes, or of one tensor, by file name.

    >>> zeros = [OutgoingTensor(name, "float32", (3,), lambda: iter([])) for name in "abc"]
    >>> {name: len(part) for name, part in shards_of(zeros, 24).items()}
    {'model-00001-of-00002.safetensors': 2, 'model-00002-of-00002.safetensors': 1}
    """
    parts: list[list[OutgoingTensor]] = [[]]
    size = 0
    for each in tensors:
        if parts[-1] and size + each.nbytes > most:
            parts.append([])
            size = 0
        parts[-1].append(each)
        size += each.nbytes
    if len(parts) == 1:
        return {"model.safetensors": parts[0]}
    return {
        f"model-{number:05d}-of-{len(parts):05d}.safetensors": part
        for number, part in enumerate(parts, 1)
    }


def index_of(shards: Mapping[str, Sequence[OutgoingTensor]]) -> bytes:
    """Return the index of a sharded checkpoint, as Hugging Face's libraries write it."""
    total = sum(each.nbytes for part in shards.values() for each in part)
    names = {each.name: shard for shard, part in shards.items() for each in part}
    content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(names.items()))}
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _are_aligned(tensors: Sequence[OutgoingTensor]) -> bool:
    """Return whether each tensor begins at a multiple of its elements' size."""
    begins = accumulate((each.nbytes for each in tensors), initial=0)
    return all(
        begin % max(1, -_narrowness(each)) == 0
        for begin, each in zip(begins, tensors, strict=False)
    )


def _narrowness(tensor: OutgoingTensor) -> int:
    """Return what sorts the widest elements first: their bytes, negative."""
    dtype = dtypes.find(tensor.dtype)
    return -dtype.block_bytes if dtype.block == 1 else 0


def _header(
    place: str, tensors: Sequence[OutgoingTensor], metadata: Mapping[str, str]
) -> bytes:
    ends = list(accumulate((each.nbytes for each in tensors), initial=0))
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    for each, place_of_it in zip(tensors, _pairs(ends), strict=True):
        if each.name in entries:
            raise InputError(
                place,
                found=f"would hold {printable(each.name)!r} twice",
                expected="each name once",
            )
        entries[each.name] = {
            "dtype": _spelled(place, each),
            "shape": each.shape,
            "data_offsets": place_of_it,
        }
    raw = msgspec.json.encode(entries)
    raw += b" " * (-len(raw) % _PADDING)
    if len(raw) > MAX_HEADER:
        raise InputError(
            place,
            found=f"a header of {len(raw):,} bytes",
            expected=f"at most {MAX_HEADER:,}, the limit of safetensors",
            cure="write shards",
        )
    return raw


def _pairs(ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    return pairwise(ends)


def _spelled(place: str, tensor: OutgoingTensor) -> str:
    name = dtypes.safetensors_name(tensor.dtype)
    if name is None:
        raise InputError(
            place,
            found=f"safetensors has no {tensor.dtype} ({printable(tensor.name, 80)})",
            expected="a dtype of the format, such as bfloat16 or uint8",
            cure="convert it with a dtype",
        )
    return name
