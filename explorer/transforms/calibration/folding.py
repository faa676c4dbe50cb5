"""AWQ's scales of a whole model, folded into what makes the inputs: the model computes the same.

Weights are multiplied by the scales of their inputs; the gain of the norm before them, or the
outputs of the linear layer before them, are divided by them. Nothing is added to the model.

References:
    Lin et al., AWQ: Activation-aware Weight Quantization (2024).
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from explorer.architectures.architecture import BlockSpec
from explorer.architectures.attention_specs import AttentionSpec
from explorer.architectures.declaration import layer_name
from explorer.architectures.specs import NormSpec
from explorer.errors import InputError
from explorer.models.transformer import Transformer
from explorer.transforms.calibration.awq import AwqScales, awq_scales
from explorer.transforms.calibration.layerwise import (
    first_states,
    layer_moments,
    next_states,
)
from explorer.tree.types import Params

__all__ = ["FoldedModel", "fold_scales"]

Path = tuple[str, ...]


class FoldedModel(NamedTuple):
    """Parameters with scales folded in, and the scales by what they were folded into."""

    params: Params
    scales: dict[str, AwqScales]


class _Fold(NamedTuple):
    """Layers that read one input, and what makes it: a norm or a linear layer."""

    source: Path
    norm: NormSpec | None
    layers: tuple[Path, ...]


def fold_scales(
    model: Transformer,
    params: Params,
    data: Any,
    bits: int = 4,
    group: int | None = 128,
    *,
    symmetric: bool = False,
) -> FoldedModel:
    """Return parameters that compute the same and lose less when they are rounded to groups.

    Scaled are queries, keys and values and the first projections of an MLP by the norm before
    them, the down projection of a gated MLP by its up projection, and the output projection by the
    values where each head has its own. Inputs that anything else reads (post-norm blocks, routers)
    stay as they are.

    Args:
        model: one of explorer's own, with layers that are not scanned.
        params: its "params".
        data: token ids or batches, as of `gather_moments`.
        bits, group, symmetric: of the codes that are to come, as of `awq_scales`.

    Raises:
        InputError: another model, or groups that do not divide the inputs.

    >>> import jax, jax.numpy as jnp, explorer as ex
    >>> model = ex.build_model({"model_type": "llama", "hidden_size": 8, "intermediate_size": 12,
    ...     "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 16})
    >>> tokens = jnp.arange(16).reshape(2, 8)
    >>> params = model.init(jax.random.key(0), tokens)["params"]
    >>> found = fold_scales(model, params, tokens, group=4)
    >>> before, after = (model.apply({"params": p}, tokens).logits for p in (params, found.params))
    >>> bool(jnp.allclose(before, after, atol=1e-5))
    True
    """
    if not isinstance(model, Transformer) or model.scan:
        raise InputError(
            "model",
            found=type(model).__name__,
            expected="one of explorer's own, with scan=False",
        )
    result, scales = dict(params), {}
    states = first_states(model, params, data)
    for index, block in enumerate(model.architecture.blocks()):
        name = layer_name(index)
        moments = layer_moments(model, index, params[name], states, True)
        states = next_states(model, index, params[name], states)
        layer = result[name]
        for fold in _folds(block):
            seen = moments["/".join((name, *fold.layers[0], "kernel"))]
            assert seen.hessian is not None
            found = awq_scales(
                [_at(layer, path)["kernel"].T for path in fold.layers],
                seen.hessian / seen.tokens,
                seen.absolute / seen.tokens,
                bits,
                group,
                symmetric=symmetric,
            )
            layer = _folded(layer, fold, found.scales)
            scales["/".join((name, *fold.source))] = found
        result[name] = layer
    return FoldedModel(result, scales)


def _folds(block: BlockSpec) -> Iterator[_Fold]:
    """Yield what is scaled in a layer: what makes the inputs, and all that reads them."""
    attention, mlp = block.attention, block.mlp
    if not isinstance(attention, AttentionSpec):
        return
    reads = [("attention", name) for name in ("query", "key", "value")]
    first = [
        ("mlp", n) for n in ("gate_proj", "up_proj") if mlp and getattr(mlp, n) is not None
    ]
    norm, mlp_norm = block.attention_norm, block.mlp_norm
    is_shared = block.parallel and mlp_norm is None
    if norm is not None and norm.gain and not (is_shared and block.moe is not None):
        together = (*reads, *first) if is_shared else tuple(reads)
        yield _Fold(("attention_norm",), norm, together)
    if attention.heads == attention.kv_heads and attention.clip is None:
        yield _Fold(("attention", "value"), None, (("attention", "out"),))
    if mlp is None or block.moe is not None:
        return
    if mlp_norm is not None and mlp_norm.gain:
        yield _Fold(("mlp_norm",), mlp_norm, tuple(first))
    if mlp.gate_proj is not None and mlp.limit is None and not mlp.up_offset:
        yield _Fold(("mlp", "up_proj"), None, (("mlp", "down_proj"),))


def _folded(layer: Params, fold: _Fold, scales: Any) -> Params:
    """Return a layer whose weights are multiplied by scales, and whose inputs are divided."""
    after = layer
    for path in fold.layers:
        kernel = _at(after, path)["kernel"]
        after = _with(
            after, (*path, "kernel"), (kernel * scales[:, None]).astype(kernel.dtype)
        )
    for name, value in _at(after, fold.source).items():
        if name == "scale" and fold.norm is not None and fold.norm.centred:
            new = (1 + jnp.asarray(value, jnp.float32)) / scales - 1
        else:  # a gain, a bias, or the outputs of a kernel, its last axis
            new = value / scales
        after = _with(after, (*fold.source, name), new.astype(value.dtype))
    return after


def _at(tree: Params, path: Path) -> Params:
    for name in path:
        tree = tree[name]
    return tree


def _with(tree: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """Return a nested dict with another leaf."""
    first, *rest = path
    return {**tree, first: _with(tree[first], tuple(rest), value) if rest else value}
