"""Which Flax collection a path in a training state names.

The one table that pytrees and checkpoint files share, so that a tree and the file
written from it are read alike.
"""

from collections.abc import Sequence

__all__ = ["collection_of"]

# the first name -> the collection
_WORDS = {
    "params": "params",
    "lora": "params",
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
    "watch": "watch",  # explorer's first parameters, which distances are measured from
    "_overwrite_with_gradient": "state",  # Flax's fp8 scales and amax histories
}

# Counters and flags, where the name is the whole path: a module may be called "step" as well.
_COUNTERS = ("step", "count", "global_step", "halted")

# Names around a state, with the collection of what in them has no name of its own.
_WRAPPERS = {
    "model": "",
    "state": "",
    "train_state": "",
    "target": "params",  # T5X
    "optimizer": "opt_state",
}


def collection_of(path: Sequence[str]) -> str:
    """Return the Flax collection that the first names of a path say; "" if none.

    Only the first name counts, once wrappers such as T5X's `target` and `state` are taken
    off: deeper in, a module may be called anything. Variables kept whole under `params`
    (`params/batch_stats/...`) are told apart.

    Args:
        path: names from the root.

    Returns:
        "params", "batch_stats", "cache", "opt_state", "state" (counters), "rng_state",
        "ema", ... or "" where the path does not say.

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
    return _WORDS.get(name, fallback)
