"""Stored arrays that are not parameters: buffers, statistics, caches, random state.

What a tensor's own name, shape and format tell. What stands beside it is another module's
question, and packed weights are recognised elsewhere, before this is asked.
"""

import re
from math import prod

from explorer import dtypes
from explorer.identify.state.tables import IN_CONTEXT, KINDS, LEAVES, OWNERS, ROOTS, State
from explorer.paths import name_set
from explorer.roles.names import component_of_module, split_names

__all__ = ["kind_of", "named_state", "state_of"]

# of one number each; an array of the name is something else
_SCALES = ("quantization", "activation and cache scales")
_SCALE_NAMES = name_set("k_scale v_scale q_scale input_scale output_scale")
_STATISTICS = ("batch_stats", "running statistics")
_POWER_ITERATION = ("buffers", "power iteration vectors")
_FIXED = ("buffers", "fixed projections of distances")
_LARGEST_FILTER = 16  # taps of a resampling filter along one axis
_VALUES = ("state", "values of the training loop")
_MEASURED = re.compile(
    r"(^|_)(loss|losses|acc|accuracy|epochs?|global_step|iterations?|iter_num|lr|"
    r"learning_rate|perplexity|ppl|fid|loss_scale)$|^best_"
)
_WORDS = re.compile(r"[a-z]+")


def _index(table: tuple[tuple[str, str, str], ...]) -> dict[str, State]:
    return {name: (group, rule) for group, rule, names in table for name in names.split()}


_of_leaf, _of_owner, _of_root = map(_index, (LEAVES, OWNERS, ROOTS))
_in_context: dict[str, list[tuple[State, frozenset[str], tuple[int, ...]]]] = {}
for _collection, _rule, _leaves, _words, _ranks in IN_CONTEXT:
    for _leaf in _leaves.split():
        _row = ((_collection, _rule), frozenset(_words.split()), _ranks)
        _in_context.setdefault(_leaf, []).append(_row)


def state_of(path: tuple[str, ...], shape: tuple[int, ...], dtype: str) -> State | None:
    """Return the collection of an array that is not a parameter and what such arrays are.

    Args:
        path: names from the root.
        shape: its shape.
        dtype: its dtype, by explorer's name.

    Returns:
        The collection and a plural noun phrase for notes; None for a parameter.

    >>> state_of(("h", "0", "attn", "bias"), (1, 1, 1024, 1024), "float32")
    ('buffers', 'causal masks')
    >>> state_of(("h", "0", "attn", "c_attn", "bias"), (2304,), "float32")
    """
    return named_state(path, shape, dtype) or kind_of(path, dtype)


def kind_of(path: tuple[str, ...], dtype: str) -> State | None:
    """Return the state that an array is by its format alone; None if it can be learned."""
    if dtypes.is_trainable(dtype):
        return None
    kind = dtypes.find(dtype).kind
    if "rngs" in split_names(path) and kind != "key":
        return "rng_state", "random state"
    return KINDS.get(kind)


def named_state(path: tuple[str, ...], shape: tuple[int, ...], dtype: str) -> State | None:
    """Return the state that an array is by its name and shape; None if they do not tell."""
    names = split_names(path)
    if not names:
        return None
    leaf, owner = names[-1], (names[-2] if len(names) > 1 else "")
    if "batch_stats" in names:
        return _STATISTICS
    known = (
        _of_leaf.get(leaf) or _of_owner.get(owner) or _of_owner.get("/".join(names[-3:-1]))
    )
    if known is None and owner:
        known = _of_root.get(names[0])
    if known is None and _is_mask(leaf, owner, shape, dtype):
        known = ("buffers", "causal masks" if _is_square(shape) else "attention masks")
    if known is None and leaf in _SCALE_NAMES and shape in ((), (1,)):
        known = _SCALES
    if known is None and _is_power_iteration(leaf, names, shape):
        known = _POWER_ITERATION
    if known is None and shape in ((), (1,)) and _MEASURED.search(leaf):
        known = _VALUES
    if known is None and "dfl" in names and shape[:1] == (1,) and shape[2:] == (1, 1):
        known = _FIXED  # Ultralytics: the expectation over bins, 0 to 15
    return known or _state_in_context(leaf, names[:-1], shape)


def _state_in_context(leaf: str, owners: list[str], shape: tuple[int, ...]) -> State | None:
    """Return the state that a name stands for inside modules of certain names."""
    for state, words, ranks in _in_context.get(leaf.rstrip("_0123456789"), ()):
        if len(shape) not in ranks or not _is_around(words, owners):
            continue
        rule = state[1]
        if rule == "input statistics" and not _is_one_axis(shape):
            continue
        if rule in ("blur kernels", "resampling filters") and not _is_filter(shape):
            continue
        if not words and rule == "queues of keys" and shape[0] > shape[1]:
            continue
        return state
    return None


def _is_around(words: frozenset[str], owners: list[str]) -> bool:
    if not words:
        return True
    nearest = owners[-1].lower() if owners else ""
    return any(
        nearest == word[1:]
        if word[0] == "="
        else word in owners or word in _WORDS.findall(nearest)
        for word in words
    )


def _is_one_axis(shape: tuple[int, ...]) -> bool:
    """Return whether an array has a value for each channel of an image and no other axis."""
    return prod(shape) == max(shape) <= 4


def _is_filter(shape: tuple[int, ...]) -> bool:
    """Return whether an array is one small filter: (4, 4), (1, 1, 4, 4), (1, 1, 12)."""
    if len(shape) == 3:
        return shape[:2] == (1, 1) and 2 < shape[2] <= _LARGEST_FILTER
    *leading, height, width = shape
    return set(leading) <= {1} and height == width and 2 < height <= _LARGEST_FILTER


def _is_square(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]


def _is_mask(leaf: str, owner: str, shape: tuple[int, ...], dtype: str) -> bool:
    """Return whether an array consists of attention masks; a true bias there has rank 1 to 3."""
    if leaf not in ("bias", "mask") or component_of_module(owner) != "attention":
        return False
    return _is_square(shape) or (leaf == "mask" and not dtypes.is_trainable(dtype))


def _is_power_iteration(leaf: str, names: list[str], shape: tuple[int, ...]) -> bool:
    """Return whether an array is the vector that PyTorch's spectral norm iterates."""
    if len(shape) != 1:
        return False
    # weight normalisation keeps its direction as weight_v too, in the rank of the weight
    return leaf in ("weight_u", "weight_v") or (
        leaf in ("_u", "_v") and "parametrizations" in names
    )
