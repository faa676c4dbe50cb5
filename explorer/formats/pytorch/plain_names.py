"""The names that a harmless pickle of plain data may use, and the stand-in for each.

Containers, text and numbers become plain ones; NumPy's arrays become records of their
shape and format, with their bytes left in the pickle. No stand-in copies its
arguments, so that a small pickle cannot build something large.
"""

from collections.abc import Callable
from math import prod

import msgspec

from explorer.formats.bounds import MAX_RANK, shape_fault
from explorer.formats.ndarrays import item_bytes
from explorer.formats.pytorch.machine import (
    BrokenError,
    Global,
    Instance,
    Machine,
    Pairs,
)
from explorer.storage.window import Window

__all__ = ["PLAIN_NAMES", "ArrayDtype", "PickledArray"]


class ArrayDtype(msgspec.Struct, eq=False):
    """NumPy's code of a number format ("f4"), and its byte order."""

    code: str
    order: str = "="

    def set_state(self, state: object) -> None:
        """Take the byte order from NumPy's state tuple."""
        if type(state) is tuple and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    @property
    def name(self) -> str | None:
        """The format by explorer's name; None for what is not a number."""
        return _DTYPE_NAMES.get(self.code) or (
            self.code if self.code in _ML_DTYPES else None
        )


class PickledArray(msgspec.Struct, eq=False):
    """A NumPy array whose bytes are in the pickle itself.

    With `is_inline`, joblib's: its state describes it, and its bytes follow the opcode that sets
    the state, after a padding. With a `key_format` ("key<fry>"), its last axis holds the words of
    JAX's PRNG keys.
    """

    dtype: ArrayDtype | None = None
    shape: tuple[int, ...] = ()
    data: bytes | memoryview | Window | str = b""
    fortran: bool = False
    is_inline: bool = False
    padding: int = 0
    key_format: str = ""

    def set_state(self, state: object) -> None:
        """Take NumPy's state: version, shape, dtype, whether Fortran order, bytes."""
        if self.is_inline:
            self._describe(state)
        elif type(state) is tuple and len(state) == 5:
            _, shape, dtype, fortran, data = state
            self._set(dtype, shape, data, fortran is True)
        else:
            raise BrokenError("has a NumPy array without a state of five")

    def _set(self, dtype: object, shape: object, data: object, fortran: bool) -> None:
        if type(dtype) is not ArrayDtype:
            raise BrokenError("has a NumPy array without a dtype")
        if dtype.name is None:  # of text or objects: not a tensor
            return
        sizes = _check_shape(shape, dtype)
        if not isinstance(data, bytes | memoryview | Window | str):
            raise BrokenError("has a NumPy array without bytes")
        nbytes = prod(sizes) * (item_bytes(dtype.name) or 0)
        if nbytes != len(data):
            raise BrokenError(
                f"has a NumPy array of shape {shape} and type {dtype.name} "
                f"in {len(data):,} bytes, not {nbytes:,}"
            )
        self.dtype, self.shape, self.data, self.fortran = dtype, sizes, data, fortran

    def _describe(self, state: object) -> None:
        """Take the attributes of joblib's NumpyArrayWrapper."""
        fields = state if type(state) is dict else {}
        dtype, shape = fields.get("dtype"), fields.get("shape")
        if type(dtype) is not ArrayDtype or type(shape) is not tuple:
            raise BrokenError("has an array of joblib's without a shape or dtype")
        if dtype.name is None:
            raise BrokenError(
                "has an array of Python objects, which joblib pickles by itself"
            )
        _check_shape(shape, dtype)
        self.dtype, self.shape = dtype, shape
        self.fortran = fields.get("order") == "F"
        self.padding = 1 if fields.get("numpy_array_alignment_bytes") is not None else 0

    def take_inline(self, machine: Machine) -> None:
        """Take joblib's bytes from the stream: the length of a padding, the padding, the data."""
        if self.padding:
            machine.take(machine.take_number(1))
        assert self.dtype is not None  # `_describe` has set it
        data = machine.take(prod(self.shape) * (item_bytes(self.dtype.name or "") or 0))
        self._set(self.dtype, self.shape, data, self.fortran)


