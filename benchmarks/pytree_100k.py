"""A nested dict of 100,000 JAX arrays: clu's count and table against explorer's.

Both in one process, best of some runs; clu without its statistics, which read values.
"""

import time
from collections.abc import Callable

import jax
import numpy as np
from clu import parameter_overview
from timing import report

import explorer as ex

LAYERS, BLOCKS = 1000, 20


def build_params() -> dict:
    """Return 1,000 layers of 20 blocks of 5 arrays."""
    names = ("query", "key", "value", "out", "bias")
    arrays = iter(jax.device_put([np.zeros((2, 3), np.float32)] * (LAYERS * BLOCKS * 5)))
    return {
        f"layer_{layer}": {
            f"block_{block}": {name: next(arrays) for name in names}
            for block in range(BLOCKS)
        }
        for layer in range(LAYERS)
    }


def best(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the best time of some calls in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    params = build_params()
    assert (
        ex.count_parameters(params)
        == parameter_overview.count_parameters(params)
        == 600_000
    )
    report(
        "100,000 leaves, every tensor listed and all totals",
        best(lambda: ex.explore(params).num_parameters),
        "clu rows and total",
        best(
            lambda: parameter_overview.get_parameter_overview(params, include_stats=False)
        ),
        goal="at least 5x faster",
    )
    report(
        "100,000 leaves, the table as text",
        best(lambda: str(ex.explore(params))),
        "clu table",
        best(
            lambda: parameter_overview.get_parameter_overview(params, include_stats=False)
        ),
        goal="at least 5x faster",
    )
    report(
        "100,000 leaves, parameters counted",
        best(lambda: ex.count_parameters(params)),
        "clu count (which tells no kinds of leaves apart)",
        best(lambda: parameter_overview.count_parameters(params)),
        goal="none",
    )


if __name__ == "__main__":
    main()
