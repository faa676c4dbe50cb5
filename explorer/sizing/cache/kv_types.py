"""The dtypes that each engine's cache can have, of keys and of values."""

import difflib
from typing import NamedTuple

from explorer import dtypes
from explorer.dtypes import DType
from explorer.errors import InputError, printable
from explorer.sizing.cache.layers import CachedLayers
from explorer.sizing.records import Workload

__all__ = ["KvTypes", "check_blocks", "kv_types", "state_types"]

_FLOATS = {
    "f32": "float32", "fp32": "float32", "float": "float32", "float32": "float32",
    "f16": "float16", "fp16": "float16", "half": "float16", "float16": "float16",
    "bf16": "bfloat16", "bfloat16": "bfloat16",
}  # fmt: skip
_FP8 = {
    "fp8": "float8_e4m3fn", "fp8_e4m3": "float8_e4m3fn", "float8_e4m3fn": "float8_e4m3fn",
    "fp8_e5m2": "float8_e5m2", "float8_e5m2": "float8_e5m2",
}  # fmt: skip
# llama.cpp: kv_cache_types in common/arg.cpp. vllm: CacheDType in vllm/config/cache.py. sglang:
# --kv-cache-dtype in server_args.py, whose fp4 has one scale byte for 16 elements as nvfp4 has.
_ALLOWED: dict[str, dict[str, str]] = {
    "jax": {
        **_FLOATS, **_FP8, "float64": "float64", "int8": "int8", "int4": "int4", "uint8": "uint8",
    },
    "llama.cpp": {
        **_FLOATS, "q8_0": "q8_0", "q4_0": "q4_0", "q4_1": "q4_1", "iq4_nl": "iq4_nl",
        "q5_0": "q5_0", "q5_1": "q5_1",
    },
    "vllm": {**_FLOATS, **_FP8, "nvfp4": "nvfp4"},
    "sglang": {**_FLOATS, **_FP8, "fp4_e2m1": "nvfp4"},
}  # fmt: skip
_WIDE = ("float64", "float32", "float16", "bfloat16")


class KvTypes(NamedTuple):
    """The dtypes of keys and of values."""

    key: DType
    value: DType


def kv_types(workload: Workload, published: str) -> KvTypes:
    """Return the dtypes of keys and values that a workload asks for, or the engine's own.

    llama.cpp's own is float16, that of the others the dtype of the model as it runs: a
    quantised one runs in bfloat16.

    Args:
        workload: with `kv_dtype`: one name, or those of keys and values: "q8_0/q4_0".
        published: the dtype of the published weights.

    Raises:
        InputError: a dtype that the engine's cache cannot have; the error suggests the nearest.

    >>> types = kv_types(Workload(engine="llama.cpp", kv_dtype="q8_0/q4_0"), "bfloat16")
    >>> types.key.name, types.value.bits
    ('q8_0', 4.5)
    """
    if workload.kv_dtype is None or workload.kv_dtype == "auto":
        own = dtypes.find(_own(workload, published))
        return KvTypes(own, own)
    if not isinstance(workload.kv_dtype, str):
        raise _unknown(workload.engine, workload.kv_dtype)
    first, slash, second = workload.kv_dtype.partition("/")
    key = _named(workload.engine, first)
    return KvTypes(key, _named(workload.engine, second) if slash else key)


def _own(workload: Workload, published: str) -> str:
    if workload.engine == "llama.cpp":
        return "float16"
    return next((name for name in (workload.dtype, published) if name in _WIDE), "bfloat16")


def _named(engine: str, text: str) -> DType:
    name = _ALLOWED[engine].get(text.strip().lower())
    if name is None:
        raise _unknown(engine, text)
    return dtypes.find(name)


def _unknown(engine: str, found: object) -> InputError:
    known = _ALLOWED[engine]
    near = difflib.get_close_matches(str(found).strip().lower()[:40], known, 1, 0.5)
    return InputError(
        "kv_dtype",
        found=f"{engine} has no cache of {printable(found, 40)!r}",
        expected=f"one of {', '.join(dict.fromkeys(known.values()))}",
        cure=f"did you mean {near[0]}?" if near else "",
    )


def check_blocks(types: KvTypes, cached: tuple[CachedLayers, ...]) -> None:
    """Raise an InputError where heads are not whole blocks of a block-quantised dtype.

    llama.cpp refuses them too ("block size does not divide n_embd_head_k", llama-context.cpp).
    """
    for kind in cached:
        for dtype, size, what in (
            (types.key, kind.key, "keys"),
            (types.value, kind.value, "values"),
        ):
            if size % dtype.block:
                raise InputError(
                    "kv_dtype",
                    found=f"{what} of {size} elements are not blocks of {dtype.name}",
                    expected=f"heads of a multiple of {dtype.block} elements",
                    cure="float16 has no blocks",
                )


def state_types(workload: Workload, published: str) -> tuple[DType, DType]:
    """Return the dtypes of a convolution's inputs and of a recurrent state.

    llama.cpp keeps both in float32 (llama-memory-recurrent.cpp); vllm, sglang and
    transformers keep the first in the model's dtype.
    """
    exact = dtypes.find("float32")
    if workload.engine == "llama.cpp":
        return exact, exact
    return dtypes.find(_own(workload, published)), exact
