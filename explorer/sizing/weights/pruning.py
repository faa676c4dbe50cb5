"""Pruned kernels: what zeros save under each way to store them, alone or over another scheme.

Zeros in a dense array save nothing. A bitmask takes a bit for each element, CSR a 32-bit column
for each one kept, and n:m formats log2(m) bits for each one kept.

References:
    Mishra et al., Accelerating Sparse Deep Neural Networks (2021): 2:4 and its indices.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from explorer import dtypes
from explorer.errors import InputError, shown
from explorer.sizing.weights.groups import Matrix
from explorer.sizing.weights.schemes import LinearScheme, Sizes

__all__ = ["Pruning", "parse_pruning", "pruned_scheme"]

_STORED = ("dense", "bitmask", "csr", "n:m")


class Pruning(NamedTuple):
    """Which share of the elements of a kernel is kept, and how they are stored.

    Attributes:
        kept: the share of elements that stay.
        block: m of n:m, 0 for a pattern without blocks.
        stored: "dense", "bitmask", "csr" or "n:m".
    """

    kept: Fraction
    block: int = 0
    stored: str = "dense"

    @property
    def words(self) -> str:
        """What was asked for, in words."""
        if self.block:
            return f"{self.kept * self.block} of {self.block} kept"
        return f"{float(1 - self.kept):.0%} pruned"


def parse_pruning(text: str) -> Pruning:
    """Return what "0.5", "2:4" or "0.5:csr" asks for.

    A pattern of n:m is stored with its indices unless "dense" is asked for.

    Raises:
        InputError: a text of another form, or a share that is not between 0 and 1.

    >>> parse_pruning("2:4"), parse_pruning("0.9:bitmask").stored
    (Pruning(kept=Fraction(1, 2), block=4, stored='n:m'), 'bitmask')
    """
    share, *rest = text.strip().split(":")
    block = 0
    try:
        if rest and rest[0].isdecimal():
            block = int(rest.pop(0))
            kept = Fraction(int(share), block)
        else:
            kept = 1 - Fraction(share)
    except (ValueError, ZeroDivisionError):
        raise _wrong(text) from None
    stored = rest.pop(0).lower() if rest else ("n:m" if block else "dense")
    is_known = stored in _STORED and (block > 0 or stored != "n:m")
    if rest or not is_known or not 0 < kept < 1 or block > 1024:
        raise _wrong(text)
    return Pruning(kept, block, stored)


def _wrong(text: str) -> InputError:
    return InputError(
        "prune",
        found=shown(text, 40),
        expected="a share between 0 and 1 or n:m, and how it is stored: 0.5, 2:4, 0.9:csr, "
        "0.5:bitmask",
    )


def pruned_scheme(pruning: Pruning, base: LinearScheme | str) -> LinearScheme:
    """Return the scheme that stores pruned kernels.

    Args:
        pruning: which share is kept, and how it is stored.
        base: the scheme or the dtype that the kept values are in.

    >>> pruned_scheme(parse_pruning("2:4"), "bfloat16").sizes(Matrix(1, 64, 64))
    Sizes(values=4096, scales=512)
    """

    def sizes(matrix: Matrix) -> Sizes | None:
        whole = _whole(base, matrix)
        if whole is None or pruning.stored == "dense":
            return whole
        if pruning.block and matrix.inputs % pruning.block:
            return whole
        kept = _kept(matrix, pruning)
        values = -(-whole.values * kept // matrix.size)
        return Sizes(values, whole.scales + _INDICES[pruning.stored](matrix, kept, pruning))

    name = base if isinstance(base, str) else base.name
    return LinearScheme(f"{name} {pruning.words}", sizes, _note(pruning))


def _whole(base: LinearScheme | str, matrix: Matrix) -> Sizes | None:
    if isinstance(base, str):
        return Sizes(dtypes.find(base).nbytes(matrix.size), 0)
    return base.sizes(matrix)


def _kept(matrix: Matrix, pruning: Pruning) -> int:
    return -(-matrix.size * pruning.kept.numerator // pruning.kept.denominator)


def _bitmask(matrix: Matrix, kept: int, pruning: Pruning) -> int:
    return -(-matrix.size // 8)


def _csr(matrix: Matrix, kept: int, pruning: Pruning) -> int:
    return 4 * kept + 4 * (matrix.outputs + 1)


def _n_of_m(matrix: Matrix, kept: int, pruning: Pruning) -> int:
    return -(-kept * (pruning.block - 1).bit_length() // 8)


_INDICES: dict[str, Callable[[Matrix, int, Pruning], int]] = {
    "bitmask": _bitmask,
    "csr": _csr,
    "n:m": _n_of_m,
}


def _note(pruning: Pruning) -> str:
    if pruning.stored == "dense":
        return (
            f"kernels of layers, {pruning.words}, stored as dense arrays: zeros take the bytes "
            "that values take (0.5:bitmask, 0.5:csr and 2:4 store less)"
        )
    how = {
        "bitmask": "with a bit for each element",
        "csr": "with a 32-bit column for each element kept, and row starts",
        "n:m": "with an index for each element kept",
    }[pruning.stored]
    return f"kernels of layers, {pruning.words}, stored {how}"
