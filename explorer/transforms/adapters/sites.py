"""An architecture and targets -> the kernels that adapters adapt, in either layout. No JAX."""

from collections.abc import Iterator
from math import prod

from explorer.architectures.architecture import Architecture
from explorer.architectures.checkpoint_fit import is_bare
from explorer.architectures.declaration import DeclaredTensor, declare, layer_name
from explorer.architectures.families import checkpoint_names_of
from explorer.architectures.stored_tensors import StoredTensor, iter_expert_groups
from explorer.errors import InputError
from explorer.sizing.training.lora import Adapted, adapted_matrices
from explorer.transforms.adapters.kernels import Kernel, Site

__all__ = ["joined_path", "sites_of", "stacked_places"]

Path = tuple[str, ...]


def sites_of(
    architecture: Architecture, targets: tuple[str, ...], scan: bool = False
) -> list[Site]:
    """Return what adapters of these targets adapt.

    Args:
        architecture: the model.
        targets: as of `adapted_matrices`.
        scan: whether layers are stacked; then one site holds those of all layers of a stack.

    Raises:
        InputError: a target that names no linear layer.

    >>> from explorer.architectures.resolve import resolve
    >>> gpt2 = resolve("gpt2").architecture
    >>> site = sites_of(gpt2, ("c_attn",))[0]
    >>> site.name, site.inputs, site.outputs, len(site.kernels), site.stored
    ('layers_0/attention/query_key_value/kernel', 768, 2304, 3, ('transformer.h.0.attn.c_attn',))
    >>> sites_of(gpt2, ("c_attn",), scan=True)[0].batch
    (12,)
    """
    names = checkpoint_names_of(architecture)
    stored = {name: each for name, each, _ in iter_expert_groups(architecture, names)}
    declared = {tensor.path: tensor for tensor in declare(architecture, scan)}
    place = stacked_places(architecture) if scan else {}
    bare = names.base_prefix if is_bare(architecture) else ""
    found: dict[tuple[Path, ...], list[Adapted]] = {}
    for each in adapted_matrices(architecture, targets):
        leaves = tuple(
            (*place.get(path[0], (path[:1], 0))[0], *path[1:]) for path in each.leaves
        )
        found.setdefault(leaves, []).append(each)
    return [
        _site(leaves, layers, stored[layers[0].name], declared, bare)
        for leaves, layers in found.items()
    ]


def _site(
    leaves: tuple[Path, ...],
    layers: list[Adapted],
    stored: StoredTensor,
    declared: dict[Path, DeclaredTensor],
    bare: str,
) -> Site:
    tensors = [declared[path] for path in leaves]
    kernels = tuple(
        Kernel(t.path, t.shape, "b" * (len(t.shape) - 2) + "io") for t in tensors
    )
    modules = [
        each.name.replace("{e}", str(expert)).removesuffix(".weight").removeprefix(bare)
        for each in layers
        for expert in range(each.copies)
    ]
    if len(modules) != (stacked := prod(kernels[0].batch)):
        raise InputError(
            "lora",
            found=f"targets name {len(modules)} of {stacked} matrices of a stack",
            expected="all layers of a stack, which one adapter adapts",
            cure="load the model without scan=True",
        )
    return Site(joined_path(leaves), kernels, stored.layout.groups, tuple(modules))


def joined_path(leaves: tuple[Path, ...]) -> Path:
    """Return the path of an adapter: that of its kernel, or one that names them all."""
    first, *others = leaves
    if not others:
        return first
    *around, _, last = first
    return (*around, "_".join(path[-2] for path in leaves), last)


def stacked_places(architecture: Architecture) -> dict[str, tuple[Path, int]]:
    """Return where the stacked layout has each layer: the path of its stack, and its row."""
    return dict(_layers(architecture))


def _layers(architecture: Architecture) -> Iterator[tuple[str, tuple[Path, int]]]:
    start = 0
    for number, stage in enumerate(architecture.stages):
        period = len(stage.blocks)
        for index in range(stage.layers):
            stack = (f"stages_{number}", f"block_{index % period}")
            yield layer_name(start + index), (stack, index // period)
        start += stage.layers
