"""Orbax's metadata() against explorer's reading of the same checkpoint.

Saves a tree of 5,000 small arrays with StandardCheckpointer to a temporary folder, then
times both in one process, the best of three warm calls each. Goal: at least 15x.

    python benchmarks/orbax_metadata.py
"""

import logging
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from explorer.formats import orbax

LEAVES = 5_000
GOAL = 15


def make_tree(leaves: int) -> dict[str, Any]:
    """Return a tree of that many arrays: kernels and biases of numbered layers."""
    layer = {"kernel": np.ones((16, 8), np.float32), "bias": np.ones(8, np.float32)}
    return jax.device_put({f"layer_{index}": dict(layer) for index in range(leaves // 2)})


def best_of(call: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """Return the seconds of the fastest call, and what it returned."""
    result, seconds = call(), []  # the first call warms up
    for _ in range(times):
        begin = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds), result


def shapes_of(metadata: Any) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Return path -> shape of the leaves of Orbax's metadata."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(metadata.item_metadata.tree)
    return {tuple(str(key.key) for key in path): leaf.shape for path, leaf in leaves}


def main() -> None:
    """Save, time both, check that they agree, and print the ratio."""
    logging.disable(logging.WARNING)
    with (
        tempfile.TemporaryDirectory() as folder,
        ocp.StandardCheckpointer() as checkpointer,
    ):
        path = os.path.join(folder, "checkpoint")
        checkpointer.save(path, make_tree(LEAVES))
        checkpointer.wait_until_finished()
        theirs, metadata = best_of(lambda: checkpointer.metadata(path))
        ours, listing = best_of(lambda: orbax.read(path))
    assert shapes_of(metadata) == dict(zip(listing.keys, listing.shapes, strict=True))
    print(f"{LEAVES:,} leaves, the best of 3; the shapes agree")
    print(f"orbax metadata()            {theirs:8.3f} s")
    print(f"explorer.formats.orbax.read {ours:8.3f} s")
    print(f"ratio                       {theirs / ours:8.1f} x (goal {GOAL} x)")


if __name__ == "__main__":
    main()
