"""Regenerate tests/data/ggml_blocks.npz: `python -m tests.conformance.ggml_blocks LIBRARY`.

Rows of hard cases and the bytes that ggml's own C quantiser makes of them, without and with an
importance matrix. LIBRARY is a shared library that exports `ggml_quantize_chunk`, such as the
module of the package xllamacpp, or libggml-base.so of a build of llama.cpp, for x86-64.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np

__all__ = ["NUMBERS", "WEIGHTED", "Quantiser", "hard_rows"]

_FILE = Path(__file__).parents[1] / "data" / "ggml_blocks.npz"
NUMBERS = {
    "float16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_k": 10, "q3_k": 11,
    "q4_k": 12, "q5_k": 13, "q6_k": 14, "iq4_nl": 20, "iq4_xs": 23, "bfloat16": 30, "tq1_0": 34,
    "tq2_0": 35, "mxfp4": 39, "nvfp4": 40,
}  # fmt: skip
# those of which an importance matrix changes the bytes
WEIGHTED = (
    "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs",
)  # fmt: skip


class Quantiser:
    """ggml's own quantiser, of a shared library."""

    def __init__(self, library: str):
        self._ggml = ctypes.CDLL(library)
        whole, address = ctypes.c_int64, ctypes.c_void_p
        self._ggml.ggml_row_size.restype = ctypes.c_size_t
        self._ggml.ggml_row_size.argtypes = [ctypes.c_int, whole]
        self._ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
        self._ggml.ggml_quantize_chunk.argtypes = [
            ctypes.c_int, address, address, whole, whole, whole, address,
        ]  # fmt: skip

    def __call__(
        self, rows: np.ndarray, kind: str, importance: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the bytes of rows, `[n, bytes of a row]`; importance is `[k]` float32."""
        rows = np.ascontiguousarray(rows, np.float32)
        number, (n, k) = NUMBERS[kind], rows.shape
        found = np.zeros((n, self._ggml.ggml_row_size(number, k)), np.uint8)
        self._ggml.ggml_quantize_init(number)
        size = self._ggml.ggml_quantize_chunk(
            number,
            rows.ctypes.data,
            found.ctypes.data,
            0,
            n,
            k,
            None if importance is None else importance.ctypes.data,
        )
        assert size == found.nbytes, (kind, size)
        return found


def hard_rows() -> dict[str, np.ndarray]:
    """Return rows of 256 by what is hard about them."""
    random = np.random.default_rng(0)
    normal = (random.standard_normal((4, 256)) * 0.02).astype(np.float32)
    outliers, sparse = normal.copy(), normal.copy()
    outliers[random.random(normal.shape) < 0.01] *= 100
    sparse[random.random(normal.shape) < 0.9] = 0
    scales = np.exp(random.uniform(-25, 3, (8, 4))).astype(np.float32).repeat(32, 0)
    wide = np.exp(random.uniform(-60, 20, (2, 256))) * random.choice([-1, 1], (2, 256))
    signs = np.abs(normal) * (random.random(normal.shape) < 0.5)
    signs[signs == 0] *= random.choice([-1, 1], (signs == 0).sum())
    ones, ramp = np.ones((1, 256), np.float32), np.arange(256, dtype=np.float32)[None]
    alternating = ones.copy()
    alternating[:, 1::2] = -1
    single, few = np.zeros_like(ones), np.zeros_like(ones)
    single[0, 3], few[0, ::32] = 5, -3
    f32 = np.float32
    return {
        "normal": normal,
        "outliers": outliers,
        "sparse": sparse,
        "positive": np.abs(normal),
        "negative": -np.abs(normal) - f32(0.01),
        "groups of many scales": normal * scales.T.reshape(4, 256),
        "numbers of many scales": wide.astype(np.float32),
        "whole steps": np.round(normal * f32(200)) / f32(64),
        "heavy tails": (random.standard_t(3, (4, 256)) * 0.05).astype(np.float32),
        "zeros": ones * 0,
        "zeros below 0": ones * f32(-0.0),
        "zeros of every sign": random.choice([0.0, -0.0], (2, 256)).astype(np.float32),
        "constant": ones * f32(0.02),
        "constant below 0": -ones,
        "alternating": alternating,
        "one value": single,
        "one value a group": few,
        "zeros of both signs": signs.astype(np.float32),
        "ramp": ramp,
        "ramp down": -ramp,
        "tiny": normal * f32(1e-12),
        "tinier": normal * f32(1e-18),
        "denormal": normal[:2] * f32(1e-37),
        "smallest": normal[:2] * f32(1e-41),
        "huge": normal[:2] * f32(1e10),
        "overflowing squares": normal[:2] * f32(1e30),
    }


def main(library: str) -> None:
    """Write the rows, and the bytes of each type."""
    quantise, rows = Quantiser(library), hard_rows()
    every = np.concatenate(list(rows.values()))
    arrays = {kind: quantise(every, kind) for kind in NUMBERS}
    importance = np.random.default_rng(1).chisquare(1, 256).astype(np.float32)
    importance[::19] = 0
    for kind in WEIGHTED:
        arrays[f"weighted {kind}"] = quantise(every, kind, importance)
    arrays["importance"] = importance
    names = np.repeat(list(rows), [len(each) for each in rows.values()])
    with _FILE.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, rows=every, names=names, **arrays)
    print(f"{len(every)} rows, {_FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