def _check_shape(shape: object, dtype: ArrayDtype) -> tuple[int, ...]:
    """Return a shape, and refuse what no NumPy array has as one."""
    if type(shape) is not tuple:
        raise BrokenError("has a NumPy array without a shape")
    if len(shape) <= MAX_RANK and not all(type(n) is int and n >= 0 for n in shape):
        raise BrokenError("has a NumPy array with sizes that are not natural numbers")
    if fault := shape_fault(shape, item_bytes(dtype.name or "") or 1):
        raise BrokenError(f"has a NumPy array of {fault}")
    return shape


_DTYPE_NAMES = {
    "b1": "bool",
    "?": "bool",
    **{f"i{size}": f"int{8 * size}" for size in (1, 2, 4, 8)},
    **{f"u{size}": f"uint{8 * size}" for size in (1, 2, 4, 8)},
    **{f"f{size}": f"float{8 * size}" for size in (2, 4, 8)},
    **{f"c{size}": f"complex{8 * size}" for size in (8, 16)},
}


# what ml_dtypes adds to NumPy's formats
_ML_DTYPES = frozenset(
    (
        *("bfloat16", "int2", "int4", "uint2", "uint4", "float4_e2m1fn"),
        *("float6_e2m3fn", "float6_e3m2fn", "float8_e3m4", "float8_e4m3"),
        *("float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz"),
        *("float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    )
)


def _make_dtype(code: object = "", *_: object) -> ArrayDtype:
    if type(code) is Global and code.name.startswith("ml_dtypes."):
        return ArrayDtype(code.name.removeprefix("ml_dtypes."))
    text = code if type(code) is str else ""
    return ArrayDtype(text.lstrip("<>=|"), ">" if text.startswith(">") else "=")


def _make_array_from_buffer(
    data: object, dtype: object, shape: object, order: object = "C", *_: object
) -> PickledArray:
    array = PickledArray()
    array._set(dtype, shape, data, order == "F")
    return array


def _make_dict(pairs: object = (), *_: object) -> dict | Pairs:
    """Build a dict; Python 2 gives an OrderedDict its pairs as a list of lists of two."""
    if pairs == ():
        return {}
    if isinstance(pairs, dict):
        return pairs
    if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
        raise BrokenError("makes a dict of what is not a list of pairs")
    return Pairs(pairs)


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2


def _make_same(value: object = (), *_: object) -> object:
    return value


def _make_bytes(text: object = b"", *_: object) -> object:
    """Protocol 2 spells bytes as Latin-1 text; it is encoded when the bytes are wanted."""
    return text


def _make_nothing(*_: object) -> None:
    """A number or range that no tensor depends on."""
    return


def _make_old_object(of: object, *_: object) -> object:
    """Protocols 0 and 1 make an object as copyreg._reconstructor(class, object, None)."""
    if type(of) is not Global or of.build is None:
        raise BrokenError("makes an object of what is not a class")
    return of.build()


_BUILTINS: dict[str, Callable[..., object] | None] = {
    "bytearray": _make_bytes,
    "bytes": _make_bytes,
    "complex": _make_nothing,
    "dict": _make_dict,
    "float": None,
    "frozenset": _make_same,
    "int": None,
    "list": _make_same,
    "long": None,
    "object": None,
    "range": _make_nothing,
    "set": _make_same,
    "slice": _make_nothing,
    "str": None,
    "tuple": _make_same,
    "unicode": None,
    "xrange": _make_nothing,
}

PLAIN_NAMES: dict[str, Callable[..., object] | None] = {
    **{f"builtins.{name}": build for name, build in _BUILTINS.items()},
    **{f"__builtin__.{name}": build for name, build in _BUILTINS.items()},
    "collections.OrderedDict": _make_dict,
    "collections.defaultdict": lambda *_: {},
    "collections.Counter": _make_dict,
    "_codecs.encode": _make_bytes,
    "copyreg._reconstructor": _make_old_object,
    "copy_reg._reconstructor": _make_old_object,
    "joblib.numpy_pickle.NumpyArrayWrapper": lambda *_: PickledArray(is_inline=True),
    "argparse.Namespace": lambda: Instance("argparse.Namespace"),
    "numpy.dtype": _make_dtype,
    "numpy.ndarray": None,
    **{
        f"{module}.{name}": build
        for module in ("numpy.core", "numpy._core")
        for name, build in {
            "multiarray._reconstruct": lambda *_: PickledArray(),
            "multiarray.scalar": _make_nothing,
            "numeric._frombuffer": _make_array_from_buffer,
        }.items()
    },
}
