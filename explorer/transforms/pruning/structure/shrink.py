"""A model -> a smaller one: module, parameters, config, and what changed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from explorer.architectures.architecture import Architecture
from explorer.architectures.declaration import layer_name
from explorer.arguments import check_kinds
from explorer.errors import InputError, TreeError, check_type
from explorer.models.transformer import Transformer
from explorer.roles.names import classify
from explorer.transforms.pruning.patterns import (
    Method,
    Pattern,
    check_choice,
    parse_pattern,
)
from explorer.transforms.pruning.structure.architectures import shrunk
from explorer.transforms.pruning.structure.configs import shrunk_config
from explorer.transforms.pruning.structure.importance import (
    flat_arrays,
    leaves_of,
    scores_of_layers,
)
from explorer.transforms.pruning.structure.units import Cut, cuts_of
from explorer.transforms.records import Change, TensorChange
from explorer.tree.arrays import check_arrays, check_not_donated
from explorer.tree.nest import nest
from explorer.tree.types import Params

__all__ = ["Shrunk", "shrink"]

Path = tuple[str, ...]
_KINDS = ("rows", "columns", "heads", "layers", "experts")
_METHODS = ("magnitude", "wanda", "random")


class Shrunk(NamedTuple):
    """A smaller model.

    Attributes:
        model: its module.
        params: its parameters.
        config: its Hugging Face config; None where that of the model was not given.
        change: what changed, by the names of the parameters before.
        masked: the parameters before, with zeros in the place of what was removed; of layers, the
            parameters as they were.
    """

    model: Transformer
    params: Params
    config: dict[str, Any] | None
    change: Change
    masked: Params


def shrink(
    model: Any,
    params: Params,
    pattern: str,
    by: Method = "magnitude",
    *,
    data: Any = None,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Shrunk:
    """Return a model without a share of its units.

    Removed are the units whose weights matter least: by "magnitude", the sum of squares; by
    "wanda", each square times the mean square of its input; by "random", any. Of an MLP "rows"
    asks what its units read, "columns" what they write; of heads and experts what they write
    matters. Layers go by how little they turn the hidden states, where data are given.

    Args:
        model: one of explorer's own, with layers that are not scanned.
        params: its "params".
        pattern: "rows:0.25", "columns:0.25", "heads:0.25", "layers:0.25" or "experts:0.25"; the
            number that is removed is rounded down, and is the same in each layer.
        by: the score of units.
        data: token ids or batches, for "wanda".
        config: the Hugging Face config of the model, of which that of the result is made.
        seed: of "random".

    Raises:
        InputError: another pattern or method, heads that do not divide into the groups that share
            keys, a share that removes nothing, or a config that cannot say what is left.

    >>> import explorer as ex, jax.numpy as jnp
    >>> config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
    ...           "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    >>> model = ex.build_model(config)
    >>> params = model.init(jax.random.key(0), jnp.zeros((1, 4), int))["params"]
    >>> found = shrink(model, params, "rows:0.25", config=config)
    >>> found.config["intermediate_size"], found.params["layers_0"]["mlp"]["up_proj"]["kernel"].shape
    (72, (64, 72))
    """
    check_kinds(
        ("pattern", pattern, "a str"),
        ("config", config, "a dict or None"),
        ("seed", seed, "a whole number"),
    )
    check_arrays("params", params)
    check_not_donated("params", params)
    wanted = parse_pattern(pattern)
    check_choice("by", by, Method)
    _check(model, wanted, by, data)
    scored = scores_of_layers(model, params, wanted, by, data, seed)
    layers = _kept_layers(scored, wanted) if wanted.kind == "layers" else None
    architecture = shrunk(model.architecture, wanted, layers)
    after = None if config is None else shrunk_config(config, wanted, layers)
    if layers is not None:
        masked, result, names = (
            params,
            _renumbered(params, layers),
            _new_names(model, layers),
        )
    else:
        cuts = {
            layer_name(index): cuts_of(block, wanted, own, scored[index])
            for index, block in enumerate(model.architecture.blocks())
            for own in [flat_arrays(params[layer_name(index)])]
        }
        result, masked, names = (
            _applied(params, cuts, False),
            _applied(params, cuts, True),
            None,
        )
    change = _change(model.architecture, wanted, by, params, result, names)
    small = model.clone(architecture=architecture)
    return Shrunk(small, result, after, change, masked)


def _check(model: Any, pattern: Pattern, by: str, data: Any) -> None:
    if not isinstance(model, Transformer):
        raise TreeError(
            "model",
            found=f"is {type(model).__name__}",
            expected="one of explorer's own, such as load_pretrained returns",
        )
    if model.scan:
        raise InputError(
            "model",
            found="its layers are scanned",
            expected="scan=False, one module for each",
        )
    if pattern.kind not in _KINDS:
        raise InputError(
            "pattern",
            found=f"{pattern.text}, which removes no units",
            expected=f"{', '.join(_KINDS)} and a share",
        )
    if by not in _METHODS:
        raise InputError(
            "by", found=f"{by!r} with {pattern.text}", expected=" or ".join(_METHODS)
        )
    if by == "wanda":
        check_type("data", data, object, "token ids")
        if data is None:
            raise InputError(
                "by", found="'wanda' without calibration data", expected="data=, token ids"
            )


def _kept_layers(scores: list[float], pattern: Pattern) -> list[int]:
    order = sorted(range(len(scores)), key=lambda index: (scores[index], index))
    return sorted(order[pattern.number(len(scores)) :])


def _renumbered(params: Params, layers: list[int]) -> Params:
    outside = {
        name: each for name, each in params.items() if not name.startswith("layers_")
    }
    return outside | {
        layer_name(new): params[layer_name(old)] for new, old in enumerate(layers)
    }


def _new_names(model: Transformer, layers: list[int]) -> dict[str, str]:
    """Return the name afterwards of each layer, empty for those that are removed."""
    gone = {layer_name(index): "" for index in range(model.architecture.num_layers)}
    return gone | {layer_name(old): layer_name(new) for new, old in enumerate(layers)}


def _applied(params: Params, cuts: Mapping[str, list[Cut]], masked: bool) -> Params:
    """Return parameters with cuts applied in each layer: removed, or zero."""
    result = dict(params)
    for name, own in cuts.items():
        leaves = flat_arrays(params[name])
        for cut in own:
            array = leaves[cut.path]
            leaves[cut.path] = cut.masked(array) if masked else cut.applied(array)
        before = leaves_of(params[name])
        result[name] = nest({p: _like(before[p], each) for p, each in leaves.items()})
    return result


def _like(before: Any, after: np.ndarray) -> Any:
    if after is before:
        return before
    return (
        jax.numpy.asarray(after)
        if isinstance(before, jax.Array)
        else np.ascontiguousarray(after)
    )


def _change(
    architecture: Architecture,
    pattern: Pattern,
    by: str,
    before: Params,
    after: Params,
    names: dict[str, str] | None,
) -> Change:
    later = leaves_of(after)
    rows = []
    for path, leaf in leaves_of(before).items():
        new = path if names is None else (names.get(path[0], path[0]), *path[1:])
        left = later.get(new) if new[0] else None
        note = "" if new == path else f"now {'/'.join(new)}" if new[0] else "removed"
        rows.append(_row(path, leaf, left, note))
    total = sum(row.parameters_before for row in rows)
    kept = sum(row.parameters_after for row in rows)
    return Change(
        transform=f"prune {pattern.text} by {by}",
        target=architecture.class_name,
        tensors=tuple(rows),
        notes=(f"{total - kept:,} of {total:,} parameters are removed",),
    )


def _row(path: Path, before: Any, after: Any, note: str) -> TensorChange:
    shape = () if after is None else tuple(after.shape)
    return TensorChange(
        name="/".join(path),
        component=classify(path, tuple(before.shape))[1],
        shape=shape,
        before=before.dtype.name,
        after=before.dtype.name,
        parameters_before=before.size,
        parameters_after=0 if after is None else after.size,
        bytes_before=before.nbytes,
        bytes_after=0 if after is None else after.nbytes,
        note=note,
    )
