"""ggml's block types: `encode` against ggml's own C quantiser, one core, the same call.

python benchmarks/quantise_ggml.py [LIBRARY] [MB] [TYPE ...]

LIBRARY is a shared library that exports `ggml_quantize_chunk`: xllamacpp's module, or
libggml-base.so of a build of llama.cpp. Without it, explorer's own speed is printed. Processor
time of this process, the best of three; bytes are compared too. Without types: Q4_K on a tensor
of MB megabytes (500), the others on a tenth of it.
"""

import os
import sys
from functools import partial
from pathlib import Path
from time import process_time

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from timing import best_call, report

from explorer import dtypes
from explorer.transforms.quantisation.ggml import encode
from tests.conformance.ggml_blocks import NUMBERS, Quantiser

_best = partial(best_call, clock=process_time)


def main(library: str = "", megabytes: str = "500", *kinds: str) -> None:
    """Print each type's ratio."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    theirs = Quantiser(library) if library else None
    size = int(megabytes) * 1_000_000 // 4 // 4096
    rows = np.random.default_rng(0).standard_normal((size, 4096), np.float32)
    rows *= np.float32(0.02)
    for kind in kinds or ("q4_k", *(name for name in NUMBERS if name != "q4_k")):
        _compare(rows if kind == "q4_k" else rows[: size // 10], kind, theirs)


def _compare(rows: np.ndarray, kind: str, theirs: Quantiser | None) -> None:
    ours = _best(lambda: encode(rows, kind))
    if theirs is None:
        print(f"{kind}: {rows.nbytes / ours / 1e6:.0f} MB/s")
        return
    took = _best(lambda: theirs(rows, kind))
    goal = "at least half its speed" if kind == "q4_k" else "none set"
    what = f"{kind}, {rows.nbytes / 1e6:.0f} MB, {rows.nbytes / ours / 1e6:.0f} MB/s"
    report(what, ours, "ggml's C", took, goal=goal)
    size = dtypes.find(kind).block_bytes
    found, expected = (each(rows, kind).reshape(-1, size) for each in (encode, theirs))
    same = int((found == expected).all(1).sum())
    print(f"  blocks with the same bytes: {same:,} of {len(found):,}")


if __name__ == "__main__":
    main(*sys.argv[1:])
