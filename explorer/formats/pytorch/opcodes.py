"""The opcodes that are rare in checkpoints: the effect of each on the machine.

The frequent ones are in the loop of explorer.formats.pytorch.pickles.
"""

import struct
from codecs import escape_decode  # pyright: ignore[reportAttributeAccessIssue]
from collections.abc import Callable

from explorer.errors import printable
from explorer.formats.pytorch.machine import BrokenError, Machine, describe

__all__ = ["OPCODES"]

NEWEST_PROTOCOL = 5
_OF_CONTAINER = 96  # bytes of a list with its first items, or of an empty dict


def _push_taken(width: int, take: Callable[[Machine, int], object]):
    """Push what `take` returns for a length, a number of that width in the stream."""
    return lambda machine: machine.stack.append(take(machine, machine.take_number(width)))


def _text_or_bytes(machine: Machine, length: int) -> object:
    """Python 2 had one type for both: ASCII is read as text."""
    raw = machine.take(length)
    return raw.decode() if isinstance(raw, bytes) and raw.isascii() else raw


def _protocol(machine: Machine) -> None:
    version = machine.take_number(1)
    if version > NEWEST_PROTOCOL:
        raise BrokenError(f"is of protocol {version}, newer than {NEWEST_PROTOCOL}")


def _frame(machine: Machine) -> None:
    length = machine.take_number(8)
    if length > machine.size - machine.at:
        raise BrokenError(f"has a frame of {length:,} bytes, beyond its end")


def _refuse(what: str) -> Callable[[Machine], None]:
    def act(machine: Machine) -> None:
        raise BrokenError(what)

    return act


# Marks, memo and the stack itself


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.unmark()


def _duplicate(machine: Machine) -> None:
    machine.stack.append(machine.stack[-1])


def _memoize(machine: Machine) -> None:
    machine.memo.append(machine.stack[-1])


def _index(machine: Machine) -> int:
    index = machine.take_decimal()
    if index < 0:
        raise BrokenError(f"has memo index {index}")
    return index


def _put(machine: Machine) -> None:
    machine.put(_index(machine), machine.stack[-1])


def _get(machine: Machine) -> None:
    machine.stack.append(machine.memo[_index(machine)])


# Numbers and text of protocol 0


def _float(machine: Machine) -> None:
    machine.stack.append(struct.unpack(">d", bytes(machine.take(8)))[0])


def _text_float(machine: Machine) -> None:
    line = machine.take_line()
    try:
        machine.stack.append(float(line))
    except ValueError:
        raise BrokenError(f"has the number {printable(line, 40)}") from None


def _text_integer(machine: Machine) -> None:
    at = machine.at
    value: object = machine.take_decimal()
    line = machine.data[at : machine.at - 1]
    # protocol 0 spells booleans as these
    machine.stack.append({b"00": False, b"01": True}.get(line, value))


def _text_string(machine: Machine) -> None:
    line = machine.take_line().strip()
    if len(line) < 2 or line[:1] not in (b'"', b"'") or line[-1:] != line[:1]:
        raise BrokenError("has a string without quotes")
    try:
        raw: bytes = escape_decode(line[1:-1])[0]
    except ValueError:
        raise BrokenError("has a string with a broken escape") from None
    machine.stack.append(raw.decode() if raw.isascii() else raw)


def _text_unicode(machine: Machine) -> None:
    machine.stack.append(str(machine.take_line(), "raw-unicode-escape"))


# Containers


def _tuple3(machine: Machine) -> None:
    machine.stack[-3:] = [tuple(machine.stack[-3:])]
    if len(machine.stack[-1]) != 3:
        raise IndexError


def _push_new(kind: type):
    """Push what is empty, of one byte in the stream."""

    def act(machine: Machine) -> None:
        machine.spend(_OF_CONTAINER)
        machine.stack.append(kind())

    return act


def _list(machine: Machine) -> None:
    items = machine.unmark()
    machine.spend(_OF_CONTAINER)
    machine.stack.append(items)


