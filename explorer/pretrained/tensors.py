"""Named arrays of a checkpoint -> a module and its parameters."""

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from explorer.architectures.architecture import Architecture
from explorer.architectures.families import architecture_of, names_of
from explorer.architectures.fitting import Fit, fit, fitting_class, listed
from explorer.architectures.names import Names
from explorer.errors import InputError, TreeError, printable
from explorer.pretrained.arrays import FLOATS, array_of, same_values
from explorer.pretrained.leaves import gather

if TYPE_CHECKING:
    import numpy as np

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
            prefix. They are copied, never changed.
        scan: whether alike layers are stacked along a leading axis.
        dtype: a float format for every leaf; None keeps the stored ones, and refuses to
            stack layers or experts of several.
        place: what errors call the source.

    Returns:
        The module and its "params": `module.apply({"params": params}, tokens)`.

    Raises:
        InputError: the config's model is not built, weights are quantised, a tensor is
            missing, left over or of another shape, or the names of a tied one have other
            values; one line names it.
        TreeError: an argument that is no mapping, or a tensor that is no array.
    """
    architecture = architecture_from(config, place)
    arrays = _arrays(tensors, place)
    names = names_of(architecture)
    return build(architecture, names, arrays, scan, dtype, place=place, config=config)


def architecture_from(config: Mapping[str, Any], place: str) -> Architecture:
    """Return the architecture of a config whose weights are stored as they are.

    Raises:
        InputError: it says that they are quantised, or its model is not built.
        TreeError: it is no mapping.
    """
    if not isinstance(config, Mapping):
        raise TreeError(
            place,
            found=f"config is {type(config).__name__}",
            expected="a dict, the content of a config.json",
        )
    packing = config.get("quantization_config") or config.get("quantization")
    if packing:
        method = packing.get("quant_method") if isinstance(packing, Mapping) else None
        raise _packed(place, f"describes {printable(method or 'packed', 40)} weights")
    return architecture_of(config, place)


def build(
    architecture: Architecture,
    names: Names,
    tensors: "MutableMapping[str, np.ndarray]",
    scan: bool,
    dtype: Any,
    *,
    place: str,
    config: Mapping[str, Any] | None = None,
) -> "tuple[Transformer, dict[str, Any]]":
    """Return the module of an architecture and its parameters; `tensors` is used up.

    `config` is what describes the architecture; None where a file describes itself.
    """
    from explorer.models.transformer import Transformer

    target = None if dtype is None else _float_format(dtype)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    found = fit(architecture, names, shapes)
    _refuse_packed(found, tensors, place)
    _refuse_rounding(found, tensors, target, place)
    if not found.whole and config is None:
        whose, cure = "the model in its metadata", "fetch or write it again"
        found.require(place, model=whose, cure=cure)
    if not found.whole and config is not None:
        # of a config that declares far more than is there, no class is near
        fitting = fitting_class(config, shapes) if found.stored else None
        cure = f'set architectures to ["{fitting}"], whose tensors these are'
        found.require(place, cure=cure if fitting else "")
    for second, first in found.seconds.items():
        _require_tied(first, second, tensors, architecture.tied, place)
        del tensors[second]
    params = gather(architecture, found.stored, tensors, scan, target, place)
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
                found=f"the name {printable(repr(name), 60)} is {type(name).__name__}",
                expected="names that are str",
            )
        arrays[name] = array_of(tensor, place, name)
    return arrays


def _require_tied(
    first: str,
    second: str,
    tensors: "Mapping[str, np.ndarray]",
    tied: bool,
    place: str,
) -> None:
    """Refuse a tensor that is there by two names with different values."""
    if same_values(tensors[first], tensors[second]):
        return
    own = "set tie_word_embeddings to false if each is its own, or "
    raise InputError(
        place,
        found=f"{printable(second)} has other values than {printable(first)}",
        expected="the same: they are two names of one tensor",
        cure=f"{own if tied else ''}leave one of them out",
    )


def _float_format(dtype: Any) -> "np.dtype":
    import jax.numpy as jnp

    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in FLOATS:
        raise InputError(
            "dtype", found=f"is {printable(dtype, 60)}", expected=", ".join(FLOATS)
        )
    return found


def _refuse_packed(found: Fit, tensors: "Mapping[str, np.ndarray]", place: str) -> None:
    """Refuse formats that are no floats, in what is read and in what is compared."""
    held = (*found.stored, *found.seconds, *found.unexpected)
    formats = {name: tensors[name].dtype.name for name in held if name in tensors}
    packed = [f"{printable(n)} {f}" for n, f in formats.items() if f not in FLOATS]
    if packed:
        raise _packed(place, f"holds {listed(packed)}, as quantised weights are stored")


def _refuse_rounding(
    found: Fit,
    tensors: "Mapping[str, np.ndarray]",
    target: "np.dtype | None",
    place: str,
) -> None:
    """Refuse float64 where JAX would round it."""
    import jax

    held = [name for name in found.stored if name in tensors]
    wide = [n for n in held if (target or tensors[n].dtype).name == "float64"]
    if wide and not jax.config.read("jax_enable_x64"):
        raise InputError(
            place,
            found=f"{listed(map(printable, wide))} would be float64, which JAX rounds",
            expected="float64 enabled, or a smaller format",
            cure='call jax.config.update("jax_enable_x64", True), or pass dtype="float32"',
        )


def _packed(place: str, found: str) -> InputError:
    return InputError(
        place,
        found=found,
        expected=f"weights in {', '.join(FLOATS)}: this packing is not read as weights",
        cure="dequantise them with the library that packed them, and save the result",
    )
