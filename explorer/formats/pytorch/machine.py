"""The stack machine that a pickle is a program for, and the records that it builds.

Every length in the stream is a claim, checked before it is used, and no step copies what
another has built. What one byte of the stream can build, a dict or a tuple, is counted, so that
the length of the stream bounds the memory; keys that can be made to collide are few.
"""

import struct
from collections.abc import Callable
from itertools import count
from operator import eq

import msgspec

from explorer.errors import printable
from explorer.storage.window import Bytes, Window

__all__ = ["BrokenError", "Global", "Instance", "Machine", "Pairs"]

MAX_TEXT = 1 << 28
MAX_LINE = 1 << 20
MAX_INTEGER_BYTES = 256
MAX_GAP = 1_000  # Python 2 began to count at 1
MAX_ARGUMENTS = 64  # of a call, and parts of a key: more could be passed again and again
MAX_ODD_KEYS = 4_000
# Of other keys that are not text and do not count on: each could be made to try the places of all
MAX_PLAIN_KEYS = 20_000
# bytes of objects: those that a short pickle may build, and those for each of its bytes
ROOM, ROOM_PER_BYTE = 24_000_000, 24
VIEWED_BYTES = 4096  # longer byte strings are not copied


class Global(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The stand-in for a Python object that a pickle names.

    `build` makes a record from the arguments of the pickle's call; None where the name is
    only passed on.
    """

    name: str
    build: Callable[..., object] | None = None


class Instance(msgspec.Struct, eq=False):
    """The stand-in for an object: the name of its class, and its state."""

    of: str
    state: object = None

    def set_state(self, state: object) -> None:
        """Keep the state that the pickle gives the object."""
        self.state = state


class Pairs(msgspec.Struct, frozen=True, eq=False):
    """What a call builds instead of a dict, whose keys the machine counts: its pairs."""

    items: list


_HOLE = Global("a memo entry that was never put")


class BrokenError(Exception):
    """A rule of the pickle format is broken; the text says how."""


# Keys are hashed: a deeply nested tuple among them would overflow the C stack.
_KEY_TYPES = {str, int, float, bool, bytes, type(None), Global, Instance}
_HASHED_AS_ONE = (1 << 61) - 1  # multiples of it have one hash
_SALTED = (str, bytes)  # by a number that each process draws for itself
# bytes of objects, with what the collector keeps of each
_OF_GLOBAL, _OF_CALL, _OF_STORED, _OF_FIRST_ITEM, _OF_ITEM = 600, 240, 80, 168, 80


class Machine:
    """The state of one reading: the stream, the stack, the marks and the memo.

    `stack` holds what was pushed since the last mark, `marks` the stacks below it.
    """

    def __init__(
        self,
        data: bytes | Bytes,
        find: Callable[[str, str], Global],
        persistent: Callable[[object], object] | None,
        start: int,
        end: int | None = None,
    ):
        self.data, self.at = data, start
        self.size = len(data) if end is None else end
        self.find, self.persistent = find, persistent
        self.stack: list = []
        self.marks: list[list] = []
        self.memo: list = []
        self.odd_keys = self.plain_keys = 0
        length = self.size - start
        self.most = self.room = ROOM + ROOM_PER_BYTE * length
        self.globals: dict[tuple[str, str], Global] = {}

    def put(self, index: int, value: object) -> None:
        """Store a value in the memo, which writers fill in order."""
        memo = self.memo
        if index > len(memo) + MAX_GAP:
            raise BrokenError(f"puts memo entry {index:,} after {len(memo):,}")
        if (new := index + 1 - len(memo)) > 0:
            self.spend(16 * new)  # twice, while the list grows
            memo.extend([_HOLE] * new)
        memo[index] = value

    def spend(self, nbytes: int) -> None:
        """Count the memory of what is built."""
        self.room -= nbytes
        if self.room < 0:
            raise BrokenError(f"builds objects of more than {self.most:,} bytes")

    def unpacker(self, layout: str) -> Callable[..., tuple[int, ...]]:
        """Return the function (data, offset) -> numbers of a `struct` layout."""
        numbers = struct.Struct(layout)
        if isinstance(self.data, Window):  # which is not a buffer
            return lambda data, at: numbers.unpack(data[at : at + numbers.size])
        return numbers.unpack_from

    def take(self, length: int) -> bytes | memoryview | Window:
        """Return the next bytes of the stream; many of them as a view that copies none."""
        begin, end = self.at, self.at + length
        if end > self.size:
            raise BrokenError(f"has a string of {length:,} bytes, beyond its end")
        self.at = end
        if length <= VIEWED_BYTES:
            return self.data[begin:end]
        if isinstance(self.data, Window):
            return self.data.part(begin, end)
        return memoryview(self.data)[begin:end]

    def take_number(self, width: int) -> int:
        """Return the unsigned integer in the next `width` bytes."""
        return int.from_bytes(bytes(self.take(width)), "little")

    def take_long(self, length: int) -> int:
        """Return the signed integer in the next `length` bytes."""
        if length > MAX_INTEGER_BYTES:
            raise BrokenError(f"has an integer of {length:,} bytes")
        return int.from_bytes(bytes(self.take(length)), "little", signed=True)

    def take_text(self, length: int) -> str:
        """Return the UTF-8 text in the next `length` bytes."""
        if length > MAX_TEXT:
            raise BrokenError(f"has text of {length:,} bytes")
        return str(bytes(self.take(length)), "utf-8", "surrogatepass")

    def take_line(self) -> bytes:
        """Return the bytes up to the next line end."""
        begin = self.at
        end = self.data.find(b"\n", begin, begin + MAX_LINE)
        if end < 0:
            raise BrokenError("has a line without an end")
        self.at = end + 1
        return self.data[begin:end]

    def take_decimal(self) -> int:
        """Return the integer that the next line spells."""
        line = self.take_line()
        if len(line) > 2 * MAX_INTEGER_BYTES:
            raise BrokenError(f"has an integer of {len(line):,} digits")
        try:
            return int(line.removesuffix(b"L"))
        except ValueError:
            raise BrokenError(f"has the integer {printable(line, 40)}") from None

    def unmark(self) -> list:
        """Return what was pushed since the mark, and restore the stack below it."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def push_global(self, module: str, name: str) -> None:
        """Push the stand-in for a name."""
        key = (module, name)
        if key not in self.globals:
            self.spend(_OF_GLOBAL)
            self.globals[key] = self.find(module, name)
        self.stack.append(self.globals[key])

    def call(self, function: object, arguments: object) -> object:
        """Return the record of a call: the function is always a stand-in."""
        if type(function) is not Global or function.build is None:
            raise BrokenError(f"calls {describe(function)}, which is not a function")
        if type(arguments) is not tuple:
            raise BrokenError(f"calls {describe(function)} without a tuple of arguments")
        if len(arguments) > MAX_ARGUMENTS:
            count = f"{len(arguments):,} arguments, more than {MAX_ARGUMENTS}"
            raise BrokenError(f"calls {describe(function)} with {count}")
        self.spend(_OF_CALL + _OF_ITEM * len(arguments))
        try:
            made = function.build(*arguments)
        except TypeError:
            raise BrokenError(f"calls {describe(function)} with wrong arguments") from None
        return self.dict_of(made.items) if type(made) is Pairs else made

    def dict_of(self, pairs: list) -> dict:
        """Return the dict of pairs, which are consumed: a second dict of them would be a copy."""
        self.check_keys([key for key, _ in pairs], 0)
        made = dict(pairs)
        pairs.clear()
        return made

    def fetch(self, identity: object) -> object:
        """Return the record of an object that is stored outside the pickle."""
        if self.persistent is None:
            raise BrokenError("refers to an object outside itself")
        self.spend(_OF_STORED)
        return self.persistent(identity)

    def set_items(self, items: list) -> None:
        """Set alternating keys and values in the dict on the stack."""
        target, keys = self.stack[-1], items[::2]
        if type(target) is not dict or len(items) % 2:
            raise BrokenError(f"sets items of {describe(target)}")
        self.check_keys(keys, len(target))
        self.spend(_OF_ITEM * len(keys) + (0 if target else _OF_FIRST_ITEM))
        target.update(zip(keys, items[1::2], strict=True))

    def check_keys(self, keys: list, held: int) -> None:
        """Refuse keys that are not plain, and many that can be made to collide.

        Args:
            keys: to set in a dict.
            held: how many keys it has. Integers that count on from there have a place each.
        """
        if {str}.issuperset(map(type, keys)):
            return
        check_keys(keys)
        self.odd_keys += sum(map(_is_odd, keys))
        if self.odd_keys > MAX_ODD_KEYS:
            raise BrokenError(
                f"has more than {MAX_ODD_KEYS:,} keys that are large integers or tuples of numbers"
            )
        if not any(all(map(eq, keys, count(begin))) for begin in (held, held + 1)):
            self.plain_keys += sum(type(key) not in _SALTED for key in keys)
        if self.plain_keys > MAX_PLAIN_KEYS:
            raise BrokenError(
                f"has more than {MAX_PLAIN_KEYS:,} keys that are neither text nor in counting order"
            )

    def extend(self, items: list) -> None:
        """Append to the list on the stack."""
        target = self.stack[-1]
        if type(target) is not list:
            raise BrokenError(f"appends to {describe(target)}")
        target.extend(items)


def check_keys(keys: list) -> None:
    """Refuse keys that are neither plain values nor tuples of plain values."""
    for key in keys:
        parts = key if type(key) is tuple else (key,)
        if len(parts) > MAX_ARGUMENTS:
            raise BrokenError(f"has a key of {len(parts):,} parts")
        for part in parts:
            if type(part) not in _KEY_TYPES:
                raise BrokenError(f"has {describe(part)} in a key")


def _is_odd(key: object) -> bool:
    """Return whether a key may have the hash of many others, as who writes it knows."""
    if type(key) is tuple:  # equal hashes of parts make equal hashes of tuples
        return not any(map(_is_salted, key)) or any(map(_is_wrapped, key))
    return _is_wrapped(key)


def _is_salted(part: object) -> bool:
    """Return whether a hash is unknown to who writes the file: that of no text is 0."""
    return type(part) in _SALTED and bool(part)


def _is_wrapped(part: object) -> bool:
    """Return whether a number is so large that others have its hash."""
    if not isinstance(part, int | float):
        return False
    return not -_HASHED_AS_ONE < part < _HASHED_AS_ONE


def describe(thing: object) -> str:
    """Return a record as errors show it."""
    if isinstance(thing, Global):
        return printable(thing.name)
    if isinstance(thing, Instance):
        return f"an object of {printable(thing.of)}"
    return f"a {type(thing).__name__}"