def _dict(machine: Machine) -> None:
    items = machine.unmark()
    machine.spend(_OF_CONTAINER)
    machine.stack.append({})
    machine.set_items(items)


def _set_item(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.set_items([key, value])


def _append(machine: Machine) -> None:
    item = machine.stack.pop()
    machine.extend([item])


# Names and objects


def _name(machine: Machine) -> None:
    module, name = machine.take_line(), machine.take_line()
    machine.push_global(module.decode(), name.decode())


def _stack_name(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise BrokenError("names an object by something that is not text")
    machine.push_global(module, name)


def _new_object(machine: Machine) -> None:
    arguments = machine.stack.pop()
    machine.stack[-1] = machine.call(machine.stack[-1], arguments)


def _new_object_with_keywords(machine: Machine) -> None:
    keywords = machine.stack.pop()
    if keywords != {}:
        raise BrokenError("makes an object with keyword arguments")
    _new_object(machine)


def _marked_object(machine: Machine) -> None:
    of, *arguments = machine.unmark() or [None]
    machine.stack.append(machine.call(of, tuple(arguments)))


def _named_object(machine: Machine) -> None:
    _name(machine)
    of = machine.stack.pop()
    arguments = machine.unmark()
    machine.stack.append(machine.call(of, tuple(arguments)))


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if type(target) is dict:
        return  # attributes of an OrderedDict, such as the _metadata of a state dict
    if not hasattr(target, "set_state"):
        raise BrokenError(f"sets the state of {describe(target)}")
    target.set_state(state)
    if getattr(target, "is_inline", False):  # joblib writes an array after its description
        target.take_inline(machine)


OPCODES: dict[int, Callable[[Machine], None]] = {
    ord(opcode): act
    for opcode, act in {
        "\x80": _protocol,
        "\x95": _frame,
        "0": _pop,
        "1": lambda machine: machine.unmark() and None,
        "2": _duplicate,
        "\x94": _memoize,
        "p": _put,
        "g": _get,
        "\x88": lambda machine: machine.stack.append(True),
        "I": _text_integer,
        "L": lambda machine: machine.stack.append(machine.take_decimal()),
        "\x8a": _push_taken(1, Machine.take_long),
        "\x8b": _push_taken(4, Machine.take_long),
        "F": _text_float,
        "G": _float,
        "S": _text_string,
        "U": _push_taken(1, _text_or_bytes),
        "T": _push_taken(4, _text_or_bytes),
        "V": _text_unicode,
        "\x8c": _push_taken(1, Machine.take_text),
        "\x8d": _push_taken(8, Machine.take_text),
        "B": _push_taken(4, Machine.take),
        "C": _push_taken(1, Machine.take),
        "\x8e": _push_taken(8, Machine.take),
        "\x96": _push_taken(8, Machine.take),
        "]": _push_new(list),
        "}": _push_new(dict),
        "\x8f": _push_new(list),  # a set: a list, never hashed
        "l": _list,
        "d": _dict,
        "\x87": _tuple3,
        "\x91": _list,
        "a": _append,
        "e": lambda machine: machine.extend(machine.unmark()),
        "\x90": lambda machine: machine.extend(machine.unmark()),
        "s": _set_item,
        "u": lambda machine: machine.set_items(machine.unmark()),
        "c": _name,
        "\x93": _stack_name,
        "\x81": _new_object,
        "\x92": _new_object_with_keywords,
        "o": _marked_object,
        "i": _named_object,
        "b": _build,
        "P": _refuse("refers to an object by a line of text"),
        "\x82": _refuse("uses a registered extension"),
        "\x83": _refuse("uses a registered extension"),
        "\x84": _refuse("uses a registered extension"),
        "\x97": _refuse("keeps its bytes in a buffer outside itself"),
        "\x98": _refuse("keeps its bytes in a buffer outside itself"),
    }.items()
}
