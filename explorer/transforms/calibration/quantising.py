"""GPTQ of a whole model, layer by layer: each calibrated on what the quantised ones before it give."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from explorer.architectures.declaration import layer_name
from explorer.errors import InputError
from explorer.models.transformer import Transformer
from explorer.transforms.calibration.gptq import GptqKernel, Grid, gptq
from explorer.transforms.calibration.grids import grid_of
from explorer.transforms.calibration.layerwise import (
    first_states,
    layer_moments,
    next_states,
)
from explorer.tree.types import Params

__all__ = ["GptqModel", "gptq_model"]


class GptqModel(NamedTuple):
    """A quantised model.

    Attributes:
        params: with what the codes stand for, in the dtype of the parameters.
        kernels: the codes of each kernel [out, in], by name.
    """

    params: Params
    kernels: dict[str, GptqKernel]


def gptq_model(
    model: Transformer,
    params: Params,
    data: Any,
    bits: int = 4,
    group: int | None = 128,
    act_order: bool = False,
    *,
    symmetric: bool = False,
    grid: Grid = grid_of,
) -> GptqModel:
    """Return a model whose linear layers are quantised by GPTQ; experts, heads and routers stay.

    Args:
        model: one of explorer's own, with layers that are not scanned.
        params: its "params".
        data: token ids or batches, as of `gather_moments`.
        bits, group, act_order, symmetric, grid: as of `gptq`.

    Raises:
        InputError: another model, or as `gptq`.

    >>> import jax, jax.numpy as jnp, explorer as ex
    >>> model = ex.build_model({"model_type": "llama", "hidden_size": 8, "intermediate_size": 12,
    ...     "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 16})
    >>> tokens = jnp.arange(16).reshape(2, 8)
    >>> params = model.init(jax.random.key(0), tokens)["params"]
    >>> found = gptq_model(model, params, tokens, bits=4, group=4)
    >>> kernel = found.kernels["layers_0/mlp/up_proj/kernel"]
    >>> kernel.codes.shape, kernel.scales.shape
    ((12, 8), (12, 2))
    """
    if not isinstance(model, Transformer) or model.scan:
        raise InputError(
            "model",
            found=type(model).__name__,
            expected="one of explorer's own, with scan=False",
        )
    result, kernels = dict(params), {}
    states = first_states(model, params, data)
    for index in range(model.architecture.num_layers):
        name = layer_name(index)
        moments = layer_moments(model, index, params[name], states, True)
        values: dict[tuple[str, ...], Any] = {}
        for key, seen in moments.items():
            path = tuple(key.split("/")[1:])
            kernel = _at(params[name], path)
            if kernel.ndim != 2 or seen.hessian is None:
                continue
            try:
                found = gptq(
                    kernel.T,
                    seen.hessian,
                    bits,
                    group,
                    act_order,
                    symmetric=symmetric,
                    grid=grid,
                )
            except InputError as error:
                raise InputError(
                    key, found=error.found, expected=error.expected, cure=error.cure
                ) from None
            kernels[key] = found
            values[path] = jnp.asarray(found.values.T, kernel.dtype)
        result[name] = _replaced(params[name], values)
        states = next_states(model, index, result[name], states)
    return GptqModel(result, kernels)


def _at(tree: Params, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _replaced(node: Any, values: Mapping[tuple[str, ...], Any], path: Any = ()) -> Any:
    if isinstance(node, Mapping):
        return {name: _replaced(each, values, (*path, name)) for name, each in node.items()}
    return values.get(path, node)
