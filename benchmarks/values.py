"""Statistics of values in one pass, against nine separate passes of NumPy and of torch.

python benchmarks/values.py [MB] [--torch PYTHON] [--sft SFT]

PYTHON is an interpreter of an environment with torch, which explorer's own need not have, and SFT
the command of sft-cli; each is run in a process of its own, on the same core.

Every figure is the best of several runs in one process on one core, in seconds of that core, so
that other processes of the machine disturb it less. "Nine passes" are min, max, mean, standard
deviation, two norms, zeros, NaN and infinities: sums in float64, as explorer's are, and as NumPy
and torch take them if nothing is said.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import process_time

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from timing import best, best_call, peak_memory, report

import explorer as ex

sys.path.append(str(Path(__file__).parents[1]))  # where the tests are
from tests.checkpoints import write_sparse

_SMALL, _TENSORS = 12_500, 10_000
_best = partial(best_call, clock=process_time)


def main(megabytes: int, torch: str | None, sft: str | None) -> None:
    """Print the ratios of large float32 and bfloat16 tensors, then of many small ones."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    size = megabytes * 1_000_000 // 4
    array = np.random.default_rng(0).standard_normal(size, np.float32)
    fastest = _best(array.min, 7)
    print(f"np.min alone: {array.nbytes / fastest / 1e9:.1f} GB/s")
    peers = _peers(array, torch)
    moments = _best(lambda: ex.describe({"w": array}, statistics="moments"), 7)
    whole = _best(lambda: ex.describe({"w": array}), 7)
    for peer, theirs in peers.items():
        report("float32, moments", moments, peer, theirs, goal="20x faster")
        report(
            "float32, quantiles and histogram too", whole, peer, theirs, goal="10x faster"
        )
    theirs = _best(lambda: _nine(array, np.float64, more=True), 1)
    peer = "NumPy, nine passes, np.quantile, np.histogram"
    report("float32, all that these compute too", whole, peer, theirs, goal="none set")
    print(
        f"of np.min's bandwidth: {fastest / moments:.0%}, {fastest / whole:.0%} (goal: 25%)"
    )
    _half(array.astype(ml_dtypes.bfloat16))
    _small(array)
    _commands(array, sft)


def _half(array: np.ndarray) -> None:
    """Print the ratio of a bfloat16 tensor."""
    took = _best(lambda: ex.describe({"w": array}), 5)
    theirs = _best(lambda: _nine(array, np.float32), 1)
    report("bfloat16, exact quantiles", took, "nine NumPy passes", theirs, goal="8x faster")
    print(f"  {array.nbytes / took / 1e9:.2f} GB/s")


def _small(array: np.ndarray) -> None:
    """Print what many small tensors take, as a multiple of one tensor of their size."""
    number = min(_TENSORS, array.size // _SMALL)
    one = array[: number * _SMALL]
    many = {f"layers.{i}.w": part for i, part in enumerate(one.reshape(number, _SMALL))}
    for statistics in ("moments", "all"):
        alone = _best(lambda s=statistics: ex.describe({"w": one}, statistics=s), 5)
        took = _best(lambda s=statistics: ex.describe(many, statistics=s), 5)
        what = f"{number:,} tensors of {_SMALL:,} elements, {statistics}"
        print(f"{what}: {took:.3f} s, {took / alone:.1f}x one of their size (goal: 2x)")


def _peers(array: np.ndarray, torch: str | None) -> dict[str, float]:
    """Return the time of nine passes of NumPy, and of torch where an interpreter has it."""
    found = {
        "nine NumPy passes, float64 sums": _best(lambda: _nine(array, np.float64), 2),
        "nine NumPy passes, float32 sums": _best(lambda: _nine(array, np.float32), 2),
    }
    if torch is not None:
        found["nine torch passes"] = _torch(torch, array.size)
    return found


_TORCH = """
import sys, time, torch
torch.set_num_threads(1)
torch.manual_seed(0)
x = torch.randn(int(sys.argv[1]))
passes = [torch.min, torch.max, torch.mean, torch.std, lambda x: x.norm(1), lambda x: x.norm(2),
          lambda x: (x == 0).sum(), lambda x: x.isnan().sum(), lambda x: x.isinf().sum()]
times = []
for _ in range(2):
    start = time.process_time()
    [one(x) for one in passes]
    times.append(time.process_time() - start)
print(min(times))
"""


def _torch(python: str, size: int) -> float:
    """Return the time of nine passes of torch in a process of its own."""
    words = [python, "-c", _TORCH, str(size)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _commands(array: np.ndarray, sft: str | None) -> None:
    """Print what whole processes take on a bfloat16 file of 200 MB, and on a sparse one of 20 GB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bf16.safetensors"
        rows = np.resize(array, (10, 10_000, 1000)).astype(ml_dtypes.bfloat16)
        save_file({f"layers.{i}.weight": row for i, row in enumerate(rows)}, path)
        command = [sys.executable, "-m", "explorer", "stats", path]
        ours = best(command, 3)
        print(f"explorer stats of 200 MB of bfloat16, whole process: {ours:.2f} s")
        if sft is not None:
            theirs = best([sft, "stat", path], 3)
            report("the same", ours, "sft stat", theirs, goal="3x faster")
        layout = {f"layers.{i}.weight": ((50_000, 10_000), "F32") for i in range(10)}
        sparse = write_sparse(Path(folder) / "sparse.safetensors", layout)
        peak = peak_memory([*command[:-1], sparse])
        print(
            f"explorer stats of a sparse file of 20 GB: peak {peak:,} MB (goal: under 1,500)"
        )


def _nine(array: np.ndarray, sums: type, more: bool = False) -> tuple:
    if more:
        np.quantile(array, [0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999])
        with np.errstate(divide="ignore"):
            np.histogram(np.log2(np.abs(array)), bins=64, range=(-50, 14))
    return (
        array.min(),
        array.max(),
        array.mean(dtype=sums),
        array.std(dtype=sums),
        np.abs(array).sum(dtype=sums),
        np.square(array, dtype=sums).sum(),
        (array == 0).sum(),
        np.isnan(array).sum(),
        np.isinf(array).sum(),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("megabytes", type=int, nargs="?", default=500)
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--sft")
    main(**vars(parser.parse_args()))
