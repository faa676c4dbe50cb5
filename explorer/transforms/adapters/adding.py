"""New adapters for kernels: A drawn as peft draws it, B zero, so that nothing changes yet."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from explorer.architectures.architecture import Architecture
from explorer.arguments import check_kinds, check_tree_given
from explorer.errors import InputError, shown
from explorer.training.step.checks import check_float, check_key
from explorer.transforms.adapters.adapter import Adapter, Variant, check_variant
from explorer.transforms.adapters.changes import change_of_adding
from explorer.transforms.adapters.foreign import sites_in
from explorer.transforms.adapters.kernels import Site
from explorer.transforms.adapters.sites import sites_of
from explorer.transforms.adapters.sums import column_norms
from explorer.transforms.adapters.trees import ParameterLeaves, unpacked
from explorer.transforms.records import Change
from explorer.tree.nest import nest
from explorer.tree.nesting import check_tree

__all__ = ["add_lora", "find_sites"]


def add_lora(
    params: Any,
    rank: int,
    targets: str | Sequence[str] = ("q", "v"),
    *,
    alpha: float | None = None,
    variant: Variant = "lora",
    rng: Any = None,
    dtype: DTypeLike = "float32",
    save: str | Sequence[str] = (),
    architecture: Architecture | None = None,
    axes: Mapping[str, str] | None = None,
) -> tuple[Any, Change]:
    """Return adapters for kernels of parameters, and what they add to them.

    A is uniform within 1 / sqrt(inputs), as peft's (He's initialisation with a slope of
    sqrt(5)), and B is zero: `apply_lora` returns what it is given until they are trained.

    Args:
        params: a tree of any framework; arrays, shapes or quantised tensors. Only DoRA reads
            their values.
        rank: of each adapter.
        targets: modules as checkpoints spell them ("q_proj"; of explorer's models, with
            `architecture`), short words ("q", "v", "up"), groups ("attention", "mlp",
            "all-linear"), or globs of paths ("**/query/kernel").
        alpha: the scale times the rank (rsLoRA: times its root); None for the rank, so that
            LoRA's scale is 1.
        variant: "lora", "rslora" or "dora".
        rng: a key, from which each adapter draws its own by its path; None for key 0.
        dtype: of the adapters.
        save: globs of parameters that are trained whole beside the adapters (a head): copies
            of them stand in the tree of adapters.
        architecture: of explorer's models; a fused projection has one adapter then, as in peft.
        axes: what the axes of kernels are whose names do not tell; see `Kernel`.

    Returns:
        A nested dict of `Adapter`s by the paths of their kernels; and the change: the
        parameters before and after, and how many are trained.

    Raises:
        InputError: a target that names no kernel, a rank that is not below a matrix's
            smaller side, another variant.

    >>> params = {"query": {"kernel": jnp.ones((8, 4))}, "key": {"kernel": jnp.ones((8, 4))}}
    >>> adapters, change = add_lora(params, 2, "query")
    >>> jax.tree.map(jnp.shape, adapters["query"]["kernel"].lora_b)
    (2, 4)
    >>> change.parameters_before, change.parameters_after, change.trainable
    (64, 88, 24)
    """
    check_tree_given("params", params, "a tree of parameters")
    check_tree(params)
    check_variant(variant)
    check_kinds(
        ("rank", rank, "a whole number"),
        ("targets", targets, "a str or a list of them"),
        ("alpha", alpha, "a number or None"),
        ("save", save, "a str or a list of them"),
    )
    dtype = check_float(dtype, "dtype")
    leaves = ParameterLeaves(params)
    alpha = float(rank) if alpha is None else alpha
    sites = find_sites(leaves, targets, architecture, axes)
    key = jax.random.key(0) if rng is None else check_key(rng)
    found: dict[tuple[str, ...], Any] = {}
    for site in sites:
        site.check_rank(rank)
        a, b = _drawn(site, rank, key, dtype)
        norms = _norms(site, leaves, dtype) if variant == "dora" else None
        found[site.path] = Adapter(
            a, b, norms, float(alpha), variant, site.kernels, site.groups
        )
    found |= _saved(leaves, (save,) if isinstance(save, str) else save, found)
    adapters = nest(found)
    return adapters, change_of_adding(leaves, adapters, f"lora add {variant} rank {rank}")


def find_sites(
    leaves: ParameterLeaves,
    targets: str | Sequence[str],
    architecture: Architecture | None,
    axes: Mapping[str, str] | None = None,
) -> list[Site]:
    """Return what targets name: of an architecture's parameters, or of any tree.

    Raises:
        InputError: no target, or one that names no kernel.
    """
    words = (targets,) if isinstance(targets, str) else tuple(targets)
    if not words or not all(isinstance(word, str) and word for word in words):
        found = shown(targets, 60)
        raise InputError("targets", found=found, expected="one or several names or globs")
    globs = any(letter in word for word in words for letter in "*?[/")
    if architecture is None or globs or axes:
        return sites_in(leaves, words, axes)
    scan = any(path[0].startswith("stages_") for path in leaves.paths)
    return sites_of(architecture, words, scan)


def _drawn(site: Site, rank: int, key: Any, dtype: DTypeLike) -> tuple[Any, Any]:
    """Return A and B of a site; its key depends on its path alone, not on other targets."""
    import zlib

    own = jax.random.fold_in(key, zlib.crc32(site.name.encode()))
    bound = 1 / sqrt(site.inputs)
    shape = (*site.batch, site.inputs, rank)
    a = jax.random.uniform(own, shape, jnp.float32, -bound, bound).astype(dtype)
    return a, jnp.zeros((*site.batch, rank, site.outputs), dtype)


def _norms(site: Site, leaves: ParameterLeaves, dtype: DTypeLike) -> Any:
    """Return the norms of the columns, in the order of the adapter's outputs."""
    parts = []
    for kernel in site.kernels:
        values = np.asarray(unpacked(leaves[kernel.path])).astype(np.float32)
        norms = column_norms(kernel.matrices(values))
        parts.append(norms.reshape(*norms.shape[:-1], site.groups, -1))
    joined = np.concatenate(parts, -1)
    return jnp.asarray(joined.reshape(*joined.shape[:-2], -1), dtype)


def _saved(leaves: ParameterLeaves, globs: Sequence[str], adapted: Any) -> dict[Any, Any]:
    """Return copies of the parameters that are trained whole."""
    from explorer.paths import matches

    found: dict[Any, Any] = {}
    for glob in globs:
        fitting = [
            path for path in leaves.paths if matches(path, glob) and path not in adapted
        ]
        if not fitting:
            raise InputError(
                "save",
                found=f"{shown(glob, 60)} matches no parameter",
                expected=f"a glob of paths such as {'/'.join(leaves.paths[0])}",
            )
        found |= {path: jnp.array(unpacked(leaves[path])) for path in fitting}
    return found
