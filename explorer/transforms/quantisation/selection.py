"""Which tensors of an inventory a scheme quantises, and how each of them is stored."""

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

from explorer import dtypes
from explorer.arguments import check_kinds
from explorer.errors import InputError, printable
from explorer.inventory.inventory import Inventory
from explorer.inventory.selection import check_glob, nothing_matches
from explorer.inventory.tensor import Kind
from explorer.paths import Key, matches, name_of, path_of
from explorer.sizing.weights.gguf_blocks import fitting_type
from explorer.sizing.weights.groups import (
    Matrix,
    TensorGroup,
    is_packed,
    matrix_of,
    outputs_first,
)
from explorer.sizing.weights.parsing import parse_scheme
from explorer.sizing.weights.schemes import LinearScheme, linear_scheme
from explorer.transforms.quantisation.codecs import Codec, codec_of

__all__ = ["Chosen", "NamedSelection", "Selection"]

_FLOATS = ("float32", "float16", "bfloat16")


class Chosen(NamedTuple):
    """How a tensor is stored, and whether it is [inputs, outputs]."""

    codec: Codec
    inputs_first: bool


class Selection:
    """Decides for each tensor of an inventory whether it is quantised, and how.

    Args:
        inventory: of what the tensors are from.
        scheme: as `parse_scheme` reads it.
        select: a glob of what to quantise instead of the kernels that the scheme is for.

    Raises:
        InputError: a scheme that does not exist, weights that are quantised already.
    """

    def __init__(self, inventory: Inventory, scheme: str, select: str | None = None):
        check_kinds(("scheme", scheme, "a str"))
        self.inventory, self.select = inventory, select
        self.codec = codec_of(scheme)
        self.scheme = self.codec.scheme
        wanted = parse_scheme(scheme)
        self.linear: LinearScheme | None = None
        if not wanted.gguf:
            self.linear = linear_scheme(wanted.name, wanted.options)
        if select is not None:
            check_glob(select)
        _refuse_packed(inventory)

    @property
    def note(self) -> str:
        """What is to be said of the choice."""
        if self.select is not None:
            return f"what {self.select} matches"
        if self.linear is None:
            return f"every matrix {self.codec.dtype} by its role, the rest as it is"
        return self.linear.note

    def of(self, key: Key, kind: Kind) -> Chosen | None:
        """Return how a tensor is stored; None where it stays as it is.

        Raises:
            InputError: the groups of the scheme do not divide it.
        """
        is_float = dtypes.find(kind.dtype).kind == "float"
        is_matrix = len(kind.shape) > 1 and 0 not in kind.shape
        if not (kind.is_parameter and is_matrix and is_float):
            return None
        matrix = self._matrix(key, kind)
        codec = None if matrix is None else self._codec(name_of(key), matrix)
        return None if codec is None else Chosen(codec, not self._is_rows(key, kind))

    def _matrix(self, key: Key, kind: Kind) -> Matrix | None:
        """Return the matrices of a tensor that is to be quantised."""
        if self.select is not None:
            is_wanted = matches(key, self.select)
        elif self.linear is None and kind.role == "embedding":
            is_wanted = len(kind.shape) == 2  # llama.cpp's tables are matrices too
        else:
            heads = self.linear is None or self.linear.heads
            group = TensorGroup(path_of(key), kind, 1)
            return matrix_of(group, self.inventory, heads)
        if not is_wanted:
            return None
        *stack, first, second = kind.shape
        if self._is_rows(key, kind):
            first, second = second, first
        return Matrix(prod(stack), first, second)

    def _codec(self, name: str, matrix: Matrix) -> Codec | None:
        if self.linear is None:
            kind = fitting_type(self.codec.dtype, matrix.inputs)
            if kind is None:
                raise InputError(
                    name,
                    found=f"has rows of {matrix.inputs:,}, which blocks of {self.codec.dtype} do not divide",
                    expected="a type whose blocks divide them, or a k-quant, which falls back",
                )
            return None if dtypes.find(kind).block == 1 else codec_of(f"{kind}:pure")
        try:
            sizes = self.linear.sizes(matrix)
        except InputError as error:
            raise InputError(name, found=error.found, expected=error.expected) from None
        return None if sizes is None else self.codec

    def _is_rows(self, key: Key, kind: Kind) -> bool:
        """Return whether the last axis is the one that is summed over."""
        return kind.role == "embedding" or outputs_first(path_of(key), self.inventory)

    def nothing(self, names: list[str]) -> InputError:
        """Return the error where nothing is quantised."""
        target = self.inventory.target or "the tree"
        if self.select is not None and not any(matches(n, self.select) for n in names):
            return nothing_matches(target, self.select, names)
        return InputError(
            target,
            found=f"has no kernel of a linear layer that {self.codec.scheme} could store",
            expected="attention, feed-forward or expert matrices",
            cure='select="**" quantises every matrix',
        )


class NamedSelection(Selection):
    """Stores each tensor by a scheme of its own.

    Args:
        inventory: of what the tensors are from.
        schemes: by the name of a tensor; "" or a float dtype where it stays as it is.
        what: the schemes together, as records call them.

    Raises:
        InputError: a scheme that does not exist, a name that no tensor has, weights that are
            quantised already.
    """

    def __init__(self, inventory: Inventory, schemes: Mapping[str, str], what: str):
        check_kinds(
            *((f"scheme[{name!r}]", each, "a str") for name, each in schemes.items())
        )
        self.inventory, self.select, self.linear = inventory, None, None
        self.scheme = what
        self._codecs = {
            name: codec_of(scheme) for name, scheme in schemes.items() if scheme
        }
        _refuse_packed(inventory)
        names = {name_of(key) for key in inventory.columns.keys}
        for name in schemes:
            if name not in names:
                raise nothing_matches(inventory.target or "the tree", name, names)

    @property
    def note(self) -> str:
        """What is to be said of the choice."""
        return "a scheme for each tensor, the rest as it is"

    def of(self, key: Key, kind: Kind) -> Chosen | None:
        """Return how a tensor is stored; None where it stays as it is."""
        codec = self._codecs.get(name_of(key))
        if codec is None or (dtypes.find(codec.dtype).block < 2 and codec.dtype in _FLOATS):
            return None
        return Chosen(codec, not self._is_rows(key, kind))

    def nothing(self, names: list[str]) -> InputError:
        """Return the error where nothing is quantised."""
        return InputError(
            self.inventory.target or "the tree",
            found="no tensor is given a scheme",
            expected="a scheme for at least one",
        )


def _refuse_packed(inventory: Inventory) -> None:
    if is_packed(inventory):
        columns = inventory.columns
        kinds = (columns.kind(index) for index in range(len(columns.keys)))
        packed = (
            name_of(key)
            for key, kind in zip(columns.keys, kinds)
            if kind.collection == "quantization"
            or kind.stored
            or dtypes.find(kind.dtype).block > 2
        )
        raise InputError(
            inventory.target or "the tree",
            found=f"is quantised already: {printable(next(packed, ''))}",
            expected="weights as floats",
            cure="ex.dequantize(tree) makes them plain arrays",
        )
