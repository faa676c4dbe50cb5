"""Reads a pickle into records without running it: an interpreter with an allow-list.

A pickle is a program for a small stack machine, and loading one in Python runs whatever
it names. The machine here has the same opcodes (protocols 0 to 5), but where a pickle
names a Python object it asks `find` for a harmless stand-in, and `find` refuses every
name that is not on its list. The results are plain dicts, lists, tuples, text and
numbers, and the records that the stand-ins build.
"""

import struct
from collections.abc import Callable
from itertools import repeat

from explorer.errors import FormatError, UnsafePickleError, printable
from explorer.formats.pytorch.machine import (
    MAX_TEXT,
    BrokenError,
    Global,
    Instance,
    Machine,
)
from explorer.formats.pytorch.opcodes import OPCODES
from explorer.storage.window import Bytes

__all__ = ["Global", "Instance", "load", "refuse_name"]

MAX_OPCODES = 20_000_000  # 600,000 tensors: each takes about 32
MAX_MARKS = 1_000


def load(
    path: str,
    data: bytes | Bytes,
    find: Callable[[str, str], Global],
    persistent: Callable[[object], object] | None = None,
    start: int = 0,
    end: int | None = None,
) -> tuple[object, int]:
    """Return the records of one pickle, and the offset of its end.

    Args:
        path: what errors call the file.
        data: the bytes that hold the pickle.
        find: (module, name) -> the stand-in; raises for what is not allowed.
        persistent: builds the record of an object that is stored outside the pickle.
        start: offset of the pickle in `data`.
        end: offset that it must not run beyond; None for the end of `data`.

    Raises:
        UnsafePickleError: it names something that `find` refuses.
        FormatError: it breaks a rule of the format, or exceeds a limit.

    >>> load("x.pkl", b"(I1\\nVtwo\\nd.", find=lambda module, name: Global(name))
    ({1: 'two'}, 11)
    """
    machine = Machine(data, find, persistent, start, end)
    try:
        root = _run(machine)
        if machine.at <= machine.size:
            return root, machine.at
        fault = _EARLY
    except BrokenError as broken:
        fault = str(broken)
    except IndexError:  # of data[at], of stack[-1] or of memo[index]
        early = machine.at >= machine.size
        fault = _EARLY if early else "uses what was never put on its stack or in its memo"
    except struct.error:
        fault = _EARLY
    except UnicodeDecodeError:
        fault = "has text that is not UTF-8"
    kind = "joblib pickle" if path.endswith(".joblib") else "pickle"
    raise FormatError(
        path,
        found=f"its {kind} {fault} (near byte {machine.at:,})",
        cure="fetch or save the file again",
    )


def refuse_name(path: str, module: str, name: str) -> UnsafePickleError:
    """Return the error for a name that is not on the list."""
    cure = "if you trust its author, load it where it was made and save the state_dict()"
    if module.startswith("torch.distributed") or "wrapper_subclass" in name:
        cure = "save plain tensors: DTensor.full_tensor(), or dequantize() a subclass"
    return UnsafePickleError(
        path,
        found=f"names {printable(f'{module}.{name}')}, which is not a part of a tensor; "
        "nothing was run",
        expected="tensors, numbers, text and plain containers",
        cure=cure,
    )


_EARLY = "ends in the middle"


def _run(machine: Machine) -> object:
    """Execute the opcodes up to STOP and return the top of the stack.

    The opcodes of tensors are here, the most frequent first; a table has the others.
    """
    data, memo, marks, stack = machine.data, machine.memo, machine.marks, machine.stack
    read_u4, read_i4 = machine.unpacker("<I"), machine.unpacker("<i")
    at = machine.at
    try:
        for _ in repeat(None, MAX_OPCODES):
            op = data[at]
            at += 1
            if op == 0x72:  # LONG_BINPUT
                index = read_u4(data, at)[0]
                if index == len(memo):
                    memo.append(stack[-1])
                else:
                    machine.put(index, stack[-1])
                at += 4
            elif op == 0x4B:  # BININT1
                stack.append(data[at])
                at += 1
            elif op == 0x68:  # BINGET
                stack.append(memo[data[at]])
                at += 1
            elif op == 0x28:  # MARK
                if len(marks) >= MAX_MARKS:
                    raise BrokenError(f"is nested deeper than {MAX_MARKS:,} levels")
                marks.append(stack)
                stack = []
            elif op == 0x74:  # TUPLE
                items = tuple(stack)
                stack = marks.pop()
                stack.append(items)
            elif op == 0x86:  # TUPLE2
                last = stack.pop()
                stack[-1] = (stack[-1], last)
            elif op == 0x58:  # BINUNICODE
                at += 4
                end = at + read_u4(data, at - 4)[0]
                if end > machine.size or end - at > MAX_TEXT:
                    raise BrokenError(f"has text of {end - at:,} bytes")
                stack.append(str(data[at:end], "utf-8", "surrogatepass"))
                at = end
            elif op == 0x52:  # REDUCE
                arguments = stack.pop()
                stack[-1] = machine.call(stack[-1], arguments)
            elif op == 0x51:  # BINPERSID
                stack[-1] = machine.fetch(stack[-1])
            elif op == 0x89:  # NEWFALSE
                stack.append(False)
            elif op == 0x29:  # EMPTY_TUPLE
                stack.append(())
            elif op == 0x4E:  # NONE
                stack.append(None)
            elif op == 0x4D:  # BININT2
                stack.append(data[at] | data[at + 1] << 8)
                at += 2
            elif op == 0x4A:  # BININT
                stack.append(read_i4(data, at)[0])
                at += 4
            elif op == 0x85:  # TUPLE1
                machine.spend(64)
                stack[-1] = (stack[-1],)
            elif op == 0x71:  # BINPUT
                machine.put(data[at], stack[-1])
                at += 1
            elif op == 0x6A:  # LONG_BINGET
                stack.append(memo[read_u4(data, at)[0]])
                at += 4
            elif op == 0x2E:  # STOP
                return stack.pop()
            else:
                act = OPCODES.get(op)
                if act is None:
                    raise BrokenError(f"has byte 0x{op:02x}, which is not an opcode")
                machine.at, machine.stack = at, stack
                act(machine)
                at, stack = machine.at, machine.stack
    finally:
        machine.at = at
    raise BrokenError(f"has more than {MAX_OPCODES:,} opcodes")
