"""Adapters by the modules of a checkpoint <-> adapters by the paths of parameters."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from explorer.architectures.architecture import Architecture
from explorer.architectures.families import checkpoint_names_of
from explorer.architectures.gguf_names import gguf_names
from explorer.architectures.stored_tensors import StoredTensor, alias_tensors, iter_stored
from explorer.errors import InputError, first_few, printable
from explorer.transforms.adapters.adapter import Adapter, Variant
from explorer.transforms.adapters.foreign import sites_in
from explorer.transforms.adapters.kernels import Kernel, axes_of
from explorer.transforms.adapters.peft_files import (
    StoredAdapter,
    StoredAdapters,
    not_in_model,
)
from explorer.transforms.adapters.sites import joined_path, stacked_places
from explorer.transforms.adapters.trees import ParameterLeaves
from explorer.tree.nest import nest

__all__ = ["adapters_of"]

Path = tuple[str, ...]


class _Member(NamedTuple):
    """One matrix of a batch: its position in it, what a file has for it, and its layout."""

    position: tuple[int, ...]
    module: str
    adapter: StoredAdapter
    stored: StoredTensor


def adapters_of(
    stored: StoredAdapters, leaves: ParameterLeaves, architecture: Architecture | None
) -> Any:
    """Return the tree of adapters that a file holds, for these parameters.

    Args:
        stored: of `read_peft` or `read_gguf_adapters`.
        leaves: of the parameters that they adapt; shapes suffice.
        architecture: of explorer's models, in either layout; None for other trees, whose
            modules are then called as their paths are.

    Raises:
        InputError: the adapters are of another model; what differs is named.

    """
    if architecture is None:
        return nest(dict(_by_paths(stored, leaves)))
    table = _table(architecture, stored.names)
    prefix = checkpoint_names_of(architecture).base_prefix
    wrong = [
        name
        for name in (*(f"{m}.weight" for m in stored.modules), *stored.saved)
        if name.removeprefix(prefix) not in table
    ]
    if wrong:
        raise not_in_model(stored.place, wrong, architecture.class_name)
    found: dict[Path, Any] = {}
    for paths, members in _grouped(stored, table, prefix, leaves, architecture).items():
        found[joined_path(paths)] = _adapter(stored, paths, members, leaves)
    for name, array in stored.saved.items():
        found |= _saved(stored.place, table[name.removeprefix(prefix)], array, leaves)
    return nest(found)


def _table(architecture: Architecture, names: str) -> dict[str, StoredTensor]:
    """Return the tensors of a checkpoint by name, without the family's base prefix."""
    known = (
        gguf_names(architecture) if names == "gguf" else checkpoint_names_of(architecture)
    )
    every = alias_tensors(architecture, known) | dict(iter_stored(architecture, known))
    return {name.removeprefix(known.base_prefix): each for name, each in every.items()}


def _grouped(
    stored: StoredAdapters,
    table: Mapping[str, StoredTensor],
    prefix: str,
    leaves: ParameterLeaves,
    architecture: Architecture,
) -> dict[tuple[Path, ...], list[_Member]]:
    """Return the matrices of each adapter: of a stack of layers or experts, all of them."""
    scan = any(path[0].startswith("stages_") for path in leaves.paths)
    places = stacked_places(architecture) if scan else {}
    found: dict[tuple[Path, ...], list[_Member]] = {}
    for module, adapter in stored.modules.items():
        tensor = table[f"{module}.weight".removeprefix(prefix)]
        layer = next(iter(tensor.leaves[0]))
        stack, row = places.get(layer, ((layer,), None))
        index = () if row is None else (row,)
        index = index if tensor.expert is None else (*index, tensor.expert)
        paths = tuple((*stack, *path[1:]) for path in tensor.leaves)
        found.setdefault(paths, []).append(_Member(index, module, adapter, tensor))
    return found


