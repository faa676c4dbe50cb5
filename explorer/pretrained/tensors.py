"""A config and named arrays -> a module and its parameters."""

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from explorer.architectures.architecture import Architecture
from explorer.architectures.checkpoint_fit import (
    CheckpointFit,
    class_that_fits,
    fit_checkpoint,
)
from explorer.architectures.checkpoint_names import CheckpointNames
from explorer.architectures.families import architecture_of, checkpoint_names_of
from explorer.errors import (
    InputError,
    TreeError,
    first_few,
    printable,
    shown,
)
from explorer.pretrained.arrays import FLOATS, array_of, same_values, whole_of
from explorer.pretrained.leaves import Placing, gather
from explorer.pretrained.packing import packed_error, unpacked

if TYPE_CHECKING:
    import numpy as np

    from explorer.formats.pieces import Pieces
    from explorer.models.transformer import Transformer

__all__ = ["architecture_from", "build", "from_tensors"]


def from_tensors(
    config: Mapping[str, Any],
    tensors: "Mapping[str, np.ndarray]",
    *,
    scan: bool = False,
    dtype: Any = None,
    place: str = "config",
) -> "tuple[Transformer, dict[str, Any]]":
    """Return the module that a config describes and the parameters that tensors hold.

    Args:
        config: the content of a Hugging Face config.json.
        tensors: arrays under the names of the config's class, with or without its base
            prefix. They are copied, never modified. Packed weights are dequantised.
        scan: whether identical layers are stacked along a leading axis.
        dtype: a float dtype for every leaf; None keeps the stored ones, and raises if
            layers or experts to be stacked have several.
        place: what errors call the source.

    Returns:
        The module and its "params": `module.apply({"params": params}, tokens)`.

    Raises:
        InputError: an unsupported model, quantised weights, a tensor that is missing,
            unexpected or of another shape, or tied tensors stored with different values;
            one line names it.
        TreeError: an argument that is not a mapping, or a tensor that is not an array.
    """
    architecture = architecture_from(config, place)
    arrays = unpacked(config, _arrays(tensors, place), place)
    names = checkpoint_names_of(architecture)
    return build(architecture, names, arrays, scan, dtype, place=place, config=config)


def architecture_from(config: Mapping[str, Any], place: str) -> Architecture:
    """Return the architecture of a config, whether its weights are quantised or not.

    Raises:
        InputError: the model is not supported.
        TreeError: the config is not a mapping.
    """
    if not isinstance(config, Mapping):
        raise TreeError(
            place,
            found=f"config is {type(config).__name__}",
            expected="a dict, the content of a config.json",
        )
    return architecture_of(config, place)


def build(
    architecture: Architecture,
    names: CheckpointNames,
    tensors: "MutableMapping[str, np.ndarray | Pieces]",
    scan: bool,
    dtype: Any,
    *,
    place: str,
    config: Mapping[str, Any] | None = None,
    placing: Placing | None = None,
    is_own: bool = False,
) -> "tuple[Transformer, dict[str, Any]]":
    """Return the module of an architecture and its parameters; `tensors` is emptied.

    `config` is the source of the architecture, None if the file itself describes it. What is
    in pieces is decoded when its turn comes. `placing` and `is_own` are as of `gather`.
    """
    from explorer.models.transformer import Transformer

    target = None if dtype is None else _float_dtype(dtype)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    fit = fit_checkpoint(architecture, names, shapes)
    _reject_packed(fit, tensors, place)
    _reject_rounding(fit, tensors, target, place)
    if not fit.is_exact and config is None:
        model, cure = "the model in its metadata", "download or convert it again"
        fit.require(place, model=model, cure=cure)
    if not fit.is_exact and config is not None:
        # a config that declares far more than is present is of another family
        other = class_that_fits(config, shapes) if fit.stored else None
        cure = f'set architectures to ["{other}"], whose tensors these are'
        fit.require(place, cure=cure if other else "")
    for alias, name in fit.aliases.items():
        _require_tied(name, alias, tensors, architecture.tied, place)
        del tensors[alias]
    params = gather(architecture, fit.stored, tensors, scan, target, place, placing, is_own)
    return Transformer(architecture, scan=scan), params


def _arrays(tensors: Mapping[str, Any], place: str) -> "dict[str, np.ndarray]":
    if not isinstance(tensors, Mapping):
        raise TreeError(
            place,
            found=f"tensors is {type(tensors).__name__}",
            expected="a dict of arrays by name",
        )
    arrays = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise TreeError(
                place,
                found=f"the name {shown(name, 60)} is {type(name).__name__}",
                expected="names that are str",
            )
        arrays[name] = array_of(tensor, place, name)
    return arrays


def _require_tied(
    name: str,
    alias: str,
    tensors: "Mapping[str, np.ndarray | Pieces]",
    tied: bool,
    place: str,
) -> None:
    """Raise if a tensor is stored under two names with different values."""
    if same_values(whole_of(tensors[name]), whole_of(tensors[alias])):
        return
    untie = "set tie_word_embeddings to false if they are not tied, or "
    raise InputError(
        place,
        found=f"{printable(alias)} has other values than {printable(name)}",
        expected="the same: they are two names of one tensor",
        cure=f"{untie if tied else ''}leave one of them out",
    )


def _float_dtype(dtype: Any) -> "np.dtype":
    import jax.numpy as jnp

    try:
        found = jnp.dtype(dtype)
    except (TypeError, ValueError, RuntimeError, AttributeError):  # as NumPy and JAX say it
        found = None
    if found is None or found.name not in FLOATS:
        raise InputError(
            "dtype", found=f"is {printable(dtype, 60)}", expected=", ".join(FLOATS)
        )
    return found


def _reject_packed(
    fit: CheckpointFit, tensors: "Mapping[str, np.ndarray | Pieces]", place: str
) -> None:
    """Raise if a tensor to read or to compare is not of a float dtype."""
    names = (*fit.stored, *fit.aliases, *fit.unexpected)
    dtypes = {name: tensors[name].dtype.name for name in names if name in tensors}
    packed = [f"{printable(n)} {d}" for n, d in dtypes.items() if d not in FLOATS]
    if packed:
        raise packed_error(
            place, f"holds {first_few(packed)}, a dtype of quantised weights"
        )


def _reject_rounding(
    fit: CheckpointFit,
    tensors: "Mapping[str, np.ndarray | Pieces]",
    target: "np.dtype | None",
    place: str,
) -> None:
    """Raise if JAX would round float64."""
    import jax

    present = [name for name in fit.stored if name in tensors]
    wide = [n for n in present if (target or tensors[n].dtype).name == "float64"]
    if wide and not jax.config.read("jax_enable_x64"):
        raise InputError(
            place,
            found=f"{first_few(map(printable, wide))} would be float64, which JAX rounds",
            expected="float64 enabled, or a smaller dtype",
            cure='call jax.config.update("jax_enable_x64", True), or pass dtype="float32"',
        )
