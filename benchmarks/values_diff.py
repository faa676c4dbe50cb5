"""What changed between two arrays of 500 MB: against reading both, and against NumPy's own passes.

python benchmarks/values_diff.py [MEGABYTES]
"""

import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
from timing import best, best_call, script

from explorer.values.changes import changes_of
from explorer.values.digest import digest_of


def naive(a: np.ndarray, b: np.ndarray) -> tuple:
    """Every figure by a pass of its own, in float64 where sums need it."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    change = y - x
    size = np.abs(change)
    norms = np.sqrt((change**2).sum()), np.sqrt((x**2).sum()), np.sqrt((y**2).sum())
    changed = a.view(f"u{a.dtype.itemsize}") != b.view(f"u{b.dtype.itemsize}")
    return (
        size.max(), size.mean(), norms[0] / norms[1], (x * y).sum() / norms[1] / norms[2],
        changed.sum(), changed.argmax(), np.isnan(x).sum(), np.isnan(y).sum(),
    )  # fmt: skip


def read(a: np.ndarray, b: np.ndarray) -> tuple:
    """The fastest pass over both that there is."""
    return a.max(), b.max()


def main(megabytes: int) -> None:
    """Print gigabytes of both arrays a second, and the ratios."""
    count = megabytes * 250_000
    rng = np.random.default_rng(0)
    a = rng.standard_normal(count, np.float32)
    b = a + np.float32(1e-3) * rng.standard_normal(count, np.float32)
    one = a.copy()
    one[-5] += 1
    print(f"two float32 arrays of {megabytes} MB; GB/s of both")
    paths = files(a, b)
    pairs = {"all changed": (a, b), "one number changed": (a, one), "equal": (a, a.copy())}
    rates(pairs, paths)
    narrow = {
        name: tuple(x.astype(ml_dtypes.bfloat16) for x in pair)
        for name, pair in pairs.items()
    }
    print("the same in bfloat16")
    rates(narrow, None)
    for name in ("xxh3_128", "blake2b"):
        took = best_call(lambda name=name: digest_of(a, "float32", a.shape, name))
        print(f"  digest, {name:9} {a.nbytes / took / 1e9:6.2f} (of one)")
    seconds = best([script("explorer"), "diff", paths[0], paths[0]], 3)
    print(f"  explorer diff FILE FILE, whole process: {seconds:.2f} s")
    both = best_call(lambda: [path.read_bytes() for path in paths])
    print(f"  reading both files into memory: {both:.2f} s")


def files(*arrays: np.ndarray) -> list[Path]:
    """Write a file of each array; return their paths."""
    from safetensors.numpy import save_file

    folder = Path(tempfile.mkdtemp())
    paths = [folder / f"{index}.safetensors" for index in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        save_file({"x": array}, path)
    return paths


def rates(pairs: dict[str, tuple], paths: list[Path] | None) -> None:
    """Print what each pair takes, and beside it what reading and naive passes take."""
    first = next(iter(pairs.values()))
    nbytes = 2 * first[0].nbytes
    took = {
        name: best_call(lambda pair=pair: changes_of(*pair), 7)
        for name, pair in pairs.items()
    }
    scan = best_call(lambda: read(*first), 7)
    slow = best_call(lambda: naive(*first), 1)
    print(f"  np.max of both        {nbytes / scan / 1e9:6.2f}")
    if paths is not None:
        both = best_call(lambda: [path.read_bytes() for path in paths])
        print(f"  reading both files    {nbytes / both / 1e9:6.2f}")
    else:
        both = None
    print(f"  NumPy, pass by pass   {nbytes / slow / 1e9:6.2f}")
    for name, seconds in took.items():
        against = (
            f", {both / seconds:.2f} of the speed of reading both (goal: 0.60)"
            if both
            else ""
        )
        print(
            f"  {name:20}  {nbytes / seconds / 1e9:6.2f}: {slow / seconds:.0f}x NumPy{against}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
