"""The parameters of a module -> named arrays of a checkpoint."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from explorer.architectures.architecture import Architecture
from explorer.architectures.families import architecture_of, names_of
from explorer.architectures.fitting import is_bare, listed
from explorer.architectures.names import Stored, stored_tensors
from explorer.errors import TreeError, printable
from explorer.pretrained.arrays import FLOATS, array_of
from explorer.pretrained.leaves import origins

if TYPE_CHECKING:
    import numpy as np

    from explorer.architectures.declare import Declared

__all__ = ["to_checkpoint"]

Path = tuple[str, ...]


def to_checkpoint(
    params: Mapping[str, Any], config: Mapping[str, Any]
) -> "dict[str, np.ndarray]":
    """Return parameters as a checkpoint's tensors.

    The inverse of `explorer.load_pretrained` and `explorer.pretrained.from_tensors`.

    Args:
        params: the parameters of either layout, as those return them: arrays of floats that
            hold values.
        config: the config of their model, as of `explorer.pretrained.config_of`.

    Returns:
        Arrays under the names of the config's class; views of the parameters where they
        lie in the memory of the host.

    Raises:
        InputError: the config's model is not built.
        TreeError: a leaf is missing, left over, no array, of another shape or no float; one
            line names it.
    """
    for place, given, wanted in (
        ("config", config, "a dict, the content of a config.json"),
        ("params", params, "a nested dict of arrays"),
    ):
        if not isinstance(given, Mapping):
            raise TreeError(place, found=f"is {type(given).__name__}", expected=wanted)
    architecture = architecture_of(config)
    leaves = dict(_flatten(params, ()))
    scan = any(path[0].startswith("stages_") for path in leaves)
    apart: dict[Path, np.ndarray] = {}
    lacking = []
    for leaf, layers, stacked in origins(architecture, scan):
        if leaf.path not in leaves:
            lacking.append("/".join(leaf.path))
            continue
        array = _checked(leaves.pop(leaf.path), leaf)
        apart |= zip(layers, array if stacked else [array], strict=True)
    if lacking or leaves:
        raise _ill_fitting(lacking, ["/".join(path) for path in leaves], architecture)
    stored = stored_tensors(architecture, names_of(architecture), is_bare(architecture))
    return {name: _store(name, tensor, apart) for name, tensor in stored.items()}


def _checked(value: Any, leaf: "Declared") -> "np.ndarray":
    """Return the values of a leaf; refuse what no checkpoint of this model could hold."""
    place = "params/" + "/".join(leaf.path)
    array = array_of(value, place)
    if array.shape != leaf.shape:
        raise TreeError(
            place, found=f"has shape {list(array.shape)}", expected=f"{list(leaf.shape)}"
        )
    if array.dtype.name not in FLOATS:
        raise TreeError(place, found=f"is {array.dtype.name}", expected=", ".join(FLOATS))
    return array


def _store(name: str, tensor: Stored, apart: "Mapping[Path, np.ndarray]") -> "np.ndarray":
    leaves = [
        apart[path] if tensor.expert is None else apart[path][tensor.expert]
        for path in tensor.leaves
    ]
    formats = sorted({leaf.dtype.name for leaf in leaves})
    if len(formats) > 1:
        raise TreeError(
            "params",
            found=f"{', '.join('/'.join(p) for p in tensor.leaves)} are "
            + " and ".join(formats),
            expected=f"one format, as {name} holds them all",
        )
    return tensor.form.store(leaves)


def _ill_fitting(
    lacking: list[str], beyond: list[str], architecture: Architecture
) -> TreeError:
    parts = [f"lacks {listed(lacking)}"] if lacking else []
    parts += [f"has unexpected {listed(map(printable, beyond))}"] if beyond else []
    return TreeError(
        "params",
        found=" and ".join(parts),
        expected=f"the parameters of this config's {architecture.class_name}",
        cure='give what is under "params", in either layout',
    )


def _flatten(tree: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, (*path, str(name)))
        else:
            yield (*path, str(name)), value
