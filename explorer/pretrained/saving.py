"""The parameters of a module -> named arrays of a checkpoint."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from explorer.errors import TreeError, printable
from explorer.models.architecture import Architecture
from explorer.models.families import architecture_of, names_of
from explorer.models.names import stored_tensors
from explorer.sources.fitting import is_bare, listed
from explorer.pretrained.leaves import origins

if TYPE_CHECKING:
    import jax
    import numpy as np

__all__ = ["to_checkpoint"]

Path = tuple[str, ...]


def to_checkpoint(
    params: Mapping[str, Any], config: Mapping[str, Any]
) -> "dict[str, np.ndarray]":
    """Return parameters as a checkpoint's tensors: the inverse of `from_tensors`.

    Args:
        params: the parameters of either layout, as `from_tensors` returns them.
        config: the config of their model.

    Returns:
        Arrays under the names of the config's class; views of the parameters where they
        lie in the memory of the host.

    Raises:
        InputError: the config's model is not built.
        TreeError: a leaf is missing, left over or of another shape; one line names it.
    """
    import numpy as np

    architecture = architecture_of(config)
    if not isinstance(params, Mapping):
        raise TreeError(
            "params",
            found=f"is {type(params).__name__}",
            expected="a nested dict of arrays",
        )
    leaves = dict(_flatten(params, ()))
    scan = any(path[0].startswith("stages_") for path in leaves)
    apart: dict[Path, np.ndarray] = {}
    lacking = []
    for leaf, layers, stacked in origins(architecture, scan):
        if leaf.path not in leaves:
            lacking.append("/".join(leaf.path))
            continue
        array = np.asarray(leaves.pop(leaf.path))
        if array.shape != leaf.shape:
            raise TreeError(
                "params/" + "/".join(leaf.path),
                found=f"has shape {list(array.shape)}",
                expected=f"{list(leaf.shape)}",
            )
        apart |= zip(layers, array if stacked else [array], strict=True)
    if lacking or leaves:
        raise _ill_fitting(lacking, ["/".join(path) for path in leaves], architecture)
    stored = stored_tensors(architecture, names_of(architecture), is_bare(architecture))
    return {
        name: tensor.form.store(
            [
                apart[path] if tensor.expert is None else apart[path][tensor.expert]
                for path in tensor.leaves
            ]
        )
        for name, tensor in stored.items()
    }


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


def _flatten(tree: Mapping[str, Any], path: Path) -> "Iterator[tuple[Path, jax.Array]]":
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, (*path, str(name)))
        else:
            yield (*path, str(name)), value
