"""Named arrays of a checkpoint -> a module and its parameters."""

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from explorer.errors import InputError, printable
from explorer.models.architecture import Architecture
from explorer.models.families import architecture_of, names_of
from explorer.models.names import Names
from explorer.sources.fitting import fit, listed
from explorer.pretrained.leaves import gather

if TYPE_CHECKING:
    import numpy as np

    from explorer.models.transformer import Transformer

__all__ = ["architecture_from", "build", "from_tensors"]

_FLOATS = ("float16", "bfloat16", "float32", "float64")


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
        dtype: a float format for every leaf; None keeps the stored ones.
        place: what errors call the source.

    Returns:
        The module and its "params": `module.apply({"params": params}, tokens)`.

    Raises:
        InputError: the config's model is not built, weights are quantised, or a tensor is
            missing, left over or of another shape; one line names it.
    """
    architecture = architecture_from(config, place)
    arrays = _arrays(tensors, place)
    return build(architecture, names_of(architecture), arrays, scan, dtype, place=place)


def architecture_from(config: Mapping[str, Any], place: str) -> Architecture:
    """Return the architecture of a config whose weights are stored as they are.

    Raises:
        InputError: it says that they are quantised, or its model is not built.
    """
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
) -> "tuple[Transformer, dict[str, Any]]":
    """Return the module of an architecture and its parameters; `tensors` is used up."""
    from explorer.models.transformer import Transformer

    target = None if dtype is None else _float_format(dtype)
    found = fit(architecture, names, {n: tensor.shape for n, tensor in tensors.items()})
    held = [name for name in (*found.stored, *found.unexpected) if name in tensors]
    _refuse_formats({name: tensors[name].dtype.name for name in held}, target, place)
    found.require(place)
    params = gather(architecture, found.stored, tensors, scan, target)
    return Transformer(architecture, scan=scan), params


def _arrays(tensors: Mapping[str, Any], place: str) -> "dict[str, np.ndarray]":
    import numpy as np

    arrays = {}
    for name, tensor in tensors.items():
        try:
            if not hasattr(tensor, "__array__"):
                raise TypeError
            arrays[name] = np.asarray(tensor)
        except TypeError:  # PyTorch's tensors raise it for a format that NumPy lacks
            raise InputError(
                place,
                found=f"{printable(name)} is {type(tensor).__name__}, which NumPy cannot hold",
                expected="arrays of NumPy, ml_dtypes or JAX",
            ) from None
    return arrays


def _float_format(dtype: Any) -> "np.dtype":
    import jax.numpy as jnp

    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in _FLOATS:
        raise InputError(
            "dtype", found=f"is {printable(dtype, 60)}", expected=", ".join(_FLOATS)
        )
    return found


def _refuse_formats(formats: dict[str, str], target: "np.dtype | None", place: str) -> None:
    """Refuse formats that are no floats, and float64 where JAX would round it."""
    import jax

    packed = [f"{printable(n)} {f}" for n, f in formats.items() if f not in _FLOATS]
    if packed:
        raise _packed(place, f"holds {listed(packed)}, as quantised weights are stored")
    wide = [n for n, f in formats.items() if (target.name if target else f) == "float64"]
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
        expected=f"weights in {', '.join(_FLOATS)}: this packing is not read as weights",
        cure="dequantise them with the library that packed them, and save the result",
    )
