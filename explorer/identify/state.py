"""Stored arrays that are not parameters: buffers, statistics, caches, random state.

What a tensor's own name, shape and format tell. Packed weights and optimizer state are
recognised elsewhere, before this is asked.
"""

from explorer import dtypes
from explorer.roles.names import component_of_module, split_names

__all__ = ["CORRECTION", "state_of"]

# DeepSeek-V3's, which balances its experts and is set, not learned
CORRECTION = "e_score_correction_bias"
# collection, what such arrays are, their exact last names
_LEAVES = (
    ("buffers", "causal masks", "causal_mask"),
    ("buffers", "mask fill values", "masked_bias"),
    ("buffers", "attention masks", "attn_mask attention_mask"),
    ("buffers", "pruning masks", "weight_mask bias_mask"),
    ("buffers", "rotary frequencies", "inv_freq original_inv_freq"),
    ("buffers", "rotary tables", "cos_cached sin_cached cos_sin_cache"),
    ("buffers", "rotary tables", "freqs_cis freqs_cos freqs_sin"),
    ("buffers", "position ids", "position_ids"),
    ("buffers", "token type ids", "token_type_ids"),
    ("buffers", "batch counters", "num_batches_tracked"),
    ("batch_stats", "running statistics", "running_mean running_var"),
    ("batch_stats", "running statistics", "moving_mean moving_variance"),
    ("buffers", "router correction biases", f"{CORRECTION} exp_probs_b"),
    ("buffers", "relative position indices", "relative_position_index"),
    ("buffers", "relative coordinate tables", "relative_coords_table"),
    ("buffers", "logit biases", "final_logits_bias"),
    ("buffers", "noise schedules", "alphas_cumprod alphas_cumprod_prev betas lvlb_weights"),
    ("buffers", "noise schedules", "sqrt_alphas_cumprod sqrt_one_minus_alphas_cumprod"),
    ("buffers", "noise schedules", "log_one_minus_alphas_cumprod posterior_variance"),
    ("buffers", "noise schedules", "sqrt_recip_alphas_cumprod sqrt_recipm1_alphas_cumprod"),
    ("buffers", "noise schedules", "posterior_log_variance_clipped posterior_mean_coef1"),
    ("buffers", "noise schedules", "posterior_mean_coef2"),
    ("rng_state", "random state", "seed_generator_state"),
)
# the same for the module that holds the array, and the one around it where that matters
_OWNERS = (
    ("buffers", "rotary frequencies", "rope_freqs"),
    ("buffers", "rotary factors", "rope_factors_long rope_factors_short"),
    ("buffers", "router correction biases", "exp_probs_b"),
    ("batch_stats", "running statistics", "mean_ema var_ema"),
    # a cross-attention has no positions to distinguish: T5's first files keep a table for
    # it that no later model reads
    (
        "unused",
        "cross-attention position tables",
        "EncDecAttention/relative_attention_bias",
    ),
    ("unused", "cross-attention position tables", "cross_attn_rel_b"),
)
# Flax's collections, by a path's first name
_ROOTS = (
    ("cache", "decoding caches", "cache"),
    ("intermediates", "sown intermediates", "intermediates"),
    ("rng_state", "random state", "rng rngs rng_state rng_key dropout_rng"),
    ("ema", "moving averages of parameters", "model_ema"),
    ("state", "fp8 scaling histories", "_overwrite_with_gradient"),
)
_KINDS = {
    "int": ("buffers", "integer arrays"),
    "uint": ("buffers", "integer arrays"),
    "bool": ("buffers", "boolean arrays"),
    "key": ("rng_state", "random keys"),
    "text": ("buffers", "text arrays"),
}
# of one number each; an array of the name is something else
_SCALES = ("quantization", "activation and cache scales")
_SCALE_NAMES = frozenset(("k_scale", "v_scale", "q_scale", "input_scale", "output_scale"))
_STATISTICS = ("batch_stats", "running statistics")
_POWER_ITERATION = ("buffers", "power iteration vectors")


def _index(table: tuple[tuple[str, str, str], ...]) -> dict[str, tuple[str, str]]:
    return {name: (group, rule) for group, rule, names in table for name in names.split()}


_of_leaf, _of_owner, _of_root = map(_index, (_LEAVES, _OWNERS, _ROOTS))


def state_of(
    path: tuple[str, ...], shape: tuple[int, ...], dtype: str
) -> tuple[str, str] | None:
    """Return the collection of an array that is not a parameter and what such arrays are.

    Args:
        path: names from the root.
        shape: its shape.
        dtype: its number format, by explorer's name.

    Returns:
        The collection and a plural noun phrase for notes; None for a parameter.

    >>> state_of(("h", "0", "attn", "bias"), (1, 1, 1024, 1024), "float32")
    ('buffers', 'causal masks')
    >>> state_of(("h", "0", "attn", "c_attn", "bias"), (2304,), "float32")
    """
    names = split_names(path)
    if not names:
        return _KINDS.get(dtypes.find(dtype).kind)
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
    if known is None and not dtypes.is_trainable(dtype):
        in_rngs = "rngs" in names and dtypes.find(dtype).kind != "key"
        known = (
            ("rng_state", "random state") if in_rngs else _KINDS[dtypes.find(dtype).kind]
        )
    return known


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
