"""The parameters of a module -> named arrays of a checkpoint."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from explorer.architectures.architecture import Architecture
from explorer.architectures.checkpoint_fit import is_bare
from explorer.architectures.families import architecture_of, checkpoint_names_of
from explorer.architectures.stored_tensors import StoredTensor, stored_tensors
from explorer.errors import TreeError, first_few, printable
from explorer.pretrained.arrays import FLOATS, array_of
from explorer.pretrained.leaves import origins
from explorer.tree.nesting import check_tree
from explorer.tree.types import Params

if TYPE_CHECKING:
    import numpy as np

    from explorer.architectures.declaration import DeclaredTensor


__all__ = ["to_checkpoint"]

Path = tuple[str, ...]


def to_checkpoint(params: Params, config: Mapping[str, Any]) -> "dict[str, np.ndarray]":
    """Return parameters as a checkpoint's tensors.

    The inverse of `explorer.load_pretrained` and `explorer.pretrained.from_tensors`.

    Args:
        params: parameters in either layout, as those functions return them.
        config: the config of their model, as `explorer.pretrained.config_of` returns it.

    Returns:
        Arrays under the names of the config's class; views of the parameters where these
        are in host memory.

    Raises:
        InputError: the config's model is not supported.
        TreeError: a leaf is missing, unexpected, of another shape, or not a float array;
            one line names it.

    >>> import jax, jax.numpy as jnp
    >>> import explorer as ex
    >>> config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2,
    ...           "n_positions": 4, "vocab_size": 6}
    >>> model = ex.build_model(config)
    >>> params = model.init(jax.random.key(0), jnp.zeros((1, 4), int))["params"]
    >>> to_checkpoint(params, config)["transformer.h.0.attn.c_attn.weight"].shape
    (8, 24)
    """
    for place, given, wanted in (
        ("config", config, "a dict, the content of a config.json"),
        ("params", params, "a nested dict of arrays"),
    ):
        if not isinstance(given, Mapping):
            raise TreeError(place, found=f"is {type(given).__name__}", expected=wanted)
    check_tree(params)
    architecture = architecture_of(config)
    leaves = dict(_flatten(params, ()))
    scan = any(path[0].startswith("stages_") for path in leaves)
    unrolled: dict[Path, np.ndarray] = {}
    missing = []
    for leaf, layers, stacked in origins(architecture, scan):
        if leaf.path not in leaves:
            missing.append("/".join(leaf.path))
            continue
        array = _checked(leaves.pop(leaf.path), leaf)
        unrolled |= zip(layers, array if stacked else [array], strict=True)
    if missing or leaves:
        raise _misfit(missing, ["/".join(path) for path in leaves], architecture)
    stored = stored_tensors(
        architecture, checkpoint_names_of(architecture), is_bare(architecture)
    )
    return {name: _store(name, tensor, unrolled) for name, tensor in stored.items()}


def _checked(value: Any, leaf: "DeclaredTensor") -> "np.ndarray":
    """Return the values of a leaf, checked for the declared shape and a float dtype."""
    place = "params/" + "/".join(leaf.path)
    array = array_of(value, place)
    if array.shape != leaf.shape:
        raise TreeError(
            place, found=f"has shape {list(array.shape)}", expected=f"{list(leaf.shape)}"
        )
    if array.dtype.name not in FLOATS:
        raise TreeError(place, found=f"is {array.dtype.name}", expected=", ".join(FLOATS))
    return array


def _store(
    name: str, tensor: StoredTensor, unrolled: "Mapping[Path, np.ndarray]"
) -> "np.ndarray":
    leaves = [
        unrolled[path] if tensor.expert is None else unrolled[path][tensor.expert]
        for path in tensor.leaves
    ]
    formats = sorted({leaf.dtype.name for leaf in leaves})
    if len(formats) > 1:
        raise TreeError(
            "params",
            found=f"{', '.join('/'.join(p) for p in tensor.leaves)} are "
            + " and ".join(formats),
            expected=f"one dtype, because {name} holds them all",
        )
    return tensor.layout.store(leaves)


def _misfit(
    missing: list[str], unexpected: list[str], architecture: Architecture
) -> TreeError:
    parts = [f"lacks {first_few(missing)}"] if missing else []
    if unexpected:
        parts.append(f"has unexpected {first_few(map(printable, unexpected))}")
    return TreeError(
        "params",
        found=" and ".join(parts),
        expected=f"the parameters of this config's {architecture.class_name}",
        cure='pass the content of "params", in either layout',
    )


def _flatten(tree: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, (*path, str(name)))
        else:
            yield (*path, str(name)), value