def _adapter(
    stored: StoredAdapters,
    paths: tuple[Path, ...],
    members: list[_Member],
    leaves: ParameterLeaves,
) -> Adapter:
    kernels = tuple(
        Kernel(path, shape, "b" * (len(shape) - 2) + "io")
        for path in paths
        for shape in [tuple(leaves[path].shape)]
    )
    first, batch = members[0], kernels[0].batch
    if (
        len(members) != prod(batch)
        or len({(m.adapter.rank, m.adapter.alpha) for m in members}) > 1
    ):
        raise InputError(
            stored.place,
            found=f"{len(members)} of {prod(batch)} matrices of {'/'.join(paths[0])}, "
            "or of several ranks",
            expected="one rank for all that are stacked",
            cure="load the model with scan=False",
        )
    inputs, outputs = kernels[0].sides[0], sum(kernel.sides[1] for kernel in kernels)
    for member in members:
        a, b = member.adapter.a, member.adapter.b
        if (a.shape[1], b.shape[0]) != (inputs, outputs):
            raise InputError(
                stored.place,
                found=f"are adapters of another model: {printable(member.module)} is "
                f"[{b.shape[0]}, {a.shape[1]}] there, [{outputs}, {inputs}] here",
                expected="modules of this model",
                cure="give the model that they were trained for",
            )
    rank, dtype = first.adapter.rank, first.adapter.a.dtype
    whole_a = np.empty((*batch, inputs, rank), dtype)
    whole_b = np.empty((*batch, rank, outputs), dtype)
    has_norms = first.adapter.magnitude is not None
    norms = np.empty((*batch, outputs), dtype) if has_norms else None
    for member in members:
        whole_a[member.position] = member.adapter.a.T
        whole_b[member.position] = _ordered(member, member.adapter.b, kernels)
        if norms is not None and member.adapter.magnitude is not None:
            rows = member.adapter.magnitude[:, None]
            norms[member.position] = _ordered(member, rows, kernels).reshape(-1)
    variant: Variant = (
        "dora" if has_norms else "rslora" if stored.config.use_rslora else "lora"
    )
    alpha = first.adapter.alpha
    if has_norms and stored.config.use_rslora:
        alpha = alpha * rank**0.5  # so that alpha / rank is their scale
    return Adapter(
        whole_a, whole_b, norms, float(alpha), variant, kernels, first.stored.layout.groups
    )


def _ordered(member: _Member, rows: np.ndarray, kernels: tuple[Kernel, ...]) -> np.ndarray:
    """Return rows [outputs, n] of a file as [n, outputs], in the order of the kernels'."""
    layout, n = member.stored.layout, rows.shape[1]
    if len(kernels) > 1 or layout.axes is None:
        return rows.T
    return layout.leaves(rows, [(n, next(iter(kernels)).sides[1])])[0]


def _saved(
    place: str, stored: StoredTensor, array: np.ndarray, leaves: ParameterLeaves
) -> Iterator[tuple[Path, Any]] | dict[Path, Any]:
    """Return the parameters that a tensor trained whole replaces."""
    missing = ["/".join(path) for path in stored.leaves if path not in leaves]
    if missing:
        raise InputError(
            place, found=f"trains {first_few(missing)} whole, which is stacked or tied here",
            expected="a parameter of its own",
        )  # fmt: skip
    shapes = [tuple(leaves[path].shape) for path in stored.leaves]
    return dict(zip(stored.leaves, stored.layout.leaves(array, shapes), strict=True))


def _by_paths(
    stored: StoredAdapters, leaves: ParameterLeaves
) -> Iterator[tuple[Path, Any]]:
    """Yield adapters whose modules are called as the paths of kernels."""
    by_module = {
        ".".join(path[:-1]): path
        for path, leaf in leaves.items()
        if axes_of(path, tuple(leaf.shape)) is not None
    }
    if wrong := [name for name in stored.modules if name not in by_module]:
        raise not_in_model(stored.place, wrong, "these parameters")
    for module, each in stored.modules.items():
        path = by_module[module]
        (site,) = sites_in(leaves, ("/".join(path),))
        if (each.a.shape[1], each.b.shape[0]) != (site.inputs, site.outputs):
            raise InputError(
                stored.place,
                found=f"{printable(module)} is [{each.b.shape[0]}, {each.a.shape[1]}]",
                expected=f"[{site.outputs}, {site.inputs}], as in these parameters",
            )
        variant: Variant = "dora" if each.magnitude is not None else "lora"
        alpha = each.scale * each.rank
        yield (
            path,
            Adapter(each.a.T, each.b.T, each.magnitude, alpha, variant, site.kernels),
        )
    by_name = {".".join(path): path for path in leaves.paths}
    for name, array in stored.saved.items():
        if name not in by_name:
            raise not_in_model(stored.place, [name], "these parameters")
        yield by_name[name], array
