"""A nested dict of 100,000 JAX arrays: clu's count and table against explorer's.

Both in one process, best of a few runs; clu without its statistics, which read values.
"""

import jax
import numpy as np
from clu import parameter_overview
from timing import best_call, report

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


def main() -> None:
    params = build_params()
    assert (
        ex.count_parameters(params)
        == parameter_overview.count_parameters(params)
        == 600_000
    )
    report(
        "100,000 leaves, every tensor listed and all totals",
        best_call(lambda: ex.explore(params).num_parameters),
        "clu rows and total",
        best_call(
            lambda: parameter_overview.get_parameter_overview(params, include_stats=False)
        ),
        goal="at least 5x faster",
    )
    report(
        "100,000 leaves, the table as text",
        best_call(lambda: str(ex.explore(params))),
        "clu table",
        best_call(
            lambda: parameter_overview.get_parameter_overview(params, include_stats=False)
        ),
        goal="at least 5x faster",
    )
    report(
        "100,000 leaves, parameters counted",
        best_call(lambda: ex.count_parameters(params)),
        "clu count (which does not distinguish kinds of leaves)",
        best_call(lambda: parameter_overview.count_parameters(params)),
        goal="none",
    )


if __name__ == "__main__":
    main()
