"""A hash of each tensor's content that no format, order, sharding or chunking changes.

Hashed are the name of the format, the shape, and the elements in row-major order with the
lowest byte first; of quantised blocks, the blocks as they are stored.

    xxh3_128   at the speed of memory. It finds every accidental change: two contents share a
               hash by chance once in 2^128. Somebody who wants to can make two that do.
    blake2b    256 bits, cryptographic: nobody can make two contents of one hash. Slower.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args

import msgspec
import numpy as np

from explorer.document.exporting import Exportable
from explorer.errors import (
    InputError,
    MissingPackageError,
    printable,
    shown,
)
from explorer.storage.pages import check_there, give_back

__all__ = [
    "Algorithm",
    "Digests",
    "TensorDigest",
    "check_algorithm",
    "digest_of",
    "digest_text",
    "is_value_lock",
    "read_digests",
    "value_lock_text",
]

Algorithm = Literal["xxh3_128", "blake2b"]
_CHUNK = 1 << 22  # elements that are made contiguous at a time
_LOCK = "# explorer value lock 1"
_DIGITS = {"xxh3_128": 32, "blake2b": 64}


class TensorDigest(msgspec.Struct, frozen=True):
    """The hash of one tensor, the format and shape that it is of, and the tensor's name."""

    hash: str
    dtype: str
    shape: tuple[int, ...]
    name: str


class Digests(Exportable, frozen=True, kw_only=True):
    """What `digest` finds: each tensor, sorted by name.

    >>> found = Digests(target="a", tensors=(TensorDigest("0" * 32, "float32", (2, 3), "w"),))
    >>> print(found)
    00000000000000000000000000000000  float32  2x3  w
    """

    target: str
    tensors: tuple[TensorDigest, ...]
    algorithm: Algorithm = "xxh3_128"
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return digest_text(self)


def check_algorithm(name: str) -> None:
    """Refuse a hash that is not offered.

    Raises:
        InputError: no such hash.
        MissingPackageError: its package is not installed.
    """
    if not isinstance(name, str) or name not in get_args(Algorithm):
        raise InputError(
            "algorithm",
            found=f"no hash is called {shown(name, 40)}",
            expected=" or ".join(get_args(Algorithm)),
        )
    if name == "xxh3_128":
        try:
            import xxhash  # noqa: F401
        except ImportError:
            raise MissingPackageError(
                name,
                found="needs the package xxhash",
                cure="pip install xxhash, or take blake2b",
            ) from None


def digest_of(
    array: np.ndarray,
    dtype: str,
    shape: tuple[int, ...],
    algorithm: Algorithm = "xxh3_128",
    is_own: bool = False,
) -> str:
    """Return the hash of an array.

    Args:
        array: the elements, or the blocks that hold them.
        dtype, shape: of the tensor; they are hashed too.
        algorithm: the hash.
        is_own: whether nothing else has seen the array: pages of a mapped file are given back.

    >>> digest_of(np.float32([1, 2]), "float32", (2,))
    'c11f6ca51dd40e8d2c981c3cf9da7e06'
    """
    state = _state(algorithm)
    state.update(f"{dtype} {_shown(shape)}\n".encode())
    for part in _parts(array):
        check_there(part)
        state.update(_bytes(part))
        if is_own:
            give_back(part)
    return state.hexdigest()


def _state(algorithm: Algorithm) -> Any:
    if algorithm == "blake2b":
        from hashlib import blake2b

        return blake2b(digest_size=_DIGITS[algorithm] // 2)
    import xxhash

    return xxhash.xxh3_128()


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array in row-major order, a part at a time."""
    if not array.size:
        return
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            yield flat[start : start + _CHUNK]
    else:
        rows = max(1, _CHUNK * len(array) // array.size)
        for start in range(0, len(array), rows):
            yield array[start : start + rows]


def _bytes(part: np.ndarray) -> memoryview:
    """Return the bytes in row-major order, the lowest first."""
    plain = np.ascontiguousarray(part).reshape(-1)
    if not np.little_endian and plain.dtype.itemsize > 1:
        plain = plain.byteswap()
    return plain.view(np.uint8).data


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def digest_text(found: Digests) -> str:
    """Return one line for each tensor, `HASH  dtype  shape  name`, sorted by name.

    >>> digest_text(Digests(target="a", tensors=(TensorDigest("0" * 4, "int8", (), "step"),)))
    '0000  int8  scalar  step'
    """
    return "\n".join(
        f"{each.hash}  {each.dtype}  {_shown(each.shape)}  {printable(each.name, 1000)}"
        for each in found.tensors
    )


def value_lock_text(found: Digests) -> str:
    """Return a lock of values: a header, and what `digest_text` returns."""
    return "\n".join((_LOCK, digest_text(found))) if found.tensors else _LOCK


def is_value_lock(text: str) -> bool:
    """Return whether a text is a lock of values, or what `explorer digest` prints.

    >>> is_value_lock("# explorer value lock 1"), is_value_lock("# explorer lock 1")
    (True, False)
    """
    first = text.partition("\n")[0].rstrip("\r")
    digits = first.partition("  ")[0]
    is_hash = len(digits) in _DIGITS.values() and not digits.strip("0123456789abcdef")
    return first == _LOCK or is_hash


def read_digests(place: str, text: str) -> Digests:
    """Return the digests that a text of `digest_text` holds.

    Raises:
        InputError: a line that is not one of a digest, a name that occurs twice, or hashes of
            several kinds.
    """
    tensors: list[TensorDigest] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            tensors.append(_read_line(place, number, line))
    names: set[str] = set()
    for each in tensors:
        if each.name in names:
            found = f"{each.name} is listed twice"
            raise InputError(place, found=found, expected="each name once")
        names.add(each.name)
    kinds = {len(each.hash) for each in tensors} or {_DIGITS["xxh3_128"]}
    if len(kinds) > 1:
        raise InputError(
            place,
            found="mixes hashes of two kinds",
            expected="what one `explorer digest` prints",
        )
    digits = kinds.pop()
    algorithm = next(name for name in get_args(Algorithm) if _DIGITS[name] == digits)
    return Digests(target=place, tensors=tuple(tensors), algorithm=algorithm)


_SIZE = re.compile("[0-9]{1,19}")
_DTYPE = re.compile(r"[\w<>:.*]{1,60}", re.ASCII)


def _read_line(place: str, number: int, line: str) -> TensorDigest:
    parts = line.split("  ", 3)
    digits = parts[0]
    is_hash = len(digits) in _DIGITS.values() and not digits.strip("0123456789abcdef")
    sizes = parts[2].split("x") if len(parts) == 4 else []
    is_shape = sizes == ["scalar"] or all(_SIZE.fullmatch(size) for size in sizes)
    if not (len(parts) == 4 and is_hash and is_shape and _DTYPE.fullmatch(parts[1])):
        raise InputError(
            place,
            found=f"line {number} is {printable(line, 60)!r}",
            expected="HASH  dtype  shape  name, as `explorer digest` prints it",
        )
    shape = () if sizes == ["scalar"] else tuple(map(int, sizes))
    return TensorDigest(digits, parts[1], shape, parts[3])
