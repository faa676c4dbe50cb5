"""One table of dtypes: their sizes, their kinds, their names in each file format.

A dtype stores `block` elements in `block_bytes` bytes, so that 4-bit and block-quantised
dtypes have exact integer sizes. Names are those of NumPy and ml_dtypes; block-quantised
dtypes have ggml's names.
"""

from typing import Literal, NamedTuple

from explorer.errors import InputError, printable

__all__ = [
    "DType",
    "find",
    "find_ggml",
    "find_safetensors",
    "find_torch",
    "ggml_number",
    "is_trainable",
    "parse",
    "safetensors_name",
]

Kind = Literal["float", "complex", "int", "uint", "bool", "key", "text"]


class DType(NamedTuple):
    """A dtype; `block` elements take `block_bytes` bytes."""

    name: str
    kind: Kind
    block: int
    block_bytes: int

    @property
    def bits(self) -> float:
        """Stored bits per element, scales inside the block included."""
        return 8 * self.block_bytes / self.block

    def nbytes(self, size: int) -> int:
        """Return the bytes of `size` elements, rounded up to full blocks.

        >>> find("int4").nbytes(3), find("q4_k").nbytes(256)
        (2, 144)
        """
        return -(-size // self.block) * self.block_bytes


# PyTorch's quantised formats (qint8) and ggml's are numbers on a scale: their kind is float
# name, kind, elements per block, bytes per block, safetensors' name, torch's name
_PLAIN = """
bool            bool    1  1  BOOL         bool
int1            int     8  1  -            -
int2            int     4  1  -            -
int3            int     8  3  -            -
int4            int     2  1  -            -
int5            int     8  5  -            -
int6            int     4  3  -            -
int7            int     8  7  -            -
int8            int     1  1  I8           int8
int16           int     1  2  I16          int16
int32           int     1  4  I32          int32
int64           int     1  8  I64          int64
uint1           uint    8  1  -            -
uint2           uint    4  1  -            -
uint3           uint    8  3  -            -
uint4           uint    2  1  -            -
uint5           uint    8  5  -            -
uint6           uint    4  3  -            -
uint8           uint    1  1  U8           uint8
uint16          uint    1  2  U16          uint16
uint32          uint    1  4  U32          uint32
uint64          uint    1  8  U64          uint64
float4_e2m1fn   float   2  1  F4           -
float6_e2m3fn   float   4  3  F6_E2M3      -
float6_e3m2fn   float   4  3  F6_E3M2      -
float8_e3m4     float   1  1  -            -
float8_e4m3     float   1  1  -            -
float8_e4m3b11fnuz float 1 1  -            -
float8_e4m3fn   float   1  1  F8_E4M3      float8_e4m3fn
float8_e4m3fnuz float   1  1  F8_E4M3FNUZ  float8_e4m3fnuz
float8_e5m2     float   1  1  F8_E5M2      float8_e5m2
float8_e5m2fnuz float   1  1  F8_E5M2FNUZ  float8_e5m2fnuz
float8_e8m0fnu  float   1  1  F8_E8M0      float8_e8m0fnu
float16         float   1  2  F16          float16
bfloat16        float   1  2  BF16         bfloat16
float32         float   1  4  F32          float32
float64         float   1  8  F64          float64
float128        float   1  16 -            -
complex32       complex 1  4  -            complex32
bcomplex32      complex 1  4  -            -
complex64       complex 1  8  C64          complex64
complex128      complex 1  16 -            complex128
complex256      complex 1  32 -            -
qint8           float   1  1  -            qint8
quint8          float   1  1  -            quint8
qint32          float   1  4  -            qint32
quint4x2        float   2  1  -            quint4x2
quint2x4        float   4  1  -            quint2x4
nf4             float   2  1  -            -
fp4             float   2  1  -            -
"""

# ggml's number, name, elements per block, bytes per block (ggml.h and ggml-common.h)
_GGML = """
2 q4_0 32 18;   3 q4_1 32 20;   6 q5_0 32 22;    7 q5_1 32 24;    8 q8_0 32 34
9 q8_1 32 40;   10 q2_k 256 84; 11 q3_k 256 110; 12 q4_k 256 144; 13 q5_k 256 176
14 q6_k 256 210; 15 q8_k 256 292; 16 iq2_xxs 256 66; 17 iq2_xs 256 74
18 iq3_xxs 256 98; 19 iq1_s 256 50; 20 iq4_nl 32 18; 21 iq3_s 256 110
22 iq2_s 256 82; 23 iq4_xs 256 136; 29 iq1_m 256 56; 31 q4_0_4_4 32 18
32 q4_0_4_8 32 18; 33 q4_0_8_8 32 18; 34 tq1_0 256 54; 35 tq2_0 256 66
36 iq4_nl_4_4 32 18; 37 iq4_nl_4_8 32 18; 38 iq4_nl_8_8 32 18; 39 mxfp4 32 17
40 nvfp4 64 36; 41 q1_0 128 18; 42 q2_0 64 18
"""
# those of forks: Prism's, then ik_llama.cpp's, whose rows may have scales of their own
_GGML_FORKS = """
142 pq2_0 128 34; 143 ptq1_0 128 28; 97 q8_0_x4 32 34; 98 q8_1_x4 32 36; 99 q8_2_x4 32 36
133 q6_0 32 26; 134 iq1_bn 64 13; 135 iq2_bn 64 16; 136 q8_k64 64 68; 137 iq2_k 256 76
138 iq3_k 256 110; 139 iq4_k 256 144; 140 iq5_k 256 176; 141 iq6_k 256 212
144 iq4_ks 256 136; 145 iq2_ks 256 70; 146 iq4_kss 256 128; 147 q8_k16 64 64
148 q8_k32 256 292; 149 q8_kr8 256 292; 150 q8_k128 128 140; 151 q8_kv 32 32
152 iq5_ks 256 168; 153 iq2_kt 256 68; 154 iq3_kt 256 100; 155 iq4_kt 256 128
156 iq3_ks 256 102; 157 iq2_kl 256 86; 158 iq1_kt 256 56; 202 q4_0_r8 32 18
206 q5_0_r4 32 22; 208 q8_0_r8 32 34; 210 q2_k_r4 256 84; 211 q3_k_r4 256 110
212 q4_k_r4 256 144; 213 q5_k_r4 256 176; 214 q6_k_r4 256 210; 216 iq2_xxs_r4 256 66
217 iq2_xs_r4 256 74; 218 iq3_xxs_r4 256 98; 219 iq1_s_r4 32 6; 220 iq4_nl_r4 32 18
221 iq3_s_r4 256 110; 222 iq2_s_r4 256 82; 223 iq4_xs_r8 256 136; 229 iq1_m_r4 32 7
230 bf16_r16 1 2; 233 q6_0_r4 32 26; 335 iq2_bn_r4 64 16; 337 iq2_k_r4 256 76
338 iq3_k_r4 256 110; 339 iq4_k_r4 256 144; 340 iq5_k_r4 256 176; 344 iq4_ks_r4 256 136
352 iq5_ks_r4 256 168; 398 q8_kv_r8 32 32; 399 q8_k_r8 256 258
"""
# bitnet.cpp's, under numbers of ggml's own: the bytes in the file tell them from those
_BITNET = (("i2_s", 4, 1), ("i8_s", 1, 1), ("tl1", 4, 1), ("tl2", 24, 5))
_GGML_PLAIN = {
    0: "float32",
    1: "float16",
    24: "int8",
    25: "int16",
    26: "int32",
    27: "int64",
    28: "float64",
    30: "bfloat16",
}

_by_name: dict[str, DType] = {}
_by_safetensors: dict[str, DType] = {}
_by_torch: dict[str, DType] = {}
_by_ggml: dict[int, DType] = {}


def _fill() -> None:
    for row in _PLAIN.split("\n")[1:-1]:
        name, kind, block, size, safetensors, torch = row.split()
        dtype = DType(name, kind, int(block), int(size))  # pyright: ignore[reportArgumentType]
        _by_name[name] = dtype
        if safetensors != "-":
            _by_safetensors[safetensors] = dtype
        if torch != "-":
            _by_torch[torch] = dtype
    for name, block, size in _BITNET:
        _by_name[name] = DType(name, "float", block, size)
    for row in (_GGML + _GGML_FORKS).replace("\n", ";").split(";"):
        if row.strip():
            number, name, block, size = row.split()
            dtype = DType(name, "float", int(block), int(size))
            _by_name[name] = _by_ggml[int(number)] = dtype
    for number, name in _GGML_PLAIN.items():
        _by_ggml[number] = _by_name[name]


_fill()


def find(name: str) -> DType:
    """Return the dtype of that name; an unknown name gives a dtype of kind "text".

    JAX's PRNG key dtypes (`key<fry>`) are recognised by their prefix: the size of a key,
    two to four 32-bit words, comes from the array.

    >>> find("bfloat16").bits, find("q4_k").bits
    (16.0, 4.5)
    """
    dtype = _by_name.get(name)
    if dtype is not None:
        return dtype
    return DType(name, "key" if name.startswith("key<") else "text", 1, 0)


# what people call the dtypes that have longer names
_SHORT = {
    "f64": "float64", "fp64": "float64", "double": "float64", "f32": "float32", "fp32": "float32",
    "float": "float32", "f16": "float16", "fp16": "float16", "half": "float16", "bf16": "bfloat16",
    "fp8": "float8_e4m3fn", "f8": "float8_e4m3fn", "e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2",
    "fp4": "float4_e2m1fn", "i8": "int8", "i4": "int4",
}  # fmt: skip


def parse(place: str, text: str) -> DType:
    """Return the dtype that a user names, by its long name or a short one.

    Raises:
        InputError: no dtype has that name; the error suggests the nearest.

    >>> parse("--dtype", "BF16").name, parse("--dtype", "q8_0").bits
    ('bfloat16', 8.5)
    """
    wanted = text.strip().lower()
    dtype = _by_name.get(_SHORT.get(wanted, wanted))
    if dtype is not None:
        return dtype
    import difflib  # seldom needed, and start-up is counted in milliseconds

    near = difflib.get_close_matches(wanted, [*_by_name, *_SHORT], 1, 0.5)
    raise InputError(
        place,
        found=f"no dtype is called {printable(text, 40)!r}",
        expected="bfloat16, float32, float16, float8_e4m3fn, int8, int4 or another",
        cure=f"did you mean {near[0]}?" if near else "",
    )


def find_safetensors(name: str) -> DType | None:
    """Return the dtype that safetensors calls `name` ("F8_E4M3"), or None."""
    return _by_safetensors.get(name)


def safetensors_name(name: str) -> str | None:
    """Return what safetensors calls a dtype of explorer's name, or None.

    >>> safetensors_name("bfloat16"), safetensors_name("q4_k")
    ('BF16', None)
    """
    found = (theirs for theirs, dtype in _by_safetensors.items() if dtype.name == name)
    return next(found, None)


def ggml_number(name: str) -> int | None:
    """Return the number in GGUF files of a dtype of explorer's name, or None.

    >>> ggml_number("q4_k"), ggml_number("complex64")
    (12, None)
    """
    return next((n for n, dtype in _by_ggml.items() if dtype.name == name), None)


def find_torch(name: str) -> DType | None:
    """Return the dtype that PyTorch calls `name` ("bfloat16"), or None."""
    return _by_torch.get(name)


def find_ggml(number: int) -> DType | None:
    """Return the dtype with that number in GGUF files, or None."""
    return _by_ggml.get(number)


def is_trainable(name: str) -> bool:
    """Return whether elements of this dtype can be trained by gradient.

    >>> is_trainable("bfloat16"), is_trainable("int64"), is_trainable("q4_k")
    (True, False, True)
    """
    return find(name).kind in ("float", "complex")
