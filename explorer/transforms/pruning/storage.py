"""What zeros save if they are stored sparsely, and whether that pays."""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from explorer.sizing.weights.groups import Matrix
from explorer.sizing.weights.pruning import Pruning, pruned_scheme
from explorer.transforms.pruning.patterns import Pattern

__all__ = ["PrunedMatrices", "sparse_bytes", "storage_note"]


class PrunedMatrices(NamedTuple):
    """The matrices of a kernel, the dtype they are stored in, and how many entries are zero."""

    matrix: Matrix
    dtype: str
    zeros: int


def sparse_bytes(kernels: Iterable[PrunedMatrices], pattern: Pattern) -> dict[str, int]:
    """Return the bytes that pruned kernels take, dense and in each sparse way of storing them.

    Args:
        kernels: those that were pruned.
        pattern: what was pruned: only n:m has its own way of being stored.

    >>> from explorer.transforms.pruning.patterns import parse_pattern
    >>> kernel = PrunedMatrices(Matrix(1, 64, 64), "bfloat16", 2048)
    >>> sparse_bytes([kernel], parse_pattern("2:4"))
    {'dense': 8192, 'bitmask': 4608, 'csr': 12548, '2:4': 4608}
    """
    ways = ["dense", "bitmask", "csr", *(["n:m"] if pattern.block else [])]
    found = dict.fromkeys(ways, 0)
    for matrix, dtype, zeros in kernels:
        number = matrix.stack * matrix.size
        kept = Fraction(number - zeros, number)
        # as one tall matrix: rows of all that are stacked
        tall = Matrix(1, matrix.inputs, matrix.stack * matrix.outputs)
        for way in ways:
            block = pattern.block if way == "n:m" else 0
            if block:
                kept = 1 - pattern.share
            sizes = pruned_scheme(Pruning(kept, block, way), dtype).sizes(tall)
            found[way] += sum(sizes) if sizes is not None else 0
    if pattern.block:
        found[pattern.text] = found.pop("n:m")
    return found


def storage_note(kernels: Iterable[PrunedMatrices], pattern: Pattern) -> str:
    """Return one line: what storing pruned kernels sparsely would take, and what does not pay.

    >>> from explorer.transforms.pruning.patterns import parse_pattern
    >>> kernel = PrunedMatrices(Matrix(1, 64, 64), "bfloat16", 2048)
    >>> storage_note([kernel], parse_pattern("0.5"))
    'zeros are stored as zeros: pruned kernels take 8,192 bytes, as a bitmask 4,608; as csr 12,548, \
which does not pay'
    """
    found = sparse_bytes(kernels, pattern)
    dense = found.pop("dense")
    words = {"bitmask": "a bitmask"}
    pays = [f"as {words.get(w, w)} {n:,}" for w, n in found.items() if n < dense]
    wasted = [f"as {words.get(w, w)} {n:,}" for w, n in found.items() if n >= dense]
    text = ", ".join(
        [f"zeros are stored as zeros: pruned kernels take {dense:,} bytes", *pays]
    )
    does = "does" if len(wasted) == 1 else "do"
    return f"{text}; {', '.join(wasted)}, which {does} not pay" if wasted else text
