"""The Flax collection that a path in a training state belongs to.

Pytrees and checkpoint files share this table, so that a tree and the file written from it
give the same result.
"""

from collections.abc import Sequence

__all__ = ["collection_of"]

# first name -> collection
_COLLECTIONS = {
    "params": "params",
    "batch_stats": "batch_stats",
    "cache": "cache",
    "buffers": "buffers",
    "constants": "constants",
    "intermediates": "intermediates",
    "perturbations": "perturbations",
    "losses": "losses",
    "opt_state": "opt_state",
    "param_states": "opt_state",  # T5X
    "ema": "ema",
    "ema_params": "ema",
    "params_ema": "ema",
    "rng": "rng_state",
    "rngs": "rng_state",
    "rng_state": "rng_state",
    "dropout_rng": "rng_state",
    "watch": "watch",  # explorer's initial parameters, the reference for distances
    "_overwrite_with_gradient": "state",  # Flax's fp8 scales and amax histories
}

# Counters and flags, only as a complete path: a module may be called "step" too.
_COUNTERS = ("step", "count", "global_step", "halted")

# Names that wrap a state, with the collection of contents that have no name of their own.
_WRAPPERS = {
    "model": "",
    "state": "",
    "train_state": "",
    "target": "params",  # T5X
    "optimizer": "opt_state",
}


def collection_of(path: Sequence[str]) -> str:
    """Return the Flax collection that the first names of a path indicate, or "".

    Only the first name counts, after wrappers such as T5X's `target` and `state` are
    removed: further down, a module may have any name. Variables that were saved together
    under `params` (`params/batch_stats/...`) are distinguished.

    Args:
        path: names from the root.

    Returns:
        "params", "batch_stats", "cache", "opt_state", "state" (counters), "rng_state",
        "ema", ... or "" if the path does not indicate one.

    >>> collection_of(("params", "Dense_0", "kernel")), collection_of(("Dense_0", "kernel"))
    ('params', '')
    >>> collection_of(("opt_state", "0", "mu", "params")), collection_of(("step",))
    ('opt_state', 'state')
    >>> collection_of(("target", "encoder", "cache", "kernel"))
    'params'
    """
    start, fallback = 0, ""
    while start < len(path) and path[start] in _WRAPPERS:
        fallback = _WRAPPERS[path[start]] or fallback
        start += 1
    if start == len(path):
        return fallback
    name = path[start]
    if start + 1 == len(path) and name in _COUNTERS:
        return "state"
    if name == "params" and len(path) > start + 1 and path[start + 1] == "batch_stats":
        return "batch_stats"
    return _COLLECTIONS.get(name, fallback)
