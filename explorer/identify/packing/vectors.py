"""Weights stored as codes of vectors and trellises: EXL3, QTIP, QuIP#, AQLM, VPTQ, HIGGS, SpQR.

Layouts were read in the code that writes them: exllamav3 (`LinearEXL3`), qtip and
quip-sharp (`QuantizedLinear`), aqlm 1.1 (`QuantizedLinear`), vptq 0.0.5
(`VQuantLinear`), transformers 5.24 (`HiggsLinear`), spqr_quant 0.2 (`QuantizedLinear`),
compressed-tensors (`BitmaskTensor`).
"""

import math

from explorer.dtypes import find
from explorer.identify.packing.evidence import Claim, Reading, Stored

__all__ = [
    "codes_of",
    "read_aqlm",
    "read_bitmask",
    "read_exl3",
    "read_higgs",
    "read_qtip",
    "read_quip",
    "read_spqr",
    "read_vptq",
]

_TILE = 16  # rows and columns of EXL3's and SpQR's tiles


def codes_of(bits: float) -> str:
    """Return the smallest format that holds codes of so many bits a weight.

    >>> codes_of(2), codes_of(3.5), codes_of(7)
    ('uint2', 'uint4', 'uint8')
    """
    whole = max(1, math.ceil(bits))
    return f"uint{whole if whole <= 6 else 8}"


def _bits(stored: Stored, size: int) -> float:
    """Return the stored bits for each of `size` weights."""
    return 8 * find(stored.dtype).nbytes(math.prod(stored.shape)) / size if size else 0


def _flat(part: Stored | None) -> int:
    return part.shape[0] if part and len(part.shape) == 1 else 0


def read_exl3(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read trellis I16 [in/16, out/16, 16*bits] with sign vectors suh [in] and svh [out].

    The first files keep the signs as bits, in su [in/16] and sv [out/16].
    """
    if weight.dtype not in ("int16", "uint16") or len(weight.shape) != 3:
        return None
    rows, columns, words = weight.shape
    out, width = columns * _TILE, rows * _TILE
    signs = state.get("/svh") or state.get("/sv")
    for in_, out_ in ((width, out), (rows, columns)):
        if scale.shape == (in_,) and signs and signs.shape == (out_,) and out:
            bits = words / _TILE  # 24 words: 1.5 bits
            rule = f"EXL3, {bits:g} bits a weight"
            state_ = "EXL3 sign vectors and codebook marks"
            return Reading((out, width), codes_of(bits), rule, state_)
    return None


def read_qtip(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read trellis I16 [tiles, words] with SU [in] and SV [out]."""
    return _read_by_signs(weight, scale, state, "QTIP")


def read_quip(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read Qidxs [out, in/8], or packed further, with SU [in] and SV [out]."""
    return _read_by_signs(weight, scale, state, "QuIP#")


def _read_by_signs(
    weight: Stored, scale: Stored, state: dict[str, Stored], name: str
) -> Reading | None:
    width, out = _flat(scale), _flat(state.get("/SV"))
    bits = _bits(weight, width * out)
    if len(weight.shape) != 2 or not 1 <= bits <= 8 or not (2 * bits).is_integer():
        return None
    rule = f"{name}, {bits:g} bits a weight"
    return Reading(
        (out, width), codes_of(bits), rule, f"{name} sign vectors, scales and codebooks"
    )


def read_aqlm(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read codes [out groups, in groups, books] and codebooks [books, size, out, in].

    The scales, [out groups, 1, 1, 1], lead to them.
    """
    books = state.get("/codebooks")
    if books is None or len(books.shape) != 4 or len(weight.shape) != 3:
        return None
    count, size, *group = books.shape
    groups = weight.shape[:2]
    if weight.shape[2] != count or size < 2 or scale.shape != (groups[0], 1, 1, 1):
        return None
    shape = (groups[0] * group[0], groups[1] * group[1])
    bits = count * math.log2(size) / max(math.prod(group), 1)
    rule = f"AQLM, {bits:.4g} bits a weight"
    return Reading(shape, codes_of(bits), rule, "AQLM codebooks and scales")


def read_vptq(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read indices [books, vectors, words] and centroids.weight [books, size * length].

    The width is that of perm, or of weight_scale; how long a vector is only the layer's
    shape in config.json tells, or the number of its biases.
    """
    if len(weight.shape) != 3 or len(scale.shape) != 2 or weight.shape[0] != scale.shape[0]:
        return None
    vectors = weight.shape[1]
    width = _flat(state.get("/perm")) or _flat(state.get("/weight_scale"))
    known = [claim.shape for claim in claims if len(claim.shape) == 2]
    bias = _flat(state.get("/bias"))
    if not known and bias and width:
        known = [(bias, width)]
    for out, in_ in known:
        length = -(-out // vectors) if vectors else 0
        fits = length > 1 and -(-out // length) == vectors and not scale.shape[1] % length
        bits = _bits(weight, out * in_)
        if fits and width in (0, in_) and 0 < bits <= 8:
            rule = f"VPTQ, {bits:.3g} bits a weight"
            return Reading((out, in_), codes_of(bits), rule, "VPTQ centroids and indices")
    return None


def read_higgs(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read weight I16 [out*bits/16, in], scales [out, groups] and tables [2**bits]."""
    grid = _flat(state.get("/tables"))
    if weight.dtype != "int16" or len(weight.shape) != 2 or len(scale.shape) != 2:
        return None
    (rows, width), (out, groups) = weight.shape, scale.shape
    bits = grid.bit_length() - 1
    if bits < 1 or grid != 1 << bits or rows * 16 != out * bits:
        return None
    if not groups or width % groups:
        return None
    rule = f"HIGGS {bits}-bit"
    return Reading((out, width), codes_of(bits), rule, "HIGGS scales and tables")


def read_spqr(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read dense_weights I64, a word for each row of a 16x16 tile.

    in_perm, two to a word, is as long as a row; row_offsets has one more than there are
    rows, or is ordered otherwise.
    """
    if weight.dtype != "int64" or len(weight.shape) != 1 or not _flat(scale):
        return None
    offsets = state.get("/row_offsets")
    width, words = 2 * _flat(scale), weight.shape[0]
    per_row_of_tiles = -(-width // _TILE) * _TILE
    tiles, rest = divmod(words, per_row_of_tiles)
    if rest or not tiles:
        return None
    rows, known = _flat(offsets) - 1, ""
    if -(-rows // _TILE) != tiles:
        rows, known = tiles * _TILE, ", rows assumed a multiple of 16"
    rule = f"SpQR 3-bit{known}"
    return Reading((rows, width), "uint3", rule, "SpQR outliers and permutations")


def read_bitmask(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read a sparse weight: its values that are not zero, and a bit for every element."""
    if scale.dtype != "uint8" or len(scale.shape) != 2:
        return None
    rows, columns = scale.shape[0], scale.shape[1] * 8
    if math.prod(weight.shape) > rows * columns:
        return None
    rule = "a sparse bitmask, counted with its zeros"
    return Reading((rows, columns), weight.dtype, rule, "bitmasks of sparse weights")
