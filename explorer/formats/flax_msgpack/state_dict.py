"""The walk over a Flax msgpack file, from head to head, past the bytes of its arrays.

An array is extension 1 around (shape, dtype name, bytes), a NumPy scalar extension 3
likewise, a complex number extension 2 around two floats. An array of more than 2**30
bytes is a map of its shape and of flat chunks (flax.serialization).
"""

from math import prod

import msgspec

from explorer.errors import FormatError, printable
from explorer.formats.bounds import MAX_RANK, check_shape, most_tensors
from explorer.formats.flax_msgpack.items import Item, next_item, text
from explorer.formats.ndarrays import item_bytes
from explorer.storage.window import Bytes

__all__ = ["MsgpackLeaf", "walk"]

_CHUNKED = "__msgpack_chunked_array__"
_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3  # Flax's extension types
_MAX_DEPTH = 200
_MAX_NAMES = 3_000_000  # names in all paths together: bounds time and memory


class MsgpackLeaf(msgspec.Struct, gc=False):
    """One tensor: the bytes of an array are in `spans` (begin, length); a number is itself."""

    path: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    spans: list[tuple[int, int]]
    number: int | float | complex = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the array; of a number, those of the array that JAX makes from it."""
        if self.spans:
            return sum(length for _, length in self.spans)
        return item_bytes(self.dtype) or 0


def walk(path: str, data: Bytes, stem: str) -> list[MsgpackLeaf]:
    """Return the tensors of a file in its order.

    Args:
        path: the file, for errors.
        data: the bytes of the file.
        stem: the key of an array that is not in any map.

    Raises:
        FormatError: it is not MessagePack, or an array contradicts its own header.
    """
    return _StateDictWalk(path, data, stem).leaves


class _StateDictWalk:
    """One pass over a file from its first item; `leaves` are the tensors found."""

    def __init__(self, path: str, data: Bytes, stem: str):
        self.path, self.data, self.stem = path, data, (stem,)
        self.leaves: list[MsgpackLeaf] = []
        self._names, self._most = 0, most_tensors(len(data))
        self._known: dict[int, tuple[bytes, MsgpackLeaf]] = {}
        end = self._value(0, ())
        if end != len(data):
            raise FormatError(path, found=f"{len(data) - end:,} bytes after the last item")

    def _item(self, at: int, end: int | None = None) -> Item:
        return next_item(self.path, self.data, at, len(self.data) if end is None else end)

    def _refuse(self, path: tuple[str, ...], found: str, expected: str = "") -> FormatError:
        name = printable("/".join(path))
        return FormatError(self.path, found=f"leaf {name!r} {found}", expected=expected)

    def _value(self, at: int, path: tuple[str, ...]) -> int:
        """Read the value at `at` and all inside it; return the offset of the next."""
        self._names += len(path) + 1
        if len(path) > _MAX_DEPTH or self._names > _MAX_NAMES:
            limit = (
                f"{_MAX_DEPTH} levels"
                if len(path) > _MAX_DEPTH
                else f"{_MAX_NAMES:,} names"
            )
            raise FormatError(self.path, found=f"has more than {limit}")
        kind, number, begin = item = self._item(at)
        if kind == "map":
            return self._map(item, path)
        if kind == "array":
            for index in range(int(number)):
                begin = self._value(begin, (*path, str(index)))
            return begin
        if kind == "ext":
            end = begin + int(number)
            self._extension(begin, end, path or self.stem)
            return end
        if kind in ("str", "bin"):
            return begin + int(number)
        if kind != "nil":
            dtype = _dtype_of(kind, number)
            self._add(MsgpackLeaf(path or self.stem, dtype, (), [], number))
        return begin

    def _map(self, item: Item, path: tuple[str, ...]) -> int:
        names: set[str] = set()
        first, at = len(self.leaves), item.begin
        for _ in range(int(item.number)):
            key = self._item(at)
            if key.kind == "str":
                name, at = text(self.path, self.data, key), key.begin + int(key.number)
            elif key.kind in ("uint", "int"):
                name, at = str(key.number), key.begin
            else:
                raise self._refuse(path, f"has a key of kind {key.kind}", "a name")
            if name in names:
                raise self._refuse((*path, name), "is repeated")
            names.add(name)
            at = self._value(at, (*path, name))
        if _CHUNKED in names:
            self.leaves[first:] = [self._joined(path or self.stem, len(path), first)]
        return at

    def _add(self, leaf: MsgpackLeaf) -> None:
        if len(self.leaves) >= self._most:
            raise FormatError(
                self.path,
                found=f"lists more than {self._most:,} tensors in {len(self.data):,} bytes",
            )
        self.leaves.append(leaf)

    def _extension(self, at: int, end: int, path: tuple[str, ...]) -> None:
        code = self.data[at]
        if code == _COMPLEX:
            pair = self._item(at + 1, end)
            real = self._item(pair.begin, end)
            imag = self._item(real.begin, end)
            is_pair = pair[:2] == ("array", 2) and real.kind == imag.kind == "float"
            if not is_pair or imag.begin != end:
                raise self._refuse(path, "is not a complex number", "two floats")
            number = complex(real.number, imag.number)
            self._add(MsgpackLeaf(path, "complex64", (), [], number))
        elif code in (_ARRAY, _SCALAR):
            self._add(self._array(at + 1, end, path))
        else:
            raise self._refuse(path, f"is an extension of type {code}", "Flax's 1, 2 or 3")

    def _array(self, at: int, end: int, path: tuple[str, ...]) -> MsgpackLeaf:
        """Return the array packed as (shape, dtype name, bytes) between `at` and `end`."""
        # arrays of one shape and format have the same bytes before their data
        prefix, known = self._known.get(end - at, (b"", None))
        begin = at + len(prefix)
        if known is None or self.data[at:begin] != prefix:
            begin, known = self._decoded(at, end, path)
            self._known[end - at] = (self.data[at:begin], known)
        return MsgpackLeaf(path, known.dtype, known.shape, [(begin, end - begin)])

    def _decoded(self, at: int, end: int, path: tuple[str, ...]) -> tuple[int, MsgpackLeaf]:
        """Return the offset of an array's data, and the array, checked."""
        triple = self._item(at, end)
        rank = self._item(triple.begin, end)
        is_packed = triple[:2] == ("array", 3) and rank.kind == "array"
        if not is_packed or rank.number > MAX_RANK:
            raise self._refuse(path, "is not a packed array", "(shape, dtype, bytes)")
        sizes, at = [], rank.begin
        for _ in range(int(rank.number)):
            size = self._item(at, end)
            if size.kind != "uint":
                raise self._refuse(path, f"has a size of kind {size.kind}", "a number")
            sizes.append(int(size.number))
            at = size.begin
        name = self._item(at, end)
        if name.kind != "str":
            raise self._refuse(path, f"has a dtype of kind {name.kind}", "a name")
        dtype = text(self.path, self.data, name)
        buffer = self._item(name.begin + int(name.number), end)
        if buffer.kind != "bin" or buffer.begin + int(buffer.number) != end:
            raise self._refuse(path, "does not end with its data")
        span = (buffer.begin, end - buffer.begin)
        return buffer.begin, self._checked(MsgpackLeaf(path, dtype, tuple(sizes), [span]))

    def _checked(self, leaf: MsgpackLeaf) -> MsgpackLeaf:
        item = item_bytes(leaf.dtype)
        if item is None:
            raise self._refuse(leaf.path, f"has dtype {leaf.dtype!r}", "a number format")
        check_shape(self.path, f"leaf {printable('/'.join(leaf.path))!r}", leaf.shape, item)
        if leaf.nbytes != prod(leaf.shape) * item:
            raise self._refuse(
                leaf.path,
                f"of shape {leaf.shape} and dtype {leaf.dtype} has {leaf.nbytes:,} bytes",
                f"{prod(leaf.shape) * item:,}",
            )
        return leaf

    def _joined(self, path: tuple[str, ...], depth: int, first: int) -> MsgpackLeaf:
        """Return the one array whose shape and chunks are the leaves from `first` on."""
        parts = {leaf.path[depth:]: leaf for leaf in self.leaves[first:]}
        shape, chunks = _numbered(parts, "shape"), _numbered(parts, "chunks")
        sizes = [leaf.number for leaf in shape if isinstance(leaf.number, int)]
        spans = [span for chunk in chunks for span in chunk.spans]
        dtypes = {chunk.dtype for chunk in chunks}
        if (
            len(parts) != 1 + len(shape) + len(chunks)  # the marker, and nothing else
            or len(dtypes) != 1
            or len(spans) != len(chunks)
            or not shape
            or len(sizes) != len(shape)
            or len(sizes) > MAX_RANK
            or min(sizes, default=0) < 0
        ):
            raise self._refuse(
                path, "is not a chunked array", "a shape and chunks of one dtype"
            )
        return self._checked(MsgpackLeaf(path, dtypes.pop(), tuple(sizes), spans))


def _numbered(parts: dict[tuple[str, ...], MsgpackLeaf], name: str) -> list[MsgpackLeaf]:
    """Return the leaves name/0, name/1, ... as far as they go."""
    found = []
    while (leaf := parts.get((name, str(len(found))))) is not None:
        found.append(leaf)
    return found


def _dtype_of(kind: str, number: int | float) -> str:
    if kind == "bool":
        return "bool"
    if kind == "float":
        return "float32"
    if -(2**31) <= number < 2**31:
        return "int32"
    return "int64" if number < 2**63 else "uint64"
